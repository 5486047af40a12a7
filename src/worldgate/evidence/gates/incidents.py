"""Has the release passed every scenario that an incident at its sites left behind?

Each must have been run at least once, and every run of it must have succeeded without breaking the envelope.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.core.evidence import CheckResult, Status
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.trials import RecordedTrial

CARD = {
    "line": "every incident scenario of the sites was run at least once and passed each time",
    "inputs": "incident scenarios and trials on the ledger",
    "source": "a closed incident becomes a scenario that each later gate of its site includes",
}
GATE = "promotion"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Nothing to set."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result over all incident scenarios."""
    statistic = "incident scenarios not passed"
    if not evidence.trials:
        return (inconclusive("incidents", statistic, "needs trials"),)
    runs: dict[str, list[RecordedTrial]] = {}
    for trial in evidence.trials:
        runs.setdefault(trial.trial.scenario, []).append(trial)
    wanted = {item["scenario"]: item["name"] for item in evidence.incidents}
    missing = [name for digest, name in wanted.items() if digest not in runs]
    failed = [name for digest, name in wanted.items() if any(not _passed(t) for t in runs.get(digest, []))]
    passed = len(wanted) - len(missing) - len(failed)
    status, detail = Status.PASS, f"{passed} of {len(wanted)} passed" if wanted else "no incident at these sites so far"
    if failed:
        status, detail = Status.FAIL, f"failed {', '.join(failed[:3])}"
    elif missing:
        status, detail = Status.INCONCLUSIVE, f"needs a trial of {', '.join(missing[:3])}"
    return (
        CheckResult(
            check="incidents",
            status=status,
            signal="",
            statistic=statistic,
            estimate=str(len(missing) + len(failed)),
            bound=str(len(missing) + len(failed)),
            required="0",
            n=len(wanted),
            detail=detail,
        ),
    )


def _passed(recorded: RecordedTrial) -> bool:
    trial = recorded.trial
    return trial.success and trial.violations == 0 and not trial.excluded
