"""``worldgate imagine``: what a world model thinks comes next, as files that say so."""

from __future__ import annotations

from pathlib import Path

from worldgate.cli._output import JsonFlag, answer
from worldgate.cli._workspace import WorkspaceOption, open_workspace


def imagine(
    model: str,
    dataset: str,
    /,
    *,
    out: Path,
    episode: str = "",
    at: float = 1.0,
    horizon: float = 1.0,
    samples: int = 1,
    seed: int = 0,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Roll a world model forward from a moment of an episode.

    For example:

        worldgate imagine arm-dynamics cell-1 --out imagined
        worldgate imagine 4c7a9a17 cell-1 --episode run-7.mcap --at 2.5 --horizon 2 --out imagined

    Writes parquet, LeRobot, MCAP with /imagined/* beside what was recorded, and video where the model has frames; every
    file says that it is imagined.

    Args:
        model: Id or name of a world model.
        dataset: Id or name of a dataset.
        out: Folder to make.
        episode: Name or id of an episode; else the first of the split val.
        at: Seconds from the episode's start that are known.
        horizon: Seconds to imagine, under the recorded actions.
        samples: Futures, for models that have more than one.
        seed: Of the futures.
    """
    from worldgate.worlds.imagine.stage import imagine_to, pick

    with open_workspace(workspace) as ws:
        world, data = ws.resolve(model, "world_model"), ws.resolve(dataset, "dataset")
        chosen = pick(ws, data.digest, episode)
        row, steps = round(at * chosen.rate_hz), max(1, round(horizon * chosen.rate_hz))
        ref = imagine_to(ws, world, data, chosen, out, row=row, horizon=steps, samples=samples, seed=seed)
    files = sorted(path for path in out.iterdir() if path.name != "done")
    body = {"rollout": ref, "origin": "imagined", "episode": chosen.id, "row": row, "steps": steps, "files": files}
    said = [f"imagined {steps} steps from {chosen.name} at {row / chosen.rate_hz:g} s", *map(str, files)]
    answer("imagine", body, *said, as_json=json)
