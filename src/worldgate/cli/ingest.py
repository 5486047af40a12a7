"""``worldgate ingest``: logs into the workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from worldgate.cli._output import JsonFlag, Table, answer, progress
from worldgate.cli._workspace import WorkspaceOption, open_workspace


def ingest(
    path: Path,
    /,
    *more: Path,
    site: str = "",
    robot: str = "",
    arm: str = "",
    origin: Literal["real", "simulated", "imagined"] | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Read logs into the workspace.

    For example:

        worldgate ingest recordings/
        worldgate ingest monday.mcap tuesday.mcap --site kitchen --robot ur5-17 --arm left

    A log is named by its content: ingesting it twice changes nothing. Of a damaged log everything recoverable is taken
    and the exact loss recorded; exit code 4 if nothing is.

    Args:
        path: A log, or a folder of logs, in any format of `worldgate list logs`.
        more: Further logs or folders.
        site: Where it was recorded, if the log does not say.
        robot: On which robot.
        arm: On which arm.
        origin: What logs are that do not say it themselves.
    """
    from worldgate.core.digest import short
    from worldgate.core.streams import Origin
    from worldgate.core.times import SECOND
    from worldgate.data.contracts import shipped
    from worldgate.data.ingest import ingest as take
    from worldgate.data.ingest import ingested

    marked = Origin(origin) if origin is not None else None
    with open_workspace(workspace) as ws, progress("ingest") as tell:
        refs = []
        for source in (path, *more):
            refs += take(ws, source, site=site, robot=robot, arm=arm, origin=marked, progress=tell)
        known = ingested(ws)
    logs = [known[ref.digest] for ref in refs]
    rows = []
    noticed: dict[str, list[str]] = {}
    for log in logs:
        seconds = (log.span_ns[1] - log.span_ns[0]) / SECOND
        rows.append((short(log.digest), log.name, log.origin, len(log.streams), f"{seconds:.2f}", len(log.findings)))
        for finding in log.findings:
            noticed.setdefault(f"{finding.stream} {finding.message}".strip(), []).append(log.name)
    lost = [
        f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {what}" for what, names in noticed.items()
    ]
    table = Table(columns=("log", "name", "origin", "streams", "span [s]", "findings"), rows=rows)
    hint = f"next: worldgate check CONTRACT (a TOML file, or one of {', '.join(shipped())})"
    answer("ingest", {"logs": logs}, table, *lost, hint, as_json=json)
