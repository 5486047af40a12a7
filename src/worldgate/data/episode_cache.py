"""The cache of aligned episodes: numbers and row reports as safetensors by episode id; frames stay in their log.

Disposable: a file that is missing, damaged or of another form is made again. A digest over all arrays stands in the
file's metadata and is compared on load, so a damaged cache can cost time but never change data.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_arrays

from worldgate.core.atomic import write_atomic
from worldgate.core.config import decode
from worldgate.core.digest import digest_array, digest_json, restore, to_json
from worldgate.core.episodes import Episode, Rows
from worldgate.core.errors import ConfigError
from worldgate.core.streams import Array, Frames, IntArray, StreamInfo
from worldgate.data.alignment import AlignedFrames

if TYPE_CHECKING:
    from worldgate.data.ingest import Shelf

SCHEMA = "worldgate.episode-cache/1"

_PARTS = ("index", "source_ns", "skew_ns", "staleness_ns", "gap")

_logger = logging.getLogger(__name__)


class StoredFrames:
    """Frames of a stored log's camera; the log is opened when the first one is read."""

    def __init__(self, shelf: Shelf, log: str, stream: str, count: int) -> None:
        self._shelf = shelf
        self._log = log
        self._stream = stream
        self._count = count
        self._frames: Frames | None = None

    def __len__(self) -> int:
        return self._count

    def read(self, indices: IntArray) -> Array:
        return self.opened().read(indices)

    def content_digest(self) -> str:
        return self.opened().content_digest()

    def opened(self) -> Frames:
        """The log's own frames."""
        if self._frames is None:
            self._frames = self._shelf.open(self._log).read(self._stream).frames
        return self._frames


def path_of(cache: Path, episode: str) -> Path:
    """Where an episode's numbers are cached."""
    return cache / "episodes" / f"{episode}.safetensors"


def save(cache: Path, episode: Episode) -> None:
    """Keep an episode's numbers, where they can be: see :func:`encoded`."""
    data = encoded(episode)
    if data is not None:
        write_atomic(path_of(cache, episode.id), data, overwrite=True)


def encoded(episode: Episode) -> bytes | None:
    """An episode's file; None for one with events or text, as safetensors hold numbers only."""
    arrays: dict[str, Array] = {"times_ns": episode.times_ns}
    for name, rows in episode.streams.items():
        arrays |= {f"{name}/{part}": np.ascontiguousarray(getattr(rows, part)) for part in _PARTS}
        if rows.segment is not None:
            arrays[f"{name}/segment"] = np.ascontiguousarray(rows.segment)
        if isinstance(rows.values, np.ndarray):
            if rows.values.dtype == object:
                return None
            arrays[f"{name}/values"] = np.ascontiguousarray(rows.values)
    about = {
        "schema": SCHEMA,
        "id": episode.id,
        "alignment": episode.alignment,
        "rate_hz": episode.rate_hz,
        "streams": {name: rows.info for name, rows in episode.streams.items()},
        "clock_models": {name: rows.clock_model for name, rows in episode.streams.items() if rows.clock_model},
        "digest": _digest(arrays),
    }
    return bytes(save_arrays(arrays, metadata={"about": json.dumps(to_json(about))}))


def load(cache: Path, shelf: Shelf, episode: str, log: str) -> Episode | None:
    """An episode from the cache, its facts and origin from the record; None where it must be aligned again."""
    path = path_of(cache, episode)
    if not path.is_file():
        return None
    try:
        about, arrays = _read(path)
        if (about["schema"], about["id"], about["digest"]) != (SCHEMA, episode, _digest(arrays)):
            raise ValueError("the arrays are not those that were cached")
        infos = {name: decode(StreamInfo, info, where=path.name) for name, info in about["streams"].items()}
        record = shelf.record(log)
        counts = {stream.name: stream.count for stream in record.streams}
        models = about.get("clock_models", {})
        rows = {
            n: _rows(arrays, info, StoredFrames(shelf, log, n, counts[n]), models.get(n, ""))
            for n, info in infos.items()
        }
        alignment, rate_hz = str(about["alignment"]), float(about["rate_hz"])
    except (SafetensorError, OSError, ValueError, KeyError, ConfigError) as error:
        _logger.warning("%s is made again: %s", path, error)
        return None
    return Episode(
        id=episode,
        log=log,
        name=record.name,
        alignment=alignment,
        origin=record.origin,
        rate_hz=rate_hz,
        times_ns=arrays["times_ns"],
        streams=rows,
        facts=record.facts,
    )


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    with safe_open(path, framework="numpy") as file:
        about = restore(json.loads(file.metadata()["about"]))
        return about, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict


def _rows(arrays: Mapping[str, Array], info: StreamInfo, frames: StoredFrames, clock_model: str) -> Rows:
    name = info.name
    held = arrays.get(f"{name}/values")
    return Rows(
        info=info,
        values=AlignedFrames(frames, arrays[f"{name}/index"]) if held is None else held,
        segment=arrays.get(f"{name}/segment"),
        clock_model=clock_model,
        **{part: arrays[f"{name}/{part}"] for part in _PARTS},
    )


def _digest(arrays: Mapping[str, Array]) -> str:
    return digest_json({name: digest_array(array) for name, array in arrays.items()})


def with_clip_cache(episode: Episode, cache: Path) -> Episode:
    """The same episode, whose cameras know where resized clips may be kept."""
    streams = {}
    for name, rows in episode.streams.items():
        values = rows.values
        streams[name] = replace(rows, values=values.cached_in(cache)) if isinstance(values, AlignedFrames) else rows
    return replace(episode, streams=streams)
