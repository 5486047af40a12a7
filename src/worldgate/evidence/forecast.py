"""What a plan will take, said before it is run: how many scenes each bound needs, and what cannot be shown at all.

Every figure is of the test that the gate will apply, at this attempt's part of alpha. Exact where the test is binomial;
of pairs, whose wealth depends on how often the two releases differ, from a seeded simulation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from worldgate.core.errors import UsageError
from worldgate.evidence.betting import PARTS
from worldgate.evidence.exact import Number, outward, percent, probability, ratio, shown
from worldgate.evidence.policy import CheckSpec, GatePolicy
from worldgate.evidence.sequential import SequentialPlan
from worldgate.evidence.statistics import zero_failure_trials

RUNS = 400
"""Simulated comparisons behind a figure of pairs."""
ENOUGH = 0.8
"""Power below which a plan is said to pass only if lucky."""
FAULTS = ("0.1", "0.01", "0.001")
"""Fault rates an hour that a supervised period is held against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """How good the release is thought to be: the figures are of a release as good as that."""

    success: str = "0.95"
    """Probability of success of a scene, in every stratum."""
    violations: str = "0.005"
    """Probability that a scene breaks a limit."""
    discordant: str = "0.10"
    """Share of scenes on which new and old differ, either way as often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one check will take."""

    check: str
    about: str
    shows: str
    """What a pass will show."""
    fewest: int | None
    """Scenes of a release without a failure; None: no number of this policy's looks can pass."""
    mean: float | None
    """Mean scenes until the answer, at what was assumed."""
    power: float
    """Probability of a pass within the plan, at what was assumed."""
    scenes: int
    """That the plan has for it."""
    blocking: bool = True
    """Whether the verdict rests on it."""

    @property
    def possible(self) -> bool:
        """Whether the plan could show it."""
        return self.fewest is not None and self.fewest <= self.scenes


def needs(
    policy: GatePolicy,
    *,
    pairs: int,
    attempts: int = 1,
    strata: Mapping[str, Mapping[str, int]] | None = None,
    baseline: bool = False,
    assumed: Assumed | None = None,
) -> tuple[Need, ...]:
    """What each check of trials will take.

    Args:
        policy: of a promotion.
        pairs: scenes of the plan.
        attempts: of its suite: alpha is divided by it.
        strata: attribute -> value -> scenes of the plan.
        baseline: whether each scene is run by an older release too.
        assumed: how good the release is thought to be.

    Raises:
        UsageError: probabilities outside (0, 1).
    """
    told = _Told(pairs=pairs, attempts=attempts, strata=strata or {}, baseline=baseline, assumed=assumed or Assumed())
    return tuple(replace(need, blocking=spec.blocking) for spec in policy.checks for need in told.of(spec))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    pairs: int
    attempts: int
    strata: Mapping[str, Mapping[str, int]]
    baseline: bool
    assumed: Assumed

    def of(self, spec: CheckSpec) -> Iterator[Need]:
        """What a check of the policy will take; nothing of checks that need no trials."""
        params: Any = spec.params
        if spec.check == "success":
            yield self.rate(spec, "", params["p0"], self.assumed.success, params["looks"], self.pairs)
        elif spec.check == "strata":
            groups = self.strata.get(params["by"], {})
            for value in params["values"] or sorted(groups) or ("",):
                about = f"{params['by']}={value}"
                there = groups.get(value, 0)
                yield self.rate(spec, about, params["p0"], self.assumed.success, params["looks"], there)
        elif spec.check in ("violations", "exceedance"):
            limit = probability(params["limit" if spec.check == "violations" else "share"], "share")
            looks = params["looks"] or (zero_failure_trials(limit, self.alpha(params)),)
            good = 1 - probability(self.assumed.violations, "violations")
            yield self.rate(spec, params.get("metric", ""), 1 - limit, good, looks, self.pairs, bad=True)
        elif spec.check == "not_worse":
            groups = self.strata.get(params["by"], {}) if params["by"] else {"": self.pairs}
            for value, there in groups.items() or {"": 0}.items():
                yield self.paired(spec, f"{params['by']}={value}" if params["by"] else "", there)

    def alpha(self, params: Any) -> Fraction:
        return ratio(params["alpha"]) / self.attempts

    def rate(
        self,
        spec: CheckSpec,
        about: str,
        p0: Number,
        p: Number,
        looks: Sequence[int],
        there: int,
        *,
        bad: bool = False,
    ) -> Need:
        """Of a sequential test, cut off where the plan ends."""
        test = SequentialPlan.make(p0=p0, alpha=self.alpha(spec.params), looks=tuple(looks))
        fewest = next((n for n, c in zip(test.looks, test.boundaries, strict=True) if c is not None), None)
        stops = [
            (n, share) for n, share in zip(test.looks, test.crossings(probability(p, "p")), strict=True) if n <= there
        ]
        power = sum((share for _, share in stops), Fraction(0))
        last = min(there, test.looks[-1])
        mean = sum((n * share for n, share in stops), Fraction(0)) + last * (1 - power)
        sure = percent(shown(float(1 - test.alpha)))
        what = f"broken in at most {percent(1 - test.p0)}" if bad else f"success above {percent(test.p0)}"
        return Need(
            check=spec.check,
            about=about,
            shows=f"{what} of scenes, at {sure}",
            fewest=fewest,
            mean=float(mean) if there else None,
            power=float(power),
            scenes=there,
        )

    def paired(self, spec: CheckSpec, about: str, there: int) -> Need:
        """Of a comparison, simulated."""
        params: Any = spec.params
        alpha, there = self.alpha(params), there if self.baseline else 0
        ties, _, _ = pairs_needed(params["margin"], alpha, most=max(there, 1000), discordant="0")
        _, mean, power = pairs_needed(params["margin"], alpha, most=there, discordant=self.assumed.discordant)
        return Need(
            check=spec.check,
            about=about,
            shows=f"new - old success above -{params['margin']}, at {percent(shown(float(1 - alpha)))}",
            fewest=ties,
            mean=mean,
            power=power,
            scenes=there,
        )


def pairs_needed(
    margin: Number, alpha: Number, *, most: int, discordant: Number
) -> tuple[int | None, float | None, float]:
    """Pairs until "worse by the margin" is refuted, by a seeded simulation.

    Args:
        margin: how much worse is still accepted.
        alpha: one-sided level.
        most: pairs of the plan.
        discordant: share of scenes on which the two differ, either way as often.

    Returns:
        (fewest pairs of any run, mean pairs with ``most`` where it never crosses, share of runs that cross).

    Raises:
        UsageError: a share outside [0, 1].
    """
    differ = ratio(discordant)
    if not 0 <= differ <= 1:
        raise UsageError("a share of scenes lies between 0 and 1", got=str(discordant))
    if most < 1:
        return None, None, 0.0
    mean = float((1 - ratio(margin)) / 2)
    rng = np.random.default_rng(0)
    chances = [float(differ / 2), float(1 - differ), float(differ / 2)]
    values = rng.choice([0.0, 0.5, 1.0], p=chances, size=(RUNS if differ else 1, most))
    stakes = np.arange(1, PARTS) / PARTS
    logs = np.stack([np.cumsum(np.log1p(c * (values / mean - 1)), axis=1) for c in stakes])
    owned = np.logaddexp.reduce(logs, axis=0) - math.log(len(stakes))
    hits = owned >= -math.log(float(alpha))
    crossed = hits.any(axis=1)
    when = np.where(crossed, hits.argmax(axis=1) + 1, most)
    fewest = int(when[crossed].min()) if crossed.any() else None
    return fewest, float(when.mean()), float(crossed.mean())


def seen(hours: Number, per_hour: Number) -> str:
    """Probability of at least one event of a rate in a number of hours, rounded down: what a canary could notice.

    Raises:
        UsageError: not finite, or below 0.
    """
    expected = ratio(hours) * ratio(per_hour)
    if expected < 0:
        raise UsageError("hours and rates are at least 0", got=f"{hours} h at {per_hour}/h")
    return outward(Fraction(-math.expm1(-float(expected))), "down")


def limits(found: Sequence[Need]) -> list[str]:
    """What the plan cannot show, or only if lucky, in sentences."""
    out = []
    for need in found:
        about = f"{need.check} {need.about}".rstrip()
        if need.fewest is None:
            out.append(f"{about}: not with any number of these looks: {need.shows}")
        elif not need.possible:
            out.append(f"{about}: not with {need.scenes} scenes, {need.fewest} are the fewest: {need.shows}")
        elif need.power < ENOUGH:
            lucky = percent(shown(round(need.power, 3)))
            out.append(f"{about}: with {lucky} only, if it is as good as assumed: {need.shows}")
    return out


def noticed(hours: Number) -> list[str]:
    """With which probability a supervised period sees faults that are not frequent, in sentences."""
    return [
        f"{shown(float(ratio(hours)))} supervised hours see a fault of {rate} an hour with "
        f"{percent(shown(round(float(seen(hours, rate)), 3)))}"
        for rate in FAULTS
    ]
