"""Training as a stage of the record: a dataset's digest in, a world model's digest out, each with what made it.

The run lives in ``runs/<run id>`` of the workspace until it is done; the id is the first digits of the digest of
dataset, family and configuration, so asking again for the same finds the same run: finished, or where it stopped.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch

from worldgate.core.atomic import atomic_dir, is_done
from worldgate.core.config import decode
from worldgate.core.digest import digest_json, short
from worldgate.core.episodes import Episode
from worldgate.core.errors import NotFound
from worldgate.core.progress import Progress, silent
from worldgate.core.worlds import WorldModel
from worldgate.data import datasets
from worldgate.evidence.decide import put_evidence
from worldgate.evidence.gate_evidence import TrainingRecord
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.worlds import checkpoint
from worldgate.worlds.family import FamilyConfig, is_tokenizer, load_trainable
from worldgate.worlds.train import cost, loop, monitor, parallel, receipts

STARTED = "run.started"
FINISHED = {"world_model": "world_model.trained", "tokenizer": "tokenizer.trained"}
"""The event that ends a run, by the kind of what it made."""


def train(
    ws: Workspace,
    dataset: str,
    family: str,
    config: FamilyConfig,
    *,
    name: str = "",
    progress: Progress = silent,
    announce: loop.Announce | None = None,
) -> Ref:
    """Train a family or tokenizer on a dataset's ``train`` split, judged on ``val`` beside the loss; record both ends.

    Every process that torchrun started calls this alike; the first of them writes.

    Args:
        ws: the workspace.
        dataset: its digest.
        family: a name in the ``models`` or ``tokenizers`` seam.
        config: the family's configuration.
        name: what people will call the model.
        progress: reported to at every step.
        announce: if given, the cost is measured before a new run starts, said to it, and kept in the record.

    Returns:
        The world model or tokenizer, by the digest of its checkpoint.

    Raises:
        NotFound: no such dataset, or no ``train`` split in it.
        Interrupted: stopped by the user; the hint resumes.
    """
    asked = {"dataset": dataset, "family": family, "config": dataclasses.asdict(cast(Any, config)), "name": name}
    with parallel.group() as ranks:
        digest = ranks.same(ws.put_json(asked) if ranks.first else "")
        run_dir = ws.root / "runs" / short(digest)
        if ranks.first and not (run_dir / "config.json").is_file():
            body = {"run": run_dir.name, "family": family, "code": loop.code_digest(), "processes": ranks.count}
            ws.record(STARTED, body=body, inputs=[Ref("dataset", dataset)], outputs=[Ref("run", digest, run_dir.name)])
        return _go(ws, asked, digest, config, run_dir, progress, announce)


def resume(ws: Workspace, run: str, *, progress: Progress = silent) -> Ref:
    """Go on with a run by its id, from its newest snapshot.

    Raises:
        NotFound: no such run.
    """
    digest = ws.resolve(run, "run").digest
    asked = cast(dict[str, Any], ws.get_json(digest))
    config = decode(load_trainable(asked["family"]).Config, asked["config"], where=f"run {short(digest)}")
    with parallel.group():
        return _go(ws, asked, digest, config, ws.root / "runs" / short(digest), progress, None)


def kind_of(family: str) -> str:
    """What training it makes: ``world_model`` or ``tokenizer``."""
    return "tokenizer" if is_tokenizer(family) else "world_model"


def load(ws: Workspace, digest: str) -> WorldModel:
    """Load a recorded world model from the store.

    Raises:
        NotFound: the store does not hold it.
        Tampered: stored bytes that are not what their digest says.
        WeightsRefused: not a whole checkpoint.
    """
    return checkpoint.load(checkout(ws, digest), expect=digest)


def checkout(ws: Workspace, digest: str) -> Path:
    """The folder of a recorded world model, put together in the cache from verified objects."""
    folder = ws.cache / "world_models" / digest
    if not is_done(folder):
        about = json.loads(ws.store.get(digest))
        with atomic_dir(folder) as partial:
            (partial / checkpoint.CONFIG).write_bytes(ws.store.get(digest))
            (partial / checkpoint.WEIGHTS).write_bytes(ws.store.get(about["weights"]))
            (partial / checkpoint.NORMALISER).write_bytes(ws.store.get(about["normaliser"]))
    return folder


def _go(
    ws: Workspace,
    asked: dict[str, Any],
    digest: str,
    config: FamilyConfig,
    run_dir: Path,
    progress: Progress,
    announce: loop.Announce | None,
) -> Ref:
    kind, ranks = kind_of(asked["family"]), parallel.current()
    made = [e.outputs[0] for e in ws.ledger.events(FINISHED[kind]) if e.inputs and e.inputs[-1].digest == digest]
    if ranks.same(bool(made)):
        return made[0]
    episodes = _split(ws, asked["dataset"], "train")
    try:
        held_out = _split(ws, asked["dataset"], "val")
    except NotFound:
        held_out = []
    begun, report = time.monotonic(), monitor.plain(progress)
    if ranks.same((run_dir / "config.json").is_file()):
        folder = loop.resume(run_dir, episodes, held_out, report)
    else:
        about = {"dataset": asked["dataset"], "announce": announce}
        folder = loop.train(asked["family"], episodes, held_out, config, run_dir, report, **about)
    model = Ref(kind, checkpoint.identity(folder), asked["name"])
    if ranks.first:
        for file in (checkpoint.CONFIG, checkpoint.WEIGHTS, checkpoint.NORMALISER):
            ws.store.put_file(folder / file)
        if kind == "world_model":
            # First what it was fed: whoever is killed now trains nothing again, and no model stands without it.
            _record_fed(ws, model, Ref("dataset", asked["dataset"]), episodes)
        _record(ws, asked, digest, folder, model, time.monotonic() - begun)
    ranks.wait()
    return model


def _split(ws: Workspace, dataset: str, name: str) -> list[Episode]:
    return datasets.load(ws, dataset, name)


def _record_fed(ws: Workspace, model: Ref, dataset: Ref, episodes: Sequence[Episode]) -> None:
    spec = load(ws, model.digest).spec
    fed = TrainingRecord.of_model(
        spec,
        episodes=tuple(e.id for e in episodes),
        origin=episodes[0].origin,
        logs=tuple(dict.fromkeys(e.log for e in episodes)),
    )
    put_evidence(ws, fed, inputs=[model, dataset])


def _record(ws: Workspace, asked: dict[str, Any], digest: str, folder: Path, model: Ref, seconds: float) -> None:
    about = checkpoint.about(folder)
    body = {
        "run": short(digest),
        "family": asked["family"],
        "seconds": round(seconds, 1),
        "held_out": monitor.last_facts(folder.parent / "metrics.jsonl"),
        "code": about["about"]["code"],
        "config": digest_json(asked["config"]),
        "processes": about["about"]["processes"],
        "receipts": receipts.digests(folder.parent),
        "cost": _cost(folder.parent, float(about["about"]["seconds"])),
    }
    outputs = [model, Ref("weights", about["weights"]), Ref("normaliser", about["normaliser"])]
    ws.record(
        FINISHED[model.kind], body=body, inputs=[Ref("dataset", asked["dataset"]), Ref("run", digest)], outputs=outputs
    )


def _cost(run_dir: Path, took_s: float) -> dict[str, Any]:
    """What the training took, and what was said before it started."""
    taken = {"took_s": took_s, "peak_bytes": cost.peak_bytes(torch.device("cpu"))}
    said = cost.kept(run_dir)
    if said is None:
        return taken
    return taken | {"estimated_s": round(said.seconds, 1), "estimated_bytes": said.memory_bytes}
