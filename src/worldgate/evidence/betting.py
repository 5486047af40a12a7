"""Anytime-valid bounds of the mean of bounded values, by betting: look as often as you like, stop when you like.

To refute "the mean is at most m", start with wealth 1 and stake a fixed share c of it on every value w in [0, 1]: it is
multiplied by 1 + c (w/m - 1). Under the hypothesis wealth is a supermartingale that is never negative, so by Ville's
inequality it ever reaches 1/alpha with probability at most alpha, at whatever moment anybody looks or stops. Seven
stakes c = 1/8 ... 7/8 each start with a seventh of the money; no stake looks at the data. So wealth depends on how
often each value came, not on the order, and is a quotient of whole numbers that any program finds to the last digit.

Sources: Ville 1939; Waudby-Smith and Ramdas, JRSS B 86 (2024), sections 3-4 (betting on bounded means; a mixture of
fixed stakes is their "hedged" grid).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

from worldgate.core.errors import UsageError
from worldgate.evidence.exact import Number, largest, probability, text

PARTS = 8
"""Stakes are 1/8 ... 7/8 of the wealth."""
_SLACK = 1e-6
"""Far above the rounding error of a sum of logarithms, far below what decides."""


def _unit(values: Sequence[Fraction]) -> None:
    for value in values:
        if not 0 <= value <= 1:
            raise UsageError("values must lie between 0 and 1", got=str(value))


def wealth(values: Sequence[Fraction], mean: Number) -> Iterator[Fraction]:
    """Yield the wealth after each value: an e-process against "the mean is at most ``mean``".

    Guarantee: if each value's expectation given those before is at most ``mean``, then for every alpha
    P(wealth ever >= 1/alpha) <= alpha. Exact.

    Args:
        values: in [0, 1], in the order in which they came, one a scene.
        mean: the hypothesis, in (0, 1).

    Raises:
        UsageError: a value outside [0, 1], or ``mean`` outside (0, 1).
    """
    return (Fraction(above, below) for above, below in _quotients(values, mean))


def _quotients(values: Sequence[Fraction], mean: Number) -> Iterator[tuple[int, int]]:
    """Wealth after each value as numerator and denominator, not shortened: that would take longer than all else."""
    m = probability(mean, "the mean under test")
    _unit(values)
    stakes, scale = [1] * (PARTS - 1), PARTS - 1
    for value in values:
        base = m.numerator * value.denominator
        gain = value.numerator * m.denominator - base
        stakes = [old * (PARTS * base + j * gain) for j, old in enumerate(stakes, 1)]
        scale *= PARTS * base
        yield sum(stakes), scale


def final_wealth(values: Sequence[Fraction], mean: Number) -> Fraction:
    """Wealth after all values, 1 after none; as :func:`wealth`."""
    owned = (1, 1)
    for after in _quotients(values, mean):
        owned = after
    return Fraction(*owned)


def first_crossing(values: Sequence[Fraction], mean: Number, alpha: Number) -> int | None:
    """After how many values "the mean is at most ``mean``" was first refuted at level alpha; ``None``: not yet.

    Guarantee: as :func:`wealth`; a crossing stands whatever comes after.

    Raises:
        UsageError: as :func:`wealth`, or alpha outside (0, 1).
    """
    level = probability(alpha, "alpha")
    paths = enumerate(_quotients(values, mean), 1)
    return next((n for n, (owned, of) in paths if owned * level.numerator >= of * level.denominator), None)


def anytime_lower(values: Sequence[Fraction], alpha: Number) -> str:
    """Lower bound of the mean that holds at all times at once.

    The largest twelve-digit L such that "the mean is at most L" was refuted after some number of the values. Guarantee:
    P(any bound of a growing sequence > mean) <= alpha; the bound never falls as values are added.

    Args:
        values: in [0, 1], in the order in which they came, one a scene.
        alpha: one-sided level.

    Raises:
        UsageError: a value outside [0, 1], or alpha outside (0, 1).
    """
    level = probability(alpha, "alpha")
    _unit(values)
    counts: Counter[Fraction] = Counter()
    at = Decimal(0)
    for value in values:
        counts[value] += 1
        # Wealth falls as the hypothesis rises, so a bound as high as before is tested first, and in floating point.
        if at > 0 and _log_wealth(counts, float(at)) < -math.log(level) - _SLACK:
            continue
        at = max(at, largest(_solved(counts, float(level)), lambda m: m == 0 or _refuted(counts, m, level)))
    return text(at)


def _refuted(counts: Mapping[Fraction, int], mean: Fraction, level: Fraction) -> bool:
    total, scale = [1] * (PARTS - 1), 1
    for value, count in counts.items():
        base = mean.numerator * value.denominator
        gain = value.numerator * mean.denominator - base
        total = [old * (PARTS * base + j * gain) ** count for j, old in enumerate(total, 1)]
        scale *= (PARTS * base) ** count
    return sum(total) * level.numerator >= scale * (PARTS - 1) * level.denominator


def _log_wealth(counts: Mapping[Fraction, int], mean: float) -> float:
    shares = [j / PARTS for j in range(1, PARTS)]
    logs = [sum(k * math.log1p(c * (float(v) / mean - 1)) for v, k in counts.items()) for c in shares]
    top = max(logs)
    return top + math.log(sum(math.exp(x - top) for x in logs) / len(logs))


def _solved(counts: Mapping[Fraction, int], level: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _log_wealth(counts, middle) >= -math.log(level) else (low, middle)
    return low
