"""Imagining as a stage of the record: a world model and a dataset's episode in, a folder of marked files out.

The folder holds ``states.parquet``, ``imagined.mcap`` (what was recorded, and under ``/imagined/*`` what was imagined),
``lerobot/`` and, for models with frames, ``imagined.mp4`` and the picture ``strip.png``; for those with depth or
classes, where pictures show them as colours, ``geometry.safetensors`` with the values. It is kept in the store as a
``rollout``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from worldgate.core.atomic import atomic_dir
from worldgate.core.episodes import Episode
from worldgate.core.errors import NotFound
from worldgate.core.streams import FloatArray
from worldgate.data import datasets
from worldgate.data.datasets.loading import load_entries
from worldgate.evidence.gate_evidence import TRAINING_SCHEMA, TrainingRecord
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.worlds.imagine import files
from worldgate.worlds.imagine.rollouts import Asked, imagine
from worldgate.worlds.imagine.strips import write_strip
from worldgate.worlds.train import stage

IMAGINED = "rollout.imagined"
HELD_OUT = "val"


def pick(ws: Workspace, dataset: str, name: str = "", split: str = "") -> Episode:
    """An episode of a dataset: by name or id prefix, or the first of a split.

    Args:
        ws: the workspace.
        dataset: its digest.
        name: of the episode, or a prefix of its id; empty: the first one.
        split: where it is looked for; empty: everywhere if it is named, else in ``val``.

    Raises:
        NotFound: no such dataset, split or episode.
    """
    held = datasets.manifest(ws, dataset)
    if not name and not split and all(entry.split != HELD_OUT for entry in held.episodes):
        have = sorted({entry.split for entry in held.episodes})
        raise NotFound("no episode is held out in this dataset", got=HELD_OUT, hint=f"--split {have[0]}, or --episode")
    entries = held.split(split or (None if name else HELD_OUT))
    found = [e for e in entries if not name or e.name == name or (len(name) >= 4 and e.id.startswith(name))]
    if not found:
        some = ", ".join(e.name for e in entries[:4])
        raise NotFound("no such episode in this dataset", got=name, where=dataset[:12], hint=f"one of {some}")
    return load_entries(ws, held, found[:1])[0]


def learned_from(ws: Workspace, model: str, episode: str) -> bool | None:
    """Whether a model was trained on an episode, by their digests; None where no record says what it was fed."""
    fed = [
        ws.get_json(event.outputs[0].digest)
        for event in ws.ledger.events("evidence.made")
        if (event.body.get("schema"), event.body.get("subject")) == (TRAINING_SCHEMA, model)
    ]
    known = [TrainingRecord.from_json(cast(Mapping[str, Any], tree)) for tree in fed]
    return any(episode in record.episodes for record in known) if known else None


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
        "learned_from": learned_from(ws, model.digest, episode.id),
    }
    log = Ref("log", episode.log, episode.name)
    ws.record(IMAGINED, body=body, inputs=[model, dataset, log], outputs=[ref])
    return ref
