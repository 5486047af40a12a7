"""Does the same seed give the same rollout?

What cannot be repeated cannot be shown again, to an operator or to a court. A few steps of each held-out episode's
first window are rolled out twice; one episode that differs by one byte fails the model.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.core.evidence import CheckResult, Status
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.gates._episodes import NEEDS, guarded, measured, result
from worldgate.evidence.site_bounds import column

CARD = {
    "line": "the same seed and digest give the same rollout, to the byte; one that does not fails",
    "inputs": "a site report",
    "source": "governance of the gap, W12",
}
GATE = "admission"
CHECK = "determinism"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What is required."""

    least: int = 1
    """Episodes that must have been tried."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result; ``estimate`` and ``bound`` are the episodes that did not repeat."""
    report = measured(evidence)
    statistic = "episodes whose rollout did not repeat"
    if report is None:
        return (inconclusive(CHECK, statistic, NEEDS, required="0"),)

    def compute() -> CheckResult:
        held = [(e, s) for e, s in column(report, "same_seed", 0) if s[1] > 0]
        wrong = sum(s[0] < s[1] for _, s in held)
        status = Status.FAIL if wrong else Status.PASS if len(held) >= max(1, config.least) else Status.INCONCLUSIVE
        return result(
            CHECK,
            status,
            "",
            statistic,
            required="0",
            n=len(held),
            detail=f"{len(held) - wrong} of {len(held)} repeat to the byte, {max(1, config.least)} at the least",
            estimate=str(wrong),
            bound=str(wrong),
        )

    return (guarded(CHECK, "", statistic, "0", len(report.episodes), compute),)
