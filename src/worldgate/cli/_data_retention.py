"""``worldgate data retention``, ``hold`` and ``erase``: how long logs are kept, and how they go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from worldgate.cli._output import JsonFlag, Table, answer
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from worldgate.data.retention import Hold

hold_app = App(name="hold")


def retention(*, due: bool = False, workspace: WorkspaceOption = None, json: JsonFlag = False) -> None:
    """Show how long each log is kept, what holds it, and what is due for erasure.

    For example:

        worldgate data retention
        worldgate data retention --due

    Classes stand in the contracts; a log's fact `retention` says which is its own, else `standard`.

    Args:
        due: Only logs that must go now.
    """
    from worldgate.core.digest import short
    from worldgate.core.times import format_ns, now_ns
    from worldgate.data.retention import keeping

    now = now_ns()
    with open_workspace(workspace) as ws:
        found = [item for item in keeping(ws) if item.due(now) or not due]

    def when(at_ns: int | None) -> str:
        return format_ns(at_ns)[:10] if at_ns is not None else ""

    rows = [
        (
            item.name,
            short(item.log),
            item.retention,
            when(item.must_until_ns),
            when(item.may_until_ns),
            ", ".join(item.holds),
            f"erased {when(item.erased_ns)}" if item.erased_ns is not None else "due" if item.due(now) else "kept",
        )
        for item in found
    ]
    columns = ("log", "id", "class", "must be kept until", "may be kept until", "held for", "state")
    tables = [Table(columns=columns, rows=rows)] if rows else []
    count = sum(item.due(now) for item in found)
    said = f"{len(found)} logs, {count} due for erasure" if not due else f"{count} logs due for erasure"
    answer("data.retention", {"logs": found, "due": count}, *tables, said, as_json=json)


def erase(
    *logs: str,
    reason: str,
    due: bool = False,
    whole_sources: bool = False,
    by: str | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Erase logs for good: their bytes go, a signed tombstone stays.

    For example:

        worldgate data erase 4c7a9a17 --reason "asked by the person in view"
        worldgate data erase --due --reason "retention ran out"

    Refused, with exit code 4, while a hold or a duty to keep stands, and where other logs lie in the same files.
    Datasets and models made with them stay and are named.

    Args:
        logs: Ids or names of logs, or of sealed raws.
        reason: Why, for the record.
        due: Every log whose time has run out.
        whole_sources: Erase too the other logs that lie in the same files.
        by: Name of the person's key that signs; else the workspace's own person.
    """
    from worldgate.core.digest import short
    from worldgate.core.errors import UsageError
    from worldgate.core.times import now_ns
    from worldgate.data import retention as rules
    from worldgate.record import erasure
    from worldgate.record.events import Ref

    if bool(logs) == due:
        raise UsageError("either logs or --due", got=", ".join(logs) or "neither", hint="worldgate data retention")
    with open_workspace(workspace) as ws:
        finished = erasure.finish(ws)  # what a killed erasure left over
        now = now_ns()
        asked = [ws.resolve(text) for text in logs]
        asked += [Ref("log", item.log, item.name) for item in rules.keeping(ws) if due and item.due(now)]
        if not asked:
            answer("data.erase", {"logs": [], "finished": finished}, "nothing is due", as_json=json)
            return
        report = rules.erase(ws, asked, reason=reason, by=by, whole_sources=whole_sources)
    rows = [(ref.kind, ref.name, short(ref.digest)) for ref in report.touched]
    tables = [Table(columns=("kind", "name", "id"), rows=rows, title="made with them, and still here")] if rows else []
    said = f"erased {len(report.logs)} logs: {report.objects} objects, {report.bytes:,} bytes"
    stay = [f"{report.shared} objects stay, because other logs hold the same bytes"] if report.shared else []
    stone = f"tombstone: worldgate show {short(report.event)}"
    answer("data.erase", {"report": report, "finished": finished}, said, *stay, *tables, stone, as_json=json)


@hold_app.default
def hold(
    *logs: str, case: str = "", by: str | None = None, workspace: WorkspaceOption = None, json: JsonFlag = False
) -> None:
    """Keep logs for a case, or list the holds in force.

    For example:

        worldgate data hold 4c7a9a17 --case "claim 17"
        worldgate data hold

    Args:
        logs: Ids or names of logs; without any, the holds in force are listed.
        case: What they are kept for.
        by: Name of the key that signs; else the program's own.
    """
    from worldgate.data import retention as rules

    with open_workspace(workspace) as ws:
        made = [rules.hold(ws, [ws.resolve(text, "log") for text in logs], case=case, by=by)] if logs else []
        found = made or rules.holds(ws)
    answer("data.hold", {"holds": found}, *_held(found), as_json=json)


def _held(found: list[Hold]) -> list[Table | str]:
    from worldgate.core.digest import short
    from worldgate.core.times import format_ns

    rows = [(short(h.id), h.case, len(h.logs), format_ns(h.at_ns)) for h in found]
    return [Table(columns=("hold", "case", "logs", "since"), rows=rows)] if rows else ["no log is held"]


@hold_app.command
def lift(
    hold: str,
    /,
    *,
    reason: str,
    by: str | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """End a hold; only a person may.

    For example:

        worldgate data hold lift 4c7a9a17 --reason "claim settled"
        worldgate data hold lift "claim 17" --reason "claim settled" --by ada

    Args:
        hold: Its id, or its case.
        reason: Why, for the record.
        by: Name of the person's key that signs; else the workspace's own person.
    """
    from worldgate.data import retention as rules

    with open_workspace(workspace) as ws:
        rules.lift(ws, hold, reason=reason, by=by)
        left = rules.holds(ws)
    answer("data.hold.lift", {"lifted": hold, "holds": left}, f"{hold} is lifted", *_held(left), as_json=json)


def unseal(
    sealed: str,
    /,
    *,
    to: Path,
    identity: Path,
    reason: str,
    by: str | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Open a sealed raw with a private age key; that it was opened stands on the record.

    For example:

        worldgate data unseal 4c7a9a17 --to raw --identity ~/privacy-officer.txt --reason "claim 17"
        worldgate data unseal run3.mcap --to raw --identity key.txt --reason "masking looked wrong" --by ada

    Args:
        sealed: Id or name of what was sealed, or of a log that was made of it.
        to: A new folder for the plain files; keep it out of the workspace.
        identity: File with the private key of one of those it was sealed for.
        reason: Why, for the record.
        by: Name of the person's key that signs; else the workspace's own person.
    """
    from worldgate.core.errors import AlreadyExists
    from worldgate.data.privacy.intake import open_sealed

    if to.exists():
        raise AlreadyExists("the folder exists", where=to, hint="name a new one")
    with open_workspace(workspace) as ws:
        files = open_sealed(ws, ws.resolve(sealed), to, identity=identity, reason=reason, by=by)
    answer("data.unseal", {"files": files}, f"{len(files)} files in {to}", as_json=json)
