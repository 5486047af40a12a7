"""Does a measured quantity stay on the right side of a limit? An upper bound of the share of scenes where it does not.

Clearance, force, time, latency: whatever the trials measured. Preferred to a mean, because a site is harmed by its
worst moments. Read at agreed numbers of scenes only, as ``violations``. A scene that did not measure it counts as
beyond the limit.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.core.evidence import CheckResult
from worldgate.evidence.exact import percent, probability
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.gates._planned import both_ways, no_plan, share
from worldgate.evidence.quantiles import Side, beyond
from worldgate.evidence.sequential import SequentialPlan
from worldgate.evidence.statistics import zero_failure_trials

CARD = {
    "line": "share of scenes in which a measured quantity passes its limit: upper bound at most a share",
    "inputs": "a plan and the trials of its rows, with the quantity among their metrics",
    "source": "Clopper and Pearson 1934, with alpha spending over the agreed looks",
}
GATE = "promotion"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What is tolerated."""

    metric: str = "least_clearance_m"
    """Name of a trial's metric, its unit at the end."""
    limit: str = "0.05"
    """In the metric's unit; a value at the limit is not beyond it."""
    bad: Side = "below"
    """Which side of the limit is bad: ``below`` or ``above``."""
    share: str = "0.10"
    """Largest share of scenes beyond the limit."""
    alpha: str = "0.05"
    """Probability of passing a release whose share is that, over all attempts at a suite."""
    looks: tuple[int, ...] = ()
    """Scenes after which the bound is read; empty: once, at the fewest that could pass."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result; ``signal`` names the metric."""
    planned, required = evidence.planned, f"<= {config.share}"
    statistic, reason = f"upper bound of scenes {config.bad} {config.limit}", no_plan(evidence)
    if planned is None or reason:
        return (inconclusive("exceedance", statistic, reason, signal=config.metric, required=required),)
    tolerated, alpha = probability(config.share, "share"), planned.share(config.alpha)
    looks = config.looks or (zero_failure_trials(tolerated, alpha),)
    test = SequentialPlan.make(p0=1 - tolerated, alpha=alpha, looks=looks)
    scenes = planned.metric(config.metric)
    return (
        share(
            "exceedance",
            test,
            [not bad for bad in beyond(scenes, config.limit, config.bad)],
            signal=config.metric,
            statistic=f"upper {percent(1 - alpha)} bound of scenes {config.bad} {config.limit}",
            required=required,
            what=f"were not {config.bad} {config.limit}",
            of_bad=True,
            more=both_ways(scenes),
        ),
    )
