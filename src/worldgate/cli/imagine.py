"""``worldgate imagine``: what a world model thinks comes next, as files that say so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from worldgate.cli._output import JsonFlag, answer
from worldgate.cli._workspace import WorkspaceOption, open_workspace


def imagine(
    model: str,
    dataset: str,
    /,
    *,
    out: Path,
    episode: str = "",
    split: str = "",
    at: float = 1.0,
    horizon: float = 1.0,
    rows: int | None = None,
    pictures_only: bool = False,
    ahead: Annotated[tuple[float, ...], Parameter(negative=(), consume_multiple=True)] = (),
    text: str = "",
    actions: str = "recorded",
    samples: int = 1,
    seed: int = 0,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Roll a world model forward from a moment of an episode.

    For example:

        worldgate imagine arm-dynamics cell-1 --out imagined
        worldgate imagine 4c7a9a17 cell-1 --episode run-7.mcap --at 2.5 --horizon 2 --out imagined
        worldgate imagine arm-dynamics one-log --split train --out imagined

    The families flow and masked take every prompt, also mixed: a text alone, one image, a clip, a first and a last
    frame, any known frames, and actions of one's own:

        worldgate imagine cell-flow cell-1 --rows 0 --actions none --text "push the object" --out from-text
        worldgate imagine cell-flow cell-1 --rows 1 --pictures-only --actions none --out from-image
        worldgate imagine cell-flow cell-1 --pictures-only --actions none --out from-clip
        worldgate imagine cell-flow cell-1 --rows 1 --ahead 2 --horizon 2 --actions none --out between
        worldgate imagine cell-flow cell-1 --ahead 0.5 1 --horizon 2 --out known-frames
        worldgate imagine cell-flow cell-1 --actions mine.csv --samples 4 --out from-actions
        worldgate imagine cell-flow cell-1 --text "push the object" --rows 1 --ahead 1 --samples 2 --out mixed

    Writes parquet, LeRobot, MCAP with /imagined/* beside what was recorded, and where the model has frames a video and
    a strip of pictures, recorded above imagined; every file says that it is imagined. What each kind of prompt is worth
    to a model: worldgate world prompts.

    Args:
        model: Id or name of a world model.
        dataset: Id or name of a dataset.
        out: Folder to make.
        episode: Name or id of an episode; else the first of the split.
        split: Of the dataset; else val, or any for an episode that is named. What a model learned from shows what it
            remembers, not what it knows, and the answer says so.
        at: Seconds from the episode's start that are known.
        horizon: Seconds to imagine.
        rows: Rows up to that moment that are known, down to none; else the model's context.
        pictures_only: The state streams of those rows stay unknown.
        ahead: Seconds after that moment at which the recorded pictures are known, too.
        text: What the model is told in words.
        actions: ``recorded``, ``none``, or a CSV or .npy file with one row a step and one column a channel.
        samples: Futures, for models that have more than one.
        seed: Of the futures.
    """
    from worldgate.worlds.imagine.given import read_actions
    from worldgate.worlds.imagine.rollouts import Asked
    from worldgate.worlds.imagine.stage import imagine_to, learned_from, pick

    with open_workspace(workspace) as ws:
        world, data = ws.resolve(model, "world_model"), ws.resolve(dataset, "dataset")
        chosen = pick(ws, data.digest, episode, split)
        row, steps = round(at * chosen.rate_hz), max(1, round(horizon * chosen.rate_hz))
        asked = Asked(
            rows=rows,
            states=not pictures_only,
            ahead=tuple(round(s * chosen.rate_hz) for s in ahead),
            text=text,
            actions=actions != "none",
        )
        drive = None if actions in {"recorded", "none"} else read_actions(Path(actions))
        ref = imagine_to(
            ws,
            world,
            data,
            chosen,
            out,
            row=row,
            horizon=steps,
            asked=asked,
            actions=drive,
            samples=samples,
            seed=seed,
        )
        learned = learned_from(ws, world.digest, chosen.id)
    files = sorted(path for path in out.iterdir() if path.name != "done")
    body = {"rollout": ref, "origin": "imagined", "episode": chosen.id, "row": row, "steps": steps, "files": files}
    body |= {"learned_from": learned}
    said = [f"imagined {steps} steps from {chosen.name} at {row / chosen.rate_hz:g} s", *map(str, files)]
    if learned:
        said.append("the model learned from this very episode: this shows what it remembers, not how good it is")
    answer("imagine", body, *said, as_json=json)
