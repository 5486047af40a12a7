"""Has nothing behind the release learned from the scenes it is tried on?

Behind it stand its weights, the world models that chose scenes, and everything upstream of either on the ledger. A
scene that was drawn or written by hand has no recording and cannot overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.core.digest import short
from worldgate.core.evidence import CheckResult
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.gates._identity import verdict
from worldgate.evidence.gates._planned import no_plan

CARD = {
    "line": "no scene of the plan was learned from by the release, a world model that had a say, or anything upstream",
    "inputs": "a plan, training records and lineage on the ledger",
    "source": "held-out evaluation; lineage of the ledger",
}
GATE = "promotion"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Nothing to set."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result."""
    statistic = "scenes of the plan that were learned from"
    if evidence.planned is None:
        return (inconclusive("holdout", statistic, no_plan(evidence)),)
    found = [f"{short(o['by'])} learned from {short(o['source'])}" for o in evidence.trained_on]
    scenes = len({row.scenario for row in evidence.planned.plan.rows})
    return (verdict("holdout", statistic, found, passed=f"none of {scenes}"),)
