"""The exact sequential binomial test: looks agreed beforehand, alpha spent as trials arrive.

At looks n_1 < ... < n_m = N the cumulative type I error spent is at most alpha * (n_j / N)^rho; rho is 1 unless the
plan says more, which spends later. The boundary c_j is the smallest number of successes whose crossing keeps within
that, found by a dynamic programme over (trials, successes) in integers: with p0 = a/d every weight is an integer over
d^n, so no rounding enters and any program finds the same boundaries. Futility is non-binding: stopping for it can only
lower the type I error, so ignoring it never gains a promotion.

Sources: Lan and DeMets, Biometrika 70 (1983); Kim and DeMets, Biometrika 74 (1987) (powers rho); Jennison and Turnbull,
Group Sequential Methods (1999), chapters 8 and 12.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.stats import binom

from worldgate.core.errors import UsageError
from worldgate.evidence.exact import Number, probability, rounded, step, text
from worldgate.evidence.statistics import binomial_upper


class Step(StrEnum):
    """What to do after the trials so far."""

    CROSSED = "crossed"
    """Success is shown: p > p0 at level alpha."""
    CONTINUE = "continue"
    """Run on to the next look."""
    FUTILE = "futile"
    """No remaining trials can cross, or the failures already show p < p0."""
    EXHAUSTED = "exhausted"
    """All N trials are run and success is not shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialPlan:
    """A pre-registered test of H0: p <= p0 against p > p0."""

    p0: Fraction
    alpha: Fraction
    looks: tuple[int, ...]
    """Trials after which the data are looked at, increasing; the last is the most that will be run."""
    rho: int = 1
    """Power of the spending function alpha * (n / N)^rho: 1 stops earliest, 3 keeps nearly all of alpha for the end."""

    @classmethod
    def make(cls, *, p0: Number, alpha: Number, looks: Sequence[int], rho: int = 1) -> SequentialPlan:
        """Read a plan as people write it.

        Raises:
            UsageError: a probability outside (0, 1), looks that do not increase from at least 1, or rho below 1.
        """
        if rho < 1:
            raise UsageError("the power of the spending function must be a whole number from 1", got=rho)
        ordered = tuple(looks)
        if not ordered or ordered[0] < 1 or any(a >= b for a, b in pairwise(ordered)):
            raise UsageError("looks must increase from at least 1", got=list(ordered)[:8])
        return cls(p0=probability(p0, "p0"), alpha=probability(alpha, "alpha"), looks=ordered, rho=rho)

    @property
    def boundaries(self) -> tuple[int | None, ...]:
        """Successes needed at each look; ``None`` where even all successes would overspend."""
        return _boundaries(self)

    def crossings(self, p: Number) -> tuple[Fraction, ...]:
        """Exact probability of crossing first at each look, at a true success probability; their sum is the power.

        Raises:
            UsageError: p outside (0, 1).
        """
        return tuple(_crossings(self, probability(p, "p"), self.boundaries))

    def expected_trials(self, p: Number) -> Fraction:
        """Exact mean number of trials at a true success probability, without stopping for futility.

        Raises:
            UsageError: p outside (0, 1).
        """
        stops = self.crossings(p)
        stopped = sum((look * share for look, share in zip(self.looks, stops, strict=True)), Fraction(0))
        return stopped + self.looks[-1] * (1 - sum(stops))

    @property
    def type_one(self) -> Fraction:
        """The exact probability of crossing when p = p0; never above alpha."""
        return sum(_crossings(self, self.p0, self.boundaries), Fraction(0))


def _walk(plan: SequentialPlan, p: Fraction) -> Iterator[tuple[int, list[int], int]]:
    """Yield at each look its index, integer weights by successes, and their denominator.

    The caller zeroes the weights that stop there; the rest goes on.
    """
    a, d = p.numerator, p.denominator
    b = d - a
    weights, scale, n = [1], 1, 0
    for index, look in enumerate(plan.looks):
        while n < look:
            fail = [w * b for w in weights] + [0]
            hit = [0] + [w * a for w in weights]
            weights = [x + y for x, y in zip(fail, hit, strict=True)]
            scale, n = scale * d, n + 1
        yield index, weights, scale


@lru_cache(maxsize=256)
def _boundaries(plan: SequentialPlan) -> tuple[int | None, ...]:
    spent = Fraction(0)
    out: list[int | None] = []
    for index, weights, scale in _walk(plan, plan.p0):
        budget = plan.alpha * Fraction(plan.looks[index], plan.looks[-1]) ** plan.rho - spent
        total, boundary = 0, len(weights)
        while boundary > 0 and Fraction(total + weights[boundary - 1], scale) <= budget:
            boundary -= 1
            total += weights[boundary]
        spent += Fraction(total, scale)
        out.append(boundary if boundary < len(weights) else None)
        weights[boundary:] = [0] * (len(weights) - boundary)
    return tuple(out)


def _crossings(plan: SequentialPlan, p: Fraction, boundaries: tuple[int | None, ...]) -> list[Fraction]:
    """Exact probability of crossing first at each look, when the success probability is p."""
    out: list[Fraction] = []
    for index, weights, scale in _walk(plan, p):
        boundary = boundaries[index]
        start = len(weights) if boundary is None else boundary
        out.append(Fraction(sum(weights[start:]), scale))
        weights[start:] = [0] * (len(weights) - start)
    return out


def fixed_trials(plan: SequentialPlan, p: float, *, power: float = 0.9) -> int | None:
    """Trials of the exact test with one look that has this power: what a sequential test must be compared with.

    Args:
        plan: gives p0 and alpha.
        p: the true success probability.
        power: probability with which a release as good as p passes.

    Returns:
        The number of trials; ``None`` where not even 10,000 would do.
    """
    p0, alpha = float(plan.p0), float(plan.alpha)
    for n in range(1, 10_001):
        critical = int(binom.isf(alpha, n, p0)) + 1
        if binom.sf(critical - 1, n, p) >= power:
            return n
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operating:
    """How a plan behaves at one true success probability (no futility stop)."""

    power: float
    mean_trials: float


def operating(plan: SequentialPlan, p: float) -> Operating:
    """Power and mean number of trials at a true success probability, by the same programme in floating point."""
    weights = np.ones(1)
    power, mean, n = 0.0, 0.0, 0
    for look, boundary in zip(plan.looks, plan.boundaries, strict=True):
        for _ in range(look - n):
            weights = np.concatenate([weights * (1 - p), [0.0]]) + np.concatenate([[0.0], weights * p])
        n = look
        start = len(weights) if boundary is None else boundary
        crossing = float(weights[start:].sum())
        weights[start:] = 0.0
        power += crossing
        mean += crossing * n
    return Operating(power=power, mean_trials=mean + (1 - power) * n)


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialResult:
    """Where a test stands after the outcomes so far."""

    step: Step
    trials: int
    """Trials the answer rests on: up to the deciding look, or all so far."""
    successes: int
    look: int | None
    """Index of the deciding look."""
    next_look: int | None
    needed: int | None
    """Successes needed at ``next_look``."""


def follow(plan: SequentialPlan, outcomes: Sequence[bool]) -> SequentialResult:
    """Apply a plan to outcomes in the order in which the trials were run.

    A crossing stands whatever comes after, which is what makes the type I error exact; the gate looks at later failures
    apart. Futility: the boundary is out of reach, or the exact 95 % upper bound of p lies below p0.
    """
    done = len(outcomes)
    total = np.concatenate([[0], np.cumsum(np.asarray(outcomes, dtype=np.int64))])
    for index, (look, boundary) in enumerate(zip(plan.looks, plan.boundaries, strict=True)):
        if look > done:
            break
        if boundary is not None and total[look] >= boundary:
            return SequentialResult(
                step=Step.CROSSED, trials=look, successes=int(total[look]), look=index, next_look=None, needed=None
            )
    successes = int(total[min(done, plan.looks[-1])])
    if done >= plan.looks[-1]:
        return SequentialResult(
            step=Step.EXHAUSTED, trials=plan.looks[-1], successes=successes, look=None, next_look=None, needed=None
        )
    ahead = [(n, c) for n, c in zip(plan.looks, plan.boundaries, strict=True) if n > done and c is not None]
    reachable = [(n, c) for n, c in ahead if successes + n - done >= c]
    hopeless = done > 0 and Fraction(binomial_upper(successes, done, Fraction(1, 20))) < plan.p0
    if not reachable or hopeless:
        return SequentialResult(
            step=Step.FUTILE, trials=done, successes=successes, look=None, next_look=None, needed=None
        )
    return SequentialResult(
        step=Step.CONTINUE,
        trials=done,
        successes=successes,
        look=None,
        next_look=reachable[0][0],
        needed=reachable[0][1],
    )


def stagewise_lower(plan: SequentialPlan, result: SequentialResult) -> str:
    """Exact lower bound of p after a crossing, by stage-wise ordering: always at least p0.

    The largest twelve-digit L with P(crossing at an earlier look, or at this one with at least as many successes | L)
    <= alpha. Guarantee: P(L > p) <= alpha for every p, whatever look the test stopped at.
    """
    assert result.look is not None, "the test has not crossed"
    here = (*plan.boundaries[: result.look], result.successes)
    cut = SequentialPlan(p0=plan.p0, alpha=plan.alpha, looks=plan.looks[: result.look + 1])

    def exceeds(p: Fraction) -> bool:
        return sum(_crossings(cut, p, here), Fraction(0)) > plan.alpha

    low, high = float(plan.p0), 1.0
    for _ in range(48):
        middle = (low + high) / 2
        low, high = (low, middle) if _float_crossing(cut, middle, here) > float(plan.alpha) else (middle, high)
    at = rounded(low, "down")
    while exceeds(Fraction(at)):
        at -= step(at)
    while at < 1 and not exceeds(Fraction(at + step(at))):
        at += step(at)
    return text(at)


def _float_crossing(plan: SequentialPlan, p: float, boundaries: tuple[int | None, ...]) -> float:
    weights, total, n = np.ones(1), 0.0, 0
    for look, boundary in zip(plan.looks, boundaries, strict=True):
        for _ in range(look - n):
            weights = np.concatenate([weights * (1 - p), [0.0]]) + np.concatenate([[0.0], weights * p])
        n = look
        start = len(weights) if boundary is None else boundary
        total += float(weights[start:].sum())
        weights[start:] = 0.0
    return total
