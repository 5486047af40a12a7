"""Does the release stay within the site's envelope? An upper bound of the share of scenes in which it breaks a limit.

Read at agreed numbers of scenes only (by default one: the fewest that could pass without a violation, 59 for 5 %), with
the error shared among them as in the sequential test; so stopping when it looks good gains nothing. Excluded and
unplanned runs count as violations. Fails as soon as the exact lower bound exceeds the limit.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.core.evidence import CheckResult
from worldgate.evidence.exact import percent, probability
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.gates._planned import both_ways, no_plan, share
from worldgate.evidence.sequential import SequentialPlan
from worldgate.evidence.statistics import zero_failure_trials

CARD = {
    "line": "share of scenes in which the site's envelope is broken: upper bound at most the limit",
    "inputs": "a plan and the trials of its rows",
    "source": "Clopper and Pearson 1934, with alpha spending over the agreed looks",
}
GATE = "promotion"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What is tolerated."""

    limit: str = "0.05"
    """Largest share of scenes with a violation."""
    alpha: str = "0.05"
    """Probability of passing a release whose share is the limit, over all attempts at a suite."""
    looks: tuple[int, ...] = ()
    """Scenes after which the bound is read; empty: once, at the fewest that could pass."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result; ``n`` is the number of scenes that the bound rests on."""
    planned, required = evidence.planned, f"<= {config.limit}"
    reason = no_plan(evidence)
    if planned is None or reason:
        return (inconclusive("violations", "upper bound of scenes with a violation", reason, required=required),)
    limit, alpha = probability(config.limit, "limit"), planned.share(config.alpha)
    test = SequentialPlan.make(p0=1 - limit, alpha=alpha, looks=config.looks or (zero_failure_trials(limit, alpha),))
    scenes = planned.clean()
    return (
        share(
            "violations",
            test,
            [value == 1 for value in scenes.counted(0)],
            statistic=f"upper {percent(1 - alpha)} bound of scenes with a violation",
            required=required,
            what="stayed within the envelope",
            of_bad=True,
            more=both_ways(scenes),
        ),
    )
