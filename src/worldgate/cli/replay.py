"""``worldgate replay``: an incident again, through the release that was on the arm and through candidates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from worldgate.cli._output import JsonFlag, Table, answer
from worldgate.cli._replay_episodes import episodes
from worldgate.cli._workspace import WorkspaceOption, open_workspace
from worldgate.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worldgate.fleet.replay import Replay

app = App(name="replay")
app.command(episodes)
Many = Annotated[tuple[str, ...], Parameter(negative=())]


@app.default
def replay(
    incident: str,
    /,
    *candidates: str,
    model: Many = (),
    before: float = 1.0,
    seconds: float = 2.0,
    hold: Many = (),
    seed: int = 0,
    out: Path | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Replay an incident beside what happened, in the world models admitted there.

    For example:

        worldgate replay near-miss-4c7a9a17
        worldgate replay 4c7a9a17 careful-r3 --hold observation.environment_state=person.x,person.y --out replayed

    Each release acts on what is imagined, in closed loop. Up to the horizon that the models were admitted for this is
    evidence; frames beyond it are greyed and say so.

    Args:
        incident: Id or name of an incident.
        candidates: Ids or names of releases to try beside the one that was on the arm.
        model: An admitted world model; else the newest of each family.
        before: How long before the incident's moment imagination takes over, in seconds.
        seconds: How far it goes.
        hold: Channels held to what was recorded, as STREAM=CHANNEL,CHANNEL: people do not move for a replay.
        seed: Of the imagined futures.
        out: Folder to make for the strip and the video, where the models have pictures.
    """
    from worldgate.control.replays import Span, replay_recorded
    from worldgate.core.times import now_ns

    span = Span(before_s=before, seconds=seconds, exogenous=_held(hold), seed=seed)
    with open_workspace(workspace) as ws:
        made = replay_recorded(
            ws,
            ws.resolve(incident, "incident"),
            [ws.resolve(name, "release") for name in candidates],
            models=[ws.resolve(name, "world_model") for name in model],
            span=span,
            now_ns=now_ns(),
        )
    files = _draw(made, out) if out is not None else []
    _tell(made, files, as_json=json)


def _held(items: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found = {}
    for item in items:
        stream, equals, channels = item.partition("=")
        if not equals:
            raise UsageError("--hold takes STREAM=CHANNEL,CHANNEL", got=item)
        found[stream] = tuple(channels.split(","))
    return found


def _draw(made: Replay, folder: Path) -> list[Path]:
    from worldgate.core.atomic import atomic_dir
    from worldgate.fleet import strip

    files = []
    with atomic_dir(folder) as partial:
        for camera in made.recorded.frames:
            name = camera.rsplit(".", 1)[-1]
            strip.save_png(partial / f"{name}.png", strip.strip(made, camera))
            strip.save_mp4(partial / f"{name}.mp4", made, camera)
            files += [folder / f"{name}.png", folder / f"{name}.mp4"]
    return files


def _tell(made: Replay, files: Sequence[Path], *, as_json: bool) -> None:
    rows = []
    for branch in made.imagined:
        for stream in branch.states:
            valid = min(made.horizons[stream], len(made.recorded))
            error = made.error(branch.name, stream)
            at = f"{error[valid - 1]:.4g}" if valid else "-"
            rows.append((branch.name, branch.origin, stream, f"{valid / made.rate_hz:g}", at))
    columns = ("release", "origin", "stream", "evidence up to [s]", "distance from what happened, there")
    said = [
        f"{made.config.steps} steps at {made.rate_hz:g} Hz beside a {made.recorded.origin} recording",
        *map(str, files),
    ]
    body = {"replay": made.summary(), "files": list(files)}
    answer("replay", body, Table(columns=columns, rows=rows), *said, as_json=as_json)
