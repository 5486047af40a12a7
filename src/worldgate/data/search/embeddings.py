"""Embeddings of cameras by an encoder, twice a second, kept in the cache under the log, the camera and the encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from worldgate.core.atomic import write_atomic
from worldgate.core.digest import digest_json
from worldgate.core.encoders import Encoder
from worldgate.core.streams import FloatArray, IntArray, Kind
from worldgate.core.times import SECOND
from worldgate.data.duplicates.vectors import Windows
from worldgate.data.ingest import Shelf

STEP_NS: Final = SECOND // 2
_BATCH: Final = 32


def embed(shelf: Shelf, log: str, encoder: Encoder) -> dict[str, Windows]:
    """Camera -> one vector of length 1 for each half second, without what all of the camera's pictures share.

    Raises:
        NotFound: no such log, or its bytes are gone.
    """
    found = {}
    for camera, (times, vectors) in encoded(shelf, log, encoder).items():
        apart = vectors - vectors.mean(axis=0, keepdims=True)
        lengths = np.linalg.norm(apart, axis=1)
        seen = lengths > 1e-6 * max(1.0, float(lengths.max(initial=0.0)))
        found[camera] = Windows(starts_ns=times[seen], vectors=apart[seen] / lengths[seen, None])
    return found


def encoded(shelf: Shelf, log: str, encoder: Encoder) -> dict[str, tuple[IntArray, FloatArray]]:
    """Camera -> instants of half a second and (N, D) what the encoder said, as it said it.

    Raises:
        NotFound: no such log, or its bytes are gone.
    """
    return {
        stream.name: _kept(shelf, log, stream.name, encoder)
        for stream in shelf.record(log).streams
        if stream.kind is Kind.IMAGE and stream.count
    }


def _kept(shelf: Shelf, log: str, camera: str, encoder: Encoder) -> tuple[IntArray, FloatArray]:
    name = digest_json({"log": log, "camera": camera, "encoder": encoder.digest, "step": str(STEP_NS)})
    path = Path(shelf.place.cache) / "embeddings" / name[:2] / f"{name[2:]}.safetensors"
    try:
        held = load(path.read_bytes())
        return held["times"], held["vectors"]
    except (OSError, SafetensorError, KeyError):
        pass  # not there, or damaged: encoded anew
    times, vectors = _encode(shelf, log, camera, encoder)
    write_atomic(path, save({"times": times, "vectors": vectors}), overwrite=True)
    return times, vectors


def _encode(shelf: Shelf, log: str, camera: str, encoder: Encoder) -> tuple[IntArray, FloatArray]:
    stream = shelf.open(log).read(camera)
    order = np.argsort(stream.times_ns, kind="stable")
    times = stream.times_ns[order]
    grid = np.arange(times[0], times[-1] + 1, STEP_NS, dtype=np.int64)
    near = order[np.searchsorted(times, grid).clip(0, len(times) - 1)].astype(np.int64)
    parts = [
        encoder.encode(np.asarray(stream.frames.read(near[at : at + _BATCH]))) for at in range(0, len(near), _BATCH)
    ]
    return grid, np.concatenate(parts).astype(np.float32)
