"""``worldgate trial import``: trials that somebody else ran, held against suite, plan and ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from worldgate.cli._output import JsonFlag, answer
from worldgate.cli._workspace import WorkspaceOption, open_workspace


def import_(
    file: Path,
    /,
    *,
    release: str,
    suite: str,
    origin: Literal["real", "simulated"],
    plan: str | None = None,
    format: str = "",
    slot: str = "",
    score: str = "",
    key: str | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Take in trials from CSV, JSON or an EvalLog of inspect-robots; all of a file or none.

    For example:

        worldgate trial import monday.csv --release careful-r3 --suite push-north --origin real --plan careful-plan
        worldgate trial import pick_1a2b3c4d.json --release r3 --suite push --origin real --slot kitchen/ur5-17/left

    Refused with its place in the file: an unknown scenario or column, a figure in another unit, a time before the plan,
    and a run that is there already. Without a plan no gate counts a trial as a success.

    Args:
        file: The trials.
        release: Id or name of the release that ran.
        suite: Id or name of the suite whose scenarios it ran on.
        origin: Where it ran; a file that says otherwise is refused.
        plan: Id or name of the registered plan.
        format: Entry of `worldgate list trial_formats`; else the one that knows the file.
        slot: The arm, as site/robot/arm, for files that do not say.
        score: Which of the file's scores is success, for EvalLogs.
        key: Name of the key that signs; else the program's own.
    """
    from worldgate.core.streams import Origin
    from worldgate.evidence import intake
    from worldgate.evidence.scenarios import load_suite
    from worldgate.evidence.told import Asked

    with open_workspace(workspace) as ws:
        ran = ws.resolve(release, "release")
        told = intake.read(file, format=format, asked=Asked(slot=slot, score=score))
        intake.check_checkpoint(ws, told, ran.digest)
        held = intake.intake_of(
            ws,
            release=ran.digest,
            suite=load_suite(ws, ws.resolve(suite, "suite").digest),
            origin=Origin(origin),
            plan=ws.resolve(plan, "plan") if plan is not None else None,
        )
        found = intake.check(told, held)
        refs = intake.record(ws, file, found, actor=key)
    excluded = sum(bool(trial.excluded) for trial in found)
    good = sum(trial.success and not trial.excluded for trial in found)
    said = [f"{len(found)} {origin} trials of {ran.name}: {good} succeeded, {excluded} excluded (count as failures)"]
    said += [] if plan is not None else ["without a plan no gate counts them as a success"]
    body = {"trials": refs, "succeeded": good, "excluded": excluded, "origin": origin, "planned": plan is not None}
    answer("trial.import", body, *said, as_json=json)
