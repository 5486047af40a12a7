"""Does the release succeed often enough? An exact sequential binomial test over the scenes of its plan, in their order.

The looks are part of the policy, so nobody gains by peeking; a crossing shows p > p0 at level alpha whatever came
first. Each attempt at a suite spends an equal part of alpha. Excluded and unplanned runs count as failures. If all
scenes together then show p < p0, the check fails even after a crossing.
Source: :mod:`worldgate.evidence.sequential`.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.core.evidence import CheckResult
from worldgate.evidence.exact import percent
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.gates._planned import both_ways, no_plan, share
from worldgate.evidence.sequential import SequentialPlan

CARD = {
    "line": "success rate above p0 by an exact sequential binomial test over the scenes of a plan",
    "inputs": "a plan and the trials of its rows",
    "source": "Lan and DeMets 1983; Jennison and Turnbull 1999",
}
GATE = "promotion"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The pre-registered test."""

    p0: str = "0.80"
    """Success probability that must be exceeded."""
    alpha: str = "0.05"
    """Probability of passing a release whose success probability is p0, over all attempts at a suite."""
    looks: tuple[int, ...] = (10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
    """Scenes after which the boundary is looked at; the last is the most that will be run."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result."""
    planned, required = evidence.planned, f"> {config.p0}"
    reason = no_plan(evidence)
    if planned is None or reason:
        return (inconclusive("success", "sequential lower bound of success", reason, required=required),)
    test = SequentialPlan.make(p0=config.p0, alpha=planned.share(config.alpha), looks=config.looks)
    scenes = planned.successes()
    return (
        share(
            "success",
            test,
            [value == 1 for value in scenes.counted(0)],
            statistic=f"sequential lower {percent(1 - test.alpha)} bound of success",
            required=required,
            what="succeeded",
            more=both_ways(scenes),
        ),
    )
