"""Has the release passed every tripwire: what incidents at its sites left behind, and those of its suite?

Each must have been run at least once, and every run of it, planned or not, must have succeeded without breaking the
envelope. They enter no bound: they are no draw from the site's situations.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.core.digest import short
from worldgate.core.evidence import CheckResult, Status
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.trials import RecordedTrial

CARD = {
    "line": "every incident scenario of the sites, and every tripwire of the plan, was run and passed each time",
    "inputs": "incident scenarios, the plan and every trial of the release on the ledger",
    "source": "a closed incident becomes a scenario that each later gate of its site includes",
}
GATE = "promotion"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Nothing to set."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result over all of them."""
    statistic = "incident scenarios and tripwires not passed"
    if not evidence.trials:
        return (inconclusive("incidents", statistic, "needs trials"),)
    runs: dict[str, list[RecordedTrial]] = {}
    for trial in evidence.trials:
        runs.setdefault(trial.trial.scenario, []).append(trial)
    wanted = {item["scenario"]: item["name"] for item in evidence.incidents}
    rows = evidence.planned.plan.rows if evidence.planned else ()
    wanted |= {row.scenario: short(row.scenario) for row in rows if row.tripwire and row.scenario not in wanted}
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
