"""Does a world model rank policies as reality does? Correlation with its interval, rank violation, bias, worst case.

Every function takes its two sides by name, ``real=`` and ``imagined=``: mean maximum rank violation weighs by the real
difference, so that sides given the wrong way round give another number and no error. That has happened in published
usage lines.

With few policies a correlation is weak: a true r of 0.9 has an interval of [0.33, 0.99] from six. And a good
correlation says nothing of bias: SIMPLER's own table has r = 0.91 over all tasks, a bias of -0.075 and a worst case of
0.31. So all are told together.

Sources: Li et al. (SIMPLER), arXiv:2405.05941, for MMRV; Fisher, Metron 1 (1921), for the interval, itself approximate
for rates and few policies; Kendall, Biometrika 33 (1945), tau-b; Spearman, Am. J. Psychology 15 (1904), ties at their
mean rank. Intervals from single runs stand in :mod:`worldgate.evidence.rank_bootstrap`.

Shape legend: K policies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from statistics import NormalDist

from worldgate.core.errors import UsageError
from worldgate.evidence.exact import Number, outward, probability, ratio

_PRECISE = Context(prec=60)
_NEARLY = Decimal(1) - Decimal(10) ** -12
"""A correlation of 1 has no finite Fisher transform."""
LEAST = 4
"""Policies that an interval needs at all."""

Rates = Mapping[str, Number]
"""Policy -> success rate."""


def _sides(real: Rates, imagined: Rates) -> tuple[list[Fraction], list[Fraction]]:
    """Rates of the same policies in one order.

    Raises:
        UsageError: other policies on the two sides, none, or a rate that is not finite.
    """
    if set(real) != set(imagined) or not real:
        raise UsageError(
            "both sides must have the same policies",
            got=f"{len(real)} real, {len(imagined)} imagined, {len(set(real) & set(imagined))} shared",
        )
    names = sorted(real)
    return [ratio(real[n]) for n in names], [ratio(imagined[n]) for n in names]


def mmrv(*, real: Rates, imagined: Rates) -> Fraction:
    """Mean maximum rank violation: over policies, the mean of the largest real difference that is ranked wrongly.

    (1/K) sum_i max_j |R_i - R_j| * 1[(S_i > S_j) != (R_i > R_j)]. 0: every pair is ranked as in reality.

    Raises:
        UsageError: sides that do not have the same policies.
    """
    r, s = _sides(real, imagined)
    places = range(len(r))
    worst = [max(abs(r[i] - r[j]) if (s[i] > s[j]) != (r[i] > r[j]) else Fraction(0) for j in places) for i in places]
    return sum(worst, Fraction(0)) / len(r)


def kendall(*, real: Rates, imagined: Rates) -> float | None:
    """Kendall's tau-b; None where all rates of one side are equal.

    Raises:
        UsageError: sides that do not have the same policies.
    """
    r, s = _sides(real, imagined)
    agree = tied_r = tied_s = pairs = 0
    for i in range(len(r)):
        for j in range(i):
            a, b = (r[i] > r[j]) - (r[i] < r[j]), (s[i] > s[j]) - (s[i] < s[j])
            agree, pairs = agree + a * b, pairs + 1
            tied_r, tied_s = tied_r + (a == 0), tied_s + (b == 0)
    below = (pairs - tied_r) * (pairs - tied_s)
    return agree / math.sqrt(below) if below else None


def _correlation(r: list[Fraction], s: list[Fraction]) -> Decimal | None:
    none = Fraction(0)
    mean_r, mean_s = sum(r, none) / len(r), sum(s, none) / len(s)
    xy = sum(((a - mean_r) * (b - mean_s) for a, b in zip(r, s, strict=True)), none)
    product = sum(((a - mean_r) ** 2 for a in r), none) * sum(((b - mean_s) ** 2 for b in s), none)
    if product == 0:
        return None
    square = xy * xy / product
    root = _PRECISE.sqrt(_PRECISE.divide(Decimal(square.numerator), Decimal(square.denominator)))
    return root if xy >= 0 else -root


def pearson(*, real: Rates, imagined: Rates) -> float | None:
    """Pearson's correlation; None where all rates of one side are equal.

    Raises:
        UsageError: sides that do not have the same policies.
    """
    found = _correlation(*_sides(real, imagined))
    return None if found is None else float(found)


def _ranks(values: list[Fraction]) -> list[Fraction]:
    """Ranks from 1, equal values at the mean of theirs."""
    return [Fraction(2 * sum(o < v for o in values) + sum(o == v for o in values) + 1, 2) for v in values]


def spearman(*, real: Rates, imagined: Rates) -> float | None:
    """Spearman's rank correlation, equal rates at their mean rank; None where all rates of one side are equal.

    Raises:
        UsageError: sides that do not have the same policies.
    """
    r, s = _sides(real, imagined)
    found = _correlation(_ranks(r), _ranks(s))
    return None if found is None else float(found)


def regret(*, real: Rates, imagined: Rates) -> Fraction:
    """What is lost by choosing the model's favourite: the best real rate minus the favourite's.

    Where the model likes several equally, one of them is chosen at random: the mean of their real rates counts.

    Raises:
        UsageError: sides that do not have the same policies.
    """
    r, s = _sides(real, imagined)
    liked = [a for a, b in zip(r, s, strict=True) if b == max(s)]
    return max(r) - sum(liked, Fraction(0)) / len(liked)


def fisher(*, real: Rates, imagined: Rates, alpha: Number) -> tuple[str, str] | None:
    """Bounds of the correlation, each one-sided at ``alpha``, by Fisher's z; None where there is none.

    tanh(atanh(r) -+ q / sqrt(K - 3)), rounded outward. Guarantee: approximate, as K grows, for normal pairs.

    Raises:
        UsageError: sides that do not have the same policies, or alpha outside (0, 1).
    """
    level = probability(alpha, "alpha")
    r, s = _sides(real, imagined)
    found = _correlation(r, s)
    if found is None or len(r) < LEAST:
        return None
    held = max(min(found, _NEARLY), -_NEARLY)
    z = _PRECISE.divide(_PRECISE.ln(_PRECISE.divide(1 + held, 1 - held)), Decimal(2))
    quantile = Decimal(NormalDist().inv_cdf(float(1 - level)))
    half = _PRECISE.divide(quantile, _PRECISE.sqrt(Decimal(len(r) - 3)))
    return outward(_tanh(z - half), "down"), outward(_tanh(z + half), "up")


def _tanh(z: Decimal) -> Fraction:
    e = _PRECISE.exp(2 * z)
    return Fraction(_PRECISE.divide(e - 1, e + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """All of it, for people and for the check ``rank``."""

    n: int
    """Policies."""
    pearson: float | None
    lower: str | None
    upper: str | None
    kendall: float | None
    mmrv: Fraction
    bias: Fraction
    """Mean of imagined - real: above 0 is optimistic."""
    rmse: float
    worst: Fraction
    """Largest |imagined - real|."""
    worst_policy: str


def agreement(*, real: Rates, imagined: Rates, alpha: Number) -> Agreement:
    """Every figure at once.

    Args:
        real: policy -> success rate in reality.
        imagined: the same policies in the world model.
        alpha: one-sided level of each bound of the correlation.

    Raises:
        UsageError: sides that do not have the same policies, or alpha outside (0, 1).
    """
    r, s = _sides(real, imagined)
    names = sorted(real)
    apart = [b - a for a, b in zip(r, s, strict=True)]
    worst = max(range(len(apart)), key=lambda i: abs(apart[i]))
    bounds = fisher(real=real, imagined=imagined, alpha=alpha)
    return Agreement(
        n=len(r),
        pearson=pearson(real=real, imagined=imagined),
        lower=bounds[0] if bounds else None,
        upper=bounds[1] if bounds else None,
        kendall=kendall(real=real, imagined=imagined),
        mmrv=mmrv(real=real, imagined=imagined),
        bias=sum(apart, Fraction(0)) / len(apart),
        rmse=math.sqrt(sum(d * d for d in apart) / len(apart)),
        worst=abs(apart[worst]),
        worst_policy=names[worst],
    )
