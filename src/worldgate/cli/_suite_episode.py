"""``worldgate suite from-episode``: a scenario read off the start of a recorded episode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from worldgate.cli._contract import read_facts
from worldgate.cli._output import JsonFlag, answer
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from worldgate.core.episodes import Episode
    from worldgate.data.summaries import IngestedLog
    from worldgate.record.workspace import Workspace

_Several = Parameter(negative=(), consume_multiple=True)


def from_episode(
    log: str,
    /,
    *,
    name: str,
    contract: str,
    site: str | None = None,
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

    The numbers are those of the first row on which everything was measured, with their units and frames. Where a log
    declares no unit, somebody must.

    Args:
        log: Id or name of a log.
        name: Of the scenario.
        contract: Whose alignment is used: a TOML file, a shipped contract, or the id or name of a recorded one.
        site: Where; else where the log was recorded.
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
        episode = _episode(ws, ref.digest, contract)
        made = reading.scenario(
            episode,
            name=name,
            site=site or record.site,
            streams=stream,
            units=read_facts(unit),
            role=role,
            envelope=Envelope(clearance_m=clearance_m, force_n=force_n),
            strata=read_facts(stratum),
            criterion=criterion,
            photo=_photo(ws, record, episode, camera) if camera is not None else "",
        )
        read_from = (Ref("episode", episode.id), Ref("log", ref.digest, ref.name))
        scenario = scenarios.register(ws, made, inputs=read_from, actor=key)
    said = f"scenario {name} {short(scenario.digest)}: {made.source}, site {made.site}, {len(made.initial)} parts"
    hint = f'next: scenarios = ["{name}"] in a suite file, and worldgate suite add'
    answer("suite.from_episode", {"scenario": scenario, "held": made}, said, hint, as_json=json)


def _episode(ws: Workspace, digest: str, contract: str) -> Episode:
    from worldgate.cli._contract import find_contract
    from worldgate.data import contracts
    from worldgate.data.alignment import align
    from worldgate.data.ingest import open_log

    spec = contracts.load(ws, find_contract(ws, contract).digest).spec()
    return align(open_log(ws, digest), spec, digest=digest)


def _photo(ws: Workspace, record: IngestedLog, episode: Episode, camera: str) -> str:
    from worldgate.core.errors import DataRefused
    from worldgate.data.privacy.showing import forbidden_streams, hidden_cameras
    from worldgate.evidence import from_episode as reading
    from worldgate.evidence import photos

    if camera in {*hidden_cameras(ws, record), *forbidden_streams(ws, [camera])}:
        raise DataRefused("a contract hides what this camera shows", got=camera, where=record.name)
    return photos.keep_bytes(ws, photos.encode(reading.picture(episode, camera)), where=f"{record.name}:{camera}")
