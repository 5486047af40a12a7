"""``worldgate suite from-episode``: a scenario read off the start of a recorded episode."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from worldgate.cli._contract import read_facts
from worldgate.cli._output import JsonFlag, answer
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from worldgate.core.episodes import Episode
    from worldgate.data.summaries import IngestedLog
    from worldgate.record.events import Ref
    from worldgate.record.workspace import Workspace

_Several = Parameter(negative=(), consume_multiple=True)


def from_episode(
    log: str,
    /,
    *,
    name: str,
    contract: str,
    site: str | None = None,
    incident: str | None = None,
    stream: Annotated[tuple[str, ...], _Several] = (),
    unit: Annotated[tuple[str, ...], _Several] = (),
    camera: str | None = None,
    stratum: Annotated[tuple[str, ...], _Several] = (),
    role: Literal["train-visible", "gate-holdout", "tripwire"] = "gate-holdout",
    clearance_m: float | None = None,
    force_n: float | None = None,
    criterion: str = "",
    key: str | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Record the scenario that a recorded episode began with.

    For example:

        worldgate suite from-episode run_007.mcap --name cup-by-the-edge --contract cell
        worldgate suite from-episode 4c7a9a17 --name shelf --contract g1 --unit observation.state=rad --stratum shelf=2
        worldgate suite from-episode run_007.mcap --name sleeve --contract cell --incident near-miss-4c7a9a17

    The numbers are those of the first row on which everything was measured, with their units and frames. Where a log
    declares no unit, somebody must. Of an incident they are those at the start of its frozen window, and its scenario
    is what `worldgate incident close` asks for.

    Args:
        log: Id or name of a log.
        name: Of the scenario.
        contract: Whose alignment is used: a TOML file, a shipped contract, or the id or name of a recorded one.
        site: Where; else where the log was recorded.
        incident: Id or name of an incident that this log was frozen for.
        stream: Streams whose numbers make the situation; else every state.
        unit: STREAM=UNIT, for streams that declare none.
        camera: Whose first picture is kept for whoever sets the scene up again.
        stratum: NAME=VALUE, what results are broken down by.
        role: What the scenario is for.
        clearance_m: Least distance to a person, in m.
        force_n: Largest contact force, in N.
        criterion: Success in words.
        key: Name of the key that signs; else the program's own.
    """
    from worldgate.core.digest import short
    from worldgate.data.ingest import Shelf
    from worldgate.evidence import from_episode as reading
    from worldgate.evidence import scenarios
    from worldgate.evidence.scenarios import Envelope
    from worldgate.record.events import Ref

    with open_workspace(workspace) as ws:
        ref = ws.resolve(log, "log")
        record = Shelf(ws).record(ref.digest)
        cause = ws.resolve(incident, "incident") if incident is not None else None
        episode, start_ns = _episode(ws, ref.digest, contract, cause)
        made = reading.scenario(
            episode,
            name=name,
            site=site or record.site,
            streams=stream,
            units=read_facts(unit),
            start_ns=start_ns,
            role=role,
            envelope=Envelope(clearance_m=clearance_m, force_n=force_n),
            strata=read_facts(stratum),
            criterion=criterion,
            photo=_photo(ws, record, episode, camera, start_ns) if camera is not None else "",
        )
        read_from: tuple[Ref, ...] = (Ref("episode", episode.id), Ref("log", ref.digest, ref.name))
        if cause is not None:
            made = replace(made, source="incident", incident=cause.digest)
            read_from = (*read_from, cause)
        scenario = scenarios.register(ws, made, inputs=read_from, actor=key)
    said = f"scenario {name} {short(scenario.digest)}: {made.source}, site {made.site}, {len(made.initial)} parts"
    hint = f'next: scenarios = ["{name}"] in a suite file, and worldgate suite add'
    answer("suite.from_episode", {"scenario": scenario, "held": made}, said, hint, as_json=json)


def _episode(ws: Workspace, digest: str, contract: str, cause: Ref | None) -> tuple[Episode, int]:
    """The episode, and from when on its situation is wanted: a frozen slice is wider by the error of its clock."""
    from worldgate.cli._contract import find_contract
    from worldgate.data import contracts
    from worldgate.data.alignment import align
    from worldgate.data.ingest import open_log
    from worldgate.fleet import incidents

    spec = contracts.load(ws, find_contract(ws, contract).digest).spec()
    if cause is not None:
        frozen = incidents.load(ws, cause.digest)
        return incidents.episode(ws, frozen, spec, log=digest), frozen.start_ns
    return align(open_log(ws, digest), spec, digest=digest), 0


def _photo(ws: Workspace, record: IngestedLog, episode: Episode, camera: str, start_ns: int) -> str:
    from worldgate.core.errors import DataRefused
    from worldgate.data.privacy.showing import forbidden_streams, hidden_cameras
    from worldgate.evidence import from_episode as reading
    from worldgate.evidence import photos

    if camera in {*hidden_cameras(ws, record), *forbidden_streams(ws, [camera])}:
        raise DataRefused("a contract hides what this camera shows", got=camera, where=record.name)
    picture = reading.picture(episode, camera, start_ns=start_ns)
    return photos.keep_bytes(ws, photos.encode(picture), where=f"{record.name}:{camera}")
