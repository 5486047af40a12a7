"""Is the new release not worse than the old one? Both on the same scenes, bet on after every pair, asked at any time.

The lower bound of p_new - p_old, valid at every number of pairs at once, must exceed minus the margin; a margin of 0
asks for better. With ``by``, each stratum is asked apart. A run that says nothing counts against the new release.
Fails once the old release is shown to be better by more than the margin, or the plan's pairs are used up.
Source: :mod:`worldgate.evidence.paired`.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.core.evidence import CheckResult, Status
from worldgate.evidence.exact import percent, shown
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.gates._planned import no_plan
from worldgate.evidence.paired import PairedPlan, follow_pairs
from worldgate.evidence.planned import Planned
from worldgate.evidence.sequential import Step

CARD = {
    "line": "new against old on the same scenes: success not lower by more than a margin, valid at every look",
    "inputs": "a plan with a baseline and the trials of its rows",
    "source": "Waudby-Smith and Ramdas 2024; Ville 1939",
}
GATE = "promotion"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What is still accepted."""

    margin: str = "0.10"
    """How much lower success may be; 0: it must be higher."""
    alpha: str = "0.05"
    """Probability of passing a release that is worse by the margin, over all attempts at a suite."""
    by: str = ""
    """Ask each stratum of this attribute apart; empty: all scenes together."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result, or one for each stratum."""
    planned, reason, required = evidence.planned, no_plan(evidence), f"> -{config.margin}"
    if planned is not None and not reason and not planned.plan.baseline:
        reason = "needs a plan with a baseline: worldgate gate prereg --baseline RELEASE"
    if planned is None or reason:
        return (inconclusive("not_worse", "lower bound of new - old success", reason, required=required),)
    if not config.by:
        return (_one(config, planned, planned.plan.pairs, ""),)
    values = planned.strata(config.by)
    if not values:
        detail = f"no scene of the plan says its {config.by}"
        return (inconclusive("not_worse", f"new - old success by {config.by}", detail, required=required),)
    return tuple(
        _one(config, planned.stratum(config.by, value), planned.planned_of(config.by, value), f"{config.by}={value}")
        for value in values
    )


def _one(config: Config, planned: Planned, most: int, signal: str) -> CheckResult:
    test = PairedPlan.make(margin=config.margin, alpha=planned.share(config.alpha), most=most)
    statistic = f"anytime lower {percent(1 - test.alpha)} bound of new - old success"
    required, pairs = f"> -{config.margin}", planned.pairs()
    if not pairs:
        detail = f"needs pairs: {most} are planned"
        return inconclusive("not_worse", statistic, detail, signal=signal, required=required)
    found = follow_pairs(test, pairs)
    status = {Step.CROSSED: Status.PASS, Step.CONTINUE: Status.INCONCLUSIVE}.get(found.step, Status.FAIL)
    lost = sum(pair.excluded for pair in pairs)
    return CheckResult(
        check="not_worse",
        status=status,
        signal=signal,
        statistic=statistic,
        estimate=shown(float(sum(pair.difference for pair in pairs)) / len(pairs)),
        bound=found.lower,
        required=required,
        n=len(pairs),
        detail=f"{found.step} after {found.pairs} of {most} pairs: won {found.wins}, lost {found.losses}"
        + (f"; {lost} excluded or unplanned pairs count against the new" if lost else ""),
    )
