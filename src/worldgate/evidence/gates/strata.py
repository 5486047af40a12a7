"""Does the release succeed in every stratum? The sequential test of success, once for each value of a scene attribute.

A regression in one stratum hides in the whole: nine strata of ten at 99 % and one at 50 % make 94 %. Every stratum must
pass, so nothing is corrected for their number. A stratum that the plan has scenes of but too few for any look is
inconclusive; a value that the policy names and the plan has no scene of, too.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.core.evidence import CheckResult
from worldgate.evidence.exact import percent
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.gates._planned import both_ways, no_plan, share
from worldgate.evidence.planned import Planned
from worldgate.evidence.sequential import SequentialPlan

CARD = {
    "line": "success rate above p0 in every stratum of the scenes, each by its own sequential test",
    "inputs": "a plan whose scenes carry the stratum, and the trials of its rows",
    "source": "intersection-union test, Berger 1982; Lan and DeMets 1983",
}
GATE = "promotion"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What every stratum must reach."""

    by: str = "condition"
    """Which attribute of the scenes: ``strata`` of a scenario."""
    values: tuple[str, ...] = ()
    """Values that must be there; empty: those that the plan has."""
    p0: str = "0.60"
    """Success probability that must be exceeded in each."""
    alpha: str = "0.05"
    """Probability of passing a release with one stratum at p0, over all attempts at a suite."""
    looks: tuple[int, ...] = (10, 20, 30)
    """Scenes of a stratum after which its boundary is looked at."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result for each stratum; ``signal`` names it."""
    planned, reason = evidence.planned, no_plan(evidence)
    if planned is None or reason:
        statistic = f"sequential lower bound of success by {config.by}"
        return (inconclusive("strata", statistic, reason, required=f"> {config.p0}"),)
    values = config.values or planned.strata(config.by)
    if not values:
        detail = f"no scene of the plan says its {config.by}"
        return (inconclusive("strata", f"success by {config.by}", detail, required=f"> {config.p0}"),)
    return tuple(_one(config, planned, value) for value in values)


def _one(config: Config, planned: Planned, value: str) -> CheckResult:
    test = SequentialPlan.make(p0=config.p0, alpha=planned.share(config.alpha), looks=config.looks)
    statistic = f"sequential lower {percent(1 - test.alpha)} bound of success"
    signal, required = f"{config.by}={value}", f"> {config.p0}"
    fewest = next((n for n, c in zip(test.looks, test.boundaries, strict=True) if c is not None), test.looks[-1])
    there = planned.planned_of(config.by, value)
    if there < fewest:
        detail = f"needs {fewest} scenes in the plan, which has {there}"
        return inconclusive("strata", statistic, detail, signal=signal, required=required)
    scenes = planned.stratum(config.by, value).successes()
    return share(
        "strata",
        test,
        [good == 1 for good in scenes.counted(0)],
        signal=signal,
        statistic=statistic,
        required=required,
        what="succeeded",
        more=both_ways(scenes),
    )
