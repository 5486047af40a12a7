"""``worldgate ingest``: logs into the workspace, once or for as long as new ones come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from worldgate.cli._contract import find_contract, read_facts
from worldgate.cli._engine import EngineOption, WorkersOption, chosen_engine
from worldgate.cli._output import JsonFlag, Table, answer, note, progress
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worldgate.data.ingest import IngestedLog
    from worldgate.data.watch import Seen, Watch
    from worldgate.record.events import Ref


def ingest(
    path: str,
    /,
    *more: str,
    site: str = "",
    robot: str = "",
    arm: str = "",
    origin: Literal["real", "simulated", "imagined"] | None = None,
    fact: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    contract: str | None = None,
    watch: Annotated[bool, Parameter(negative=())] = False,
    once: Annotated[bool, Parameter(negative=())] = False,
    settle: float = 10.0,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Read logs into the workspace.

    For example:

        worldgate ingest recordings/
        worldgate ingest monday.mcap tuesday.mcap --site kitchen --robot ur5-17 --arm left
        worldgate ingest --watch s3://fleet-logs/kitchen --site kitchen

    A log is named by its content: ingesting it twice changes nothing. Of a damaged log everything recoverable is taken
    and the exact loss recorded. One with nothing to recover is refused, the others are taken, and the exit code is 4.
    With --watch every log is taken when it is complete, one that cannot be read is told of once, and Ctrl-C ends it
    with what was taken in.

    Args:
        path: A log, or a folder of logs, in any formats of `worldgate list logs`; or the URL of such in a bucket.
        more: Further logs or folders.
        site: Where it was recorded, if the log does not say.
        robot: On which robot.
        arm: On which arm.
        origin: What logs are that do not say it themselves.
        fact: What else you know of them, NAME=VALUE, as often as needed: licence=MIT, retention=raw, session=monday.
        contract: Keep this contract's privacy rules: pictures are masked, and the raw is sealed or not kept.
        watch: Follow a folder or bucket: each file or folder in it is taken when it is complete.
        once: With --watch: end when everything that is there was taken.
        settle: With --watch: seconds without a change after which a log counts as complete, if no NAME.done says so.
    """
    from worldgate.core.errors import LogUnreadable, UsageError
    from worldgate.core.streams import Origin
    from worldgate.data.ingest import EVENT, ingested
    from worldgate.data.privacy.intake import ingest_under

    if watch and more:
        raise UsageError("--watch follows one place", got=f"{1 + len(more)} places", hint="one command for each")
    if once and not watch:
        raise UsageError("--once says how --watch ends", hint="leave it out, or add --watch")
    facts = read_facts(fact)
    marked = Origin(origin) if origin is not None else None
    with open_workspace(workspace) as ws, chosen_engine(ws, engine, workers) as where:
        under = find_contract(ws, contract) if contract is not None else None
        refs: list[Ref] = []
        seen: list[Seen] = []
        refused: list[LogUnreadable] = []
        before = ws.ledger.head().seq
        if watch:
            from worldgate.data.watch import Watch, WatchConfig

            config = WatchConfig(
                settle_s=settle, site=site, robot=robot, arm=arm, origin=marked, facts=facts, contract=under
            )
            seen = _follow(Watch(ws, path, config, where), once=once)
            refs = [ref for item in seen for ref in item.logs]
        else:
            with progress("ingest") as tell:
                for source in (path, *more):
                    try:
                        refs += ingest_under(
                            ws,
                            source,
                            under,
                            site=site,
                            robot=robot,
                            arm=arm,
                            origin=marked,
                            facts=facts,
                            progress=tell,
                            engine=where,
                        )
                    except LogUnreadable as error:
                        refused.append(error)
                        refs += [event.outputs[0] for event in ws.ledger.events(EVENT, since=before)]
        known = ingested(ws)
    if refs or not refused:
        _answer([known[digest] for digest in dict.fromkeys(ref.digest for ref in refs)], seen, as_json=json)
    for another in refused[1:]:
        note(f"{another}")
    if refused:
        raise refused[0]


def _follow(watch: Watch, *, once: bool) -> list[Seen]:
    """Take in what comes, saying so on stderr; ends by itself or with Ctrl-C."""
    seen = []
    note(f"watching {watch.source}" + ("" if once else "; Ctrl-C ends"))
    try:
        for item in watch.settle() if once else watch.follow():
            seen.append(item)
            said = f"{len(item.logs)} logs" if item.state == "taken" else item.error
            note(f"{item.name}: {item.state}{f', {said}' if said else ''}")
    except KeyboardInterrupt:
        note("the same command goes on from here")
    return [item for item in seen if item.state != "waiting"]


def _answer(logs: Sequence[IngestedLog], seen: Sequence[Seen], *, as_json: bool) -> None:
    from worldgate.core.digest import short
    from worldgate.core.times import SECOND
    from worldgate.data.contracts import shipped

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
    refused = [f"refused {item.name}" for item in seen if item.state == "refused"]
    body: dict[str, object] = {"logs": logs}
    if seen:
        body["watched"] = seen
    table = Table(columns=("log", "name", "origin", "streams", "span [s]", "findings"), rows=rows)
    hint = f"next: worldgate check CONTRACT (a TOML file, or one of {', '.join(shipped())})"
    answer("ingest", body, table, *lost, *refused, hint, as_json=as_json)
