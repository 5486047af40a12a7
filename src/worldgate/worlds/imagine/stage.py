"""Imagining as a stage of the record: a world model and a dataset's episode in, a folder of marked files out.

The folder holds ``states.parquet``, ``imagined.mcap`` (what was recorded, and under ``/imagined/*`` what was imagined),
``lerobot/`` and, for models with frames, ``imagined.mp4`` and the picture ``strip.png``; for those with depth or
classes, where pictures show them as colours, ``geometry.safetensors`` with the values. It is kept in the store as a
``rollout``.
"""

from __future__ import annotations

from pathlib import Path

from worldgate.core.atomic import atomic_dir
from worldgate.core.episodes import Episode
from worldgate.core.errors import NotFound
from worldgate.core.streams import FloatArray
from worldgate.data import datasets
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.worlds.imagine import files
from worldgate.worlds.imagine.rollouts import Asked, imagine
from worldgate.worlds.imagine.strips import write_strip
from worldgate.worlds.train import stage

IMAGINED = "rollout.imagined"


def pick(ws: Workspace, dataset: str, name: str = "", split: str = "val") -> Episode:
    """An episode of a dataset: by name or id prefix, or the first of a split.

    Raises:
        NotFound: no such dataset, split or episode.
    """
    episodes = datasets.load(ws, dataset, None if name else split)
    found = [e for e in episodes if not name or e.name == name or (len(name) >= 4 and e.id.startswith(name))]
    if not found:
        some = ", ".join(e.name for e in episodes[:4])
        raise NotFound("no such episode in this dataset", got=name, where=dataset[:12], hint=f"one of {some}")
    return found[0]


def imagine_to(
    ws: Workspace,
    model: Ref,
    dataset: Ref,
    episode: Episode,
    folder: Path,
    *,
    row: int,
    horizon: int,
    asked: Asked | None = None,
    actions: FloatArray | None = None,
    samples: int = 1,
    seed: int = 0,
) -> Ref:
    """Imagine from a row of an episode under its recorded actions, write every form of it, and record it.

    Args:
        ws: the workspace.
        model: a recorded world model.
        dataset: where the episode is from.
        episode: one of its episodes.
        folder: made here; must not exist.
        row: the last known row.
        horizon: steps.
        asked: what it is shown or told; None: all that its context holds.
        actions: (K, A) in place of the recorded ones.
        samples: futures.
        seed: of the futures.

    Raises:
        AlreadyExists: the folder exists.
        UsageError: a row without context, or beyond the recorded actions.
    """
    world = stage.load(ws, model.digest)
    made = imagine(world, episode, row, horizon, actions, asked=asked, samples=samples, seed=seed)
    with atomic_dir(folder) as partial:
        files.write_states(partial / "states.parquet", made, world.spec)
        files.write_mcap(partial / "imagined.mcap", made, world.spec, episode, row)
        files.write_lerobot(partial / "lerobot", [made], world.spec)
        files.write_geometry(partial / "geometry.safetensors", made)
        if made.frame.frames:
            files.write_video(partial / "imagined.mp4", made)
            shown = asked or Asked()
            write_strip(partial / "strip.png", made, episode, row, shown, context=world.spec.context)
    ref = Ref("rollout", ws.store.put_tree(folder), f"{episode.name}-{row}")
    body = {
        "prompt": made.prompt,
        "source": made.source,
        "row": row,
        "steps": horizon,
        "samples": samples,
        "seed": seed,
    }
    log = Ref("log", episode.log, episode.name)
    ws.record(IMAGINED, body=body, inputs=[model, dataset, log], outputs=[ref])
    return ref
