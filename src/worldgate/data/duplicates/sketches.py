"""Sketches: what is kept of a log to find it again, small enough to hold for a whole fleet.

Numbers: each stream that changes, at 10 Hz, at most 32 wide (a fixed seeded projection where it is wider), and the
hashes of its different rows, which survive any cut. Cameras: a film of 32 x 32 grey averages at 10 Hz, in which codec
and sensor noise fade while motion stays. Ten ticks a second lie on the log's own clock from the stream's first message.

Shape legend: N messages, K ticks of 0.1 s, D width, U different rows, G = 32 cells a side.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from worldgate.core.digest import canonical, read_json
from worldgate.core.errors import LogUnreadable, Tampered
from worldgate.core.streams import Array, ByteArray, FloatArray, Frames, IntArray, Kind, Log, Stream, StreamInfo
from worldgate.core.times import SECOND
from worldgate.data.duplicates.content import content, says_something

TICK_NS: Final = SECOND // 10
SIDE: Final = 32
WIDTH: Final = 32
_ROWS: Final = 20_000
"""Most row hashes kept of a stream."""
_TICKS: Final = 36_000
"""Most ticks of a stream: an hour."""
_BATCH: Final = 64

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """A numeric stream."""

    name: str
    width: int
    """As recorded, before any projection."""
    start_ns: int
    values: FloatArray
    """(K, min(D, 32)) float32."""
    rows: IntArray
    """(U,) hashes of the different rows, sorted."""
    row_ns: IntArray
    """(U,) when each came first, from the stream's first message."""
    content: str

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """A camera."""

    name: str
    start_ns: int
    cells: ByteArray
    """(K, 32, 32) grey."""
    content: str

    def __len__(self) -> int:
        return len(self.cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """A log."""

    numbers: tuple[Numbers, ...]
    films: tuple[Film, ...]
    exact: tuple[str, ...]
    """Sorted content digests of all streams that say something, sketched or not."""

    @property
    def parts(self) -> tuple[Numbers | Film, ...]:
        """Numbers and films."""
        return (*self.numbers, *self.films)


def sketch(log: Log) -> Sketch:
    """Sketch a log; every frame of it is decoded once.

    A camera that cannot be decoded is left out of the films, and still counts for exact equality.
    """
    numbers, films, exact = [], [], []
    for info in log.streams():
        stream = log.read(info.name)
        if not says_something(stream):
            continue
        told = content(stream)
        exact.append(told)
        if info.kind is Kind.IMAGE:
            try:
                films.append(_film(info, stream, told))
            except LogUnreadable as error:
                _logger.warning("%s of %s is not sketched: %s", info.name, log.name, error.what)
        elif isinstance(stream.values, np.ndarray) and stream.values.dtype != object:
            held = _numbers(info, stream, told)
            numbers += [held] if held is not None else []
    return Sketch(numbers=tuple(numbers), films=tuple(films), exact=tuple(sorted(exact)))


def _ordered(times_ns: IntArray) -> IntArray:
    """Indices of messages in the order of time, one for each instant."""
    return np.unique(times_ns, return_index=True)[1].astype(np.int64)


def _grid(times_ns: IntArray) -> IntArray:
    """(K,) ns from the first message on."""
    span = int(times_ns[-1] - times_ns[0])
    return np.arange(min(span // TICK_NS + 1, _TICKS), dtype=np.int64) * TICK_NS


def projection(width: int, onto: int) -> FloatArray:
    """(width, onto) random, the same everywhere, keeping lengths on average."""
    rng = np.random.default_rng([width, onto])
    return np.asarray(rng.standard_normal((width, onto)) / np.sqrt(onto), dtype=np.float32)


def _numbers(info: StreamInfo, stream: Stream, told: str) -> Numbers | None:
    order = _ordered(stream.times_ns)
    times = stream.times_ns[order]
    values = stream.array[order].reshape(len(order), -1).astype(np.float64)
    finite = np.isfinite(values).all(axis=1)
    times, values = times[finite], values[finite]
    if len(times) < 2 or (values == values[:1]).all():
        return None
    grid = _grid(times)
    ticks = (times - times[0]).astype(np.float64)
    narrow = values if values.shape[1] <= WIDTH else values @ projection(values.shape[1], WIDTH)
    sampled = np.stack([np.interp(grid, ticks, channel) for channel in narrow.T], axis=1)
    rows, first = hashes(values)
    return Numbers(
        name=info.name,
        width=values.shape[1],
        start_ns=int(times[0]),
        values=sampled.astype(np.float32),
        rows=rows,
        row_ns=times[first] - times[0],
        content=told,
    )


def hashes(values: Array) -> tuple[IntArray, IntArray]:
    """(U,) sorted hashes of the different rows of (N, D) numbers as float32, and the first row of each.

    Which hashes of a long stream stay depends on the hash alone, so that two streams keep the same ones.
    """
    words = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).astype(np.uint64) + np.uint64(1)
    odd = np.random.default_rng(0).integers(0, 2**63, words.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    mixed = (words * odd).sum(axis=1, dtype=np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    found, first = np.unique((mixed ^ (mixed >> np.uint64(32))).view(np.int64), return_index=True)
    step = 1
    while (found % step == 0).sum() > _ROWS:
        step *= 2
    kept = found % step == 0
    return found[kept], first[kept].astype(np.int64)


def _film(info: StreamInfo, stream: Stream, told: str) -> Film:
    order = _ordered(stream.times_ns)
    times = stream.times_ns[order]
    grid = _grid(times)
    near = np.unique(np.searchsorted(times - times[0], grid).clip(0, len(times) - 1))
    cells = small(stream.values, order[near])
    ticks = (times[near] - times[0]).astype(np.float64)
    return Film(name=info.name, start_ns=int(times[0]), cells=_between(cells, ticks, grid), content=told)


def small(values: Array | Frames, indices: IntArray) -> FloatArray:
    """(K, 32, 32) float32 grey averages of these frames."""
    out = np.empty((len(indices), SIDE, SIDE), dtype=np.float32)
    for at in range(0, len(indices), _BATCH):
        some = indices[at : at + _BATCH]
        images = values[some] if isinstance(values, np.ndarray) else values.read(some)
        for place, image in zip(out[at : at + _BATCH], images, strict=True):
            place[:] = cv2.cvtColor(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return out


def _between(cells: FloatArray, ticks: FloatArray, grid: IntArray) -> ByteArray:
    """Frames at the grid's instants, blended from the two around each, so that the phase of a shutter matters less."""
    place = np.interp(grid, ticks, np.arange(len(ticks)))
    low = np.floor(place).astype(np.int64)
    share = (place - low).astype(np.float32)[:, None, None]
    high = np.minimum(low + 1, len(cells) - 1)
    return np.rint(cells[low] * (1 - share) + cells[high] * share).astype(np.uint8)


def to_bytes(held: Sketch) -> bytes:
    """A sketch as safetensors."""
    arrays: dict[str, Any] = {}
    for place, item in enumerate(held.numbers):
        arrays |= {f"numbers.{place}.values": item.values, f"numbers.{place}.rows": item.rows}
        arrays[f"numbers.{place}.row_ns"] = item.row_ns
    for place, film in enumerate(held.films):
        arrays[f"films.{place}"] = film.cells
    about = {
        "numbers": [[n.name, n.width, str(n.start_ns), n.content] for n in held.numbers],
        "films": [[f.name, str(f.start_ns), f.content] for f in held.films],
        "exact": list(held.exact),
    }
    arrays["about"] = np.frombuffer(canonical(about), dtype=np.uint8)
    return save(arrays)


def from_bytes(data: bytes) -> Sketch:
    """A sketch as :func:`to_bytes` wrote it.

    Raises:
        Tampered: other bytes.
    """
    try:
        arrays = load(data)
        about = read_json(arrays["about"].tobytes())
        return Sketch(
            numbers=tuple(
                Numbers(
                    name=name,
                    width=int(width),
                    start_ns=int(start),
                    values=arrays[f"numbers.{place}.values"],
                    rows=arrays[f"numbers.{place}.rows"],
                    row_ns=arrays[f"numbers.{place}.row_ns"],
                    content=told,
                )
                for place, (name, width, start, told) in enumerate(about["numbers"])
            ),
            films=tuple(
                Film(name=name, start_ns=int(start), cells=arrays[f"films.{place}"], content=told)
                for place, (name, start, told) in enumerate(about["films"])
            ),
            exact=tuple(about["exact"]),
        )
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise Tampered("not a sketch of a log", got=str(error)[:80], hint="delete the workspace's cache") from error
