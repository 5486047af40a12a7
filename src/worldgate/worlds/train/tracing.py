"""From a step of a training run back to the recordings: which frames of which logs it learned from.

Shape legend: R samples of a step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from worldgate.core.digest import short
from worldgate.core.episodes import Episode
from worldgate.core.streams import Array, Kind
from worldgate.data import contracts, datasets
from worldgate.data.clips import frames, geometry
from worldgate.data.ingest import Shelf
from worldgate.data.loader import Clip, Proof, ReceiptTable, prove
from worldgate.record.workspace import Workspace
from worldgate.worlds.train.receipts import taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sample of a step."""

    episode: str
    """Its name."""
    log: str
    """Digest."""
    row: int
    """First row in the episode."""
    first: int
    """Source frame of the receipt's lead stream."""
    last: int
    receipt: np.void


def samples(ws: Workspace, run: str, step: int, *, phase: int = 0) -> tuple[list[Sample], ReceiptTable]:
    """What a step learned from, in the order of use.

    Args:
        ws: the workspace.
        run: id of the run.
        step: counted from 1.
        phase: number of the phase.

    Raises:
        NotFound: no such run, phase or step, or a phase that keeps no receipts.
    """
    digest = ws.resolve(run, "run").digest
    held, table = taken(ws.root / "runs" / short(digest), phase, step)
    return [_sample(receipt, table) for receipt in cast(Sequence[np.void], held)], table


def _sample(receipt: np.void, table: ReceiptTable) -> Sample:
    about = table.episode(receipt)
    row, first, last = (int(receipt[name]) for name in ("row", "first", "last"))
    return Sample(episode=about.name, log=about.log, row=row, first=first, last=last, receipt=receipt)


def proofs(ws: Workspace, run: str, step: int, *, phase: int = 0) -> Iterator[tuple[Sample, Proof]]:
    """Read every sample of a step again from its recording, and hold it against what training was served.

    Raises:
        NotFound: no such run, phase or step; or a log that is gone.
        Tampered: a recording or alignment that is not the one the receipt names.
    """
    found, table = samples(ws, run, step, phase=phase)
    asked = cast(dict[str, Any], ws.get_json(ws.resolve(run, "run").digest))
    size = int(asked["config"]["inputs"]["size"])
    spec = contracts.load(ws, datasets.manifest(ws, asked["dataset"]).contract).spec()
    episodes = {episode.id: episode for episode in datasets.load(ws, asked["dataset"], "train")}
    shelf = Shelf(ws)
    for sample in found:
        about, rows = table.episode(sample.receipt), table.rows(sample.receipt)
        served = {camera: _look(episodes[about.id], camera, size)[rows] for camera in table.streams}
        clip = Clip(frames=served, numbers={}, receipt=sample.receipt)
        yield sample, prove(clip, table, shelf.open(sample.log), spec)


def _look(episode: Episode, camera: str, size: int) -> Array:
    image = episode.streams[camera].info.kind is Kind.IMAGE
    return frames(episode, camera, size) if image else geometry(episode, camera, size)
