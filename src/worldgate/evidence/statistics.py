"""Exact bounds for gates: binomial, zero failures, Poisson, and the mean of bounded values.

Each bound is defined on twelve-digit decimals and proved by exact arithmetic: scipy only supplies the first guess. So
the text is the same under any library version, and the outsider's verifier repeats the proof with the standard
library.

Sources: Clopper and Pearson, Biometrika 26 (1934); Garwood, Biometrika 28 (1936); Hoeffding, JASA 58 (1963), theorem 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Context, Decimal
from fractions import Fraction

from scipy import stats

from worldgate.core.errors import UsageError
from worldgate.evidence.exact import Number, largest, probability, ratio, rounded, step, text

NEGLIGIBLE = Fraction(1, 10**12)
"""A lower bound of a mean below this is given as 0."""
_PRECISE = Context(prec=60)
"""Working precision of the bounds that need logarithms or exponentials: 48 digits beyond what is written."""


def tail_at_least(k: int, n: int, p: Fraction) -> Fraction:
    """P(X >= k) for X ~ Binomial(n, p), exactly."""
    return 1 - tail_at_most(k - 1, n, p) if k < n - k else _tail(range(max(k, 0), n + 1), n, p)


def tail_at_most(k: int, n: int, p: Fraction) -> Fraction:
    """P(X <= k) for X ~ Binomial(n, p), exactly."""
    return tail_at_least(n - k, n, 1 - p) if k > n - k else _tail(range(min(k, n) + 1), n, p)


def _tail(values: range, n: int, p: Fraction) -> Fraction:
    a, d = p.numerator, p.denominator
    b = d - a
    return Fraction(sum(math.comb(n, j) * a**j * b ** (n - j) for j in values), d**n)


def _count(k: int, n: int) -> None:
    if not 0 <= k <= n:
        raise UsageError("a count must lie between 0 and the number of trials", got=f"{k} of {n}")


def binomial_lower(k: int, n: int, alpha: Number) -> str:
    """One-sided exact lower bound of a success probability from k successes in n trials.

    The largest twelve-digit L with P(X >= k | L) <= alpha (Clopper-Pearson, rounded down). Guarantee: for every true p
    and fixed n, P(L > p) <= alpha. No trials, or none successful: 0.

    Raises:
        UsageError: k outside 0..n, or alpha outside (0, 1).
    """
    _count(k, n)
    level = probability(alpha, "alpha")
    if k == 0:
        return "0"
    guess = float(stats.beta.ppf(float(level), k, n - k + 1))
    return text(largest(guess, lambda p: tail_at_least(k, n, p) <= level))


def binomial_upper(k: int, n: int, alpha: Number) -> str:
    """One-sided exact upper bound of an event probability from k events in n trials.

    The smallest twelve-digit U with P(X <= k | U) <= alpha. Guarantee: for every true p and fixed n, P(U < p) <= alpha.
    No trials, or all of them events: 1.

    Raises:
        UsageError: k outside 0..n, or alpha outside (0, 1).
    """
    _count(k, n)
    level = probability(alpha, "alpha")
    if k == n:
        return "1"
    at = rounded(float(stats.beta.isf(float(level), k + 1, n - k)), "up")
    while at < 1 and tail_at_most(k, n, Fraction(at)) > level:
        at += step(at)
    while at > 0 and tail_at_most(k, n, Fraction(at - step(at))) <= level:
        at -= step(at)
    return text(at)


def binomial_interval(k: int, n: int, alpha: Number) -> tuple[str, str]:
    """Two-sided exact interval: each side at alpha/2. Guarantee: coverage at least 1 - alpha for every true p."""
    half = probability(alpha, "alpha") / 2
    return binomial_lower(k, n, half), binomial_upper(k, n, half)


def zero_failure_trials(limit: Number, alpha: Number) -> int:
    """Trials without a failure that show a failure probability of at most ``limit``.

    The smallest n with (1 - limit)^n <= alpha, by exact arithmetic: 59 for 5 % at 95 %.
    """
    good = 1 - probability(limit, "limit")
    level = probability(alpha, "alpha")
    n = max(1, math.ceil(math.log(level) / math.log(good)) - 1)
    while good**n > level:
        n += 1
    return n


def poisson_upper(events: int, exposure: Number, alpha: Number) -> str:
    """One-sided exact upper bound of an event rate, per unit of ``exposure`` (for example hours).

    The smallest twelve-digit mean m with P(X <= events | m) <= alpha (Garwood), divided by the exposure and rounded up.
    Guarantee: for Poisson events and a fixed exposure, P(bound < rate) <= alpha.

    Raises:
        UsageError: negative events, exposure not above 0, alpha outside (0, 1).
    """
    level, time = _rate(events, exposure, alpha)
    limit = _PRECISE.divide(Decimal(level.numerator), Decimal(level.denominator))
    at = rounded(float(stats.chi2.isf(float(level), 2 * (events + 1))) / 2, "up")
    while _poisson_at_most(events, at) > limit:
        at += step(at)
    while _poisson_at_most(events, at - step(at)) <= limit:
        at -= step(at)
    return text(rounded(Fraction(at) / time, "up"))


def poisson_lower(events: int, exposure: Number, alpha: Number) -> str:
    """One-sided exact lower bound of an event rate, per unit of ``exposure``: what shows that a limit is broken.

    The largest twelve-digit mean m with P(X >= events | m) <= alpha (Garwood), divided by the exposure and rounded
    down. Guarantee: for Poisson events and a fixed exposure, P(bound > rate) <= alpha. No events: 0.

    Raises:
        UsageError: as :func:`poisson_upper`.
    """
    level, time = _rate(events, exposure, alpha)
    if events == 0:
        return "0"
    limit = _PRECISE.divide(Decimal(level.denominator - level.numerator), Decimal(level.denominator))
    at = rounded(float(stats.chi2.ppf(float(level), 2 * events)) / 2, "down")
    while _poisson_at_most(events - 1, at) < limit:
        at -= step(at)
    while _poisson_at_most(events - 1, at + step(at)) >= limit:
        at += step(at)
    return text(rounded(Fraction(at) / time, "down"))


def _rate(events: int, exposure: Number, alpha: Number) -> tuple[Fraction, Fraction]:
    level, time = probability(alpha, "alpha"), ratio(exposure)
    if events < 0 or time <= 0:
        raise UsageError("a rate needs events >= 0 and exposure > 0", got=f"{events} events in {exposure}")
    return level, time


def _poisson_at_most(events: int, mean: Decimal) -> Decimal:
    term = total = Decimal(1)
    for i in range(1, events + 1):
        term = _PRECISE.divide(_PRECISE.multiply(term, mean), Decimal(i))
        total = _PRECISE.add(total, term)
    return _PRECISE.multiply(_PRECISE.exp(-mean), total)


def mean_lower(values: Sequence[Fraction], alpha: Number) -> str:
    """One-sided lower bound of the mean of independent values in [0, 1]: one value an episode.

    The largest twelve-digit L below the sample mean m with n * kl(m, L) >= ln(1/alpha) (Chernoff-Hoeffding). Guarantee:
    for any distribution on [0, 1] and fixed n, P(L > mean) <= alpha. Where every value is 1 it equals Clopper-Pearson;
    below 1e-12 it is 0.

    Raises:
        UsageError: a value outside [0, 1].
    """
    level = probability(alpha, "alpha")
    if any(not 0 <= v <= 1 for v in values):
        raise UsageError("values must lie between 0 and 1", got=str(max(values)))
    total = sum(values, Fraction(0))
    if not values or total == 0:
        return "0"
    n = len(values)
    if total == n:
        return binomial_lower(n, n, level)
    mean = total / n
    needed = _PRECISE.ln(_PRECISE.divide(Decimal(level.denominator), Decimal(level.numerator)))

    def holds(p: Fraction) -> bool:
        return p < mean and _divergence(n, mean, p) >= needed

    if not holds(NEGLIGIBLE):
        return "0"
    return text(largest(_solved(n, float(mean), float(needed)), holds))


def _solved(n: int, mean: float, needed: float) -> float:
    """A first guess of the bound, by halving over the decades between 1e-12 and the mean."""
    low, high = math.log(NEGLIGIBLE), math.log(mean)
    for _ in range(80):
        middle = (low + high) / 2
        p = math.exp(middle)
        enough = p < mean and n * (mean * math.log(mean / p) + (1 - mean) * math.log((1 - mean) / (1 - p))) >= needed
        low, high = (middle, high) if enough else (low, middle)
    return math.exp(low)


def _divergence(n: int, mean: Fraction, p: Fraction) -> Decimal:
    """N times the Kullback-Leibler divergence of Bernoulli(mean) from Bernoulli(p), 0 < p < mean < 1."""

    def part(a: Fraction, b: Fraction) -> Decimal:
        quotient = a / b
        log = _PRECISE.ln(_PRECISE.divide(Decimal(quotient.numerator), Decimal(quotient.denominator)))
        return _PRECISE.multiply(_PRECISE.divide(Decimal(a.numerator), Decimal(a.denominator)), log)

    return _PRECISE.multiply(Decimal(n), _PRECISE.add(part(mean, p), part(1 - mean, 1 - p)))
