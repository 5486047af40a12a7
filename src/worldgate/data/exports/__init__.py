"""The seam of exports: each file writes episodes in one format for others to use.

An export module holds a literal ``CARD`` and one function:

``write(shipment: Shipment, out: Path) -> LeftOut``
    Write every item under the new path ``out``, which appears whole or not at all, and say which streams the format
    could not carry, and why. Raises ``UsageError`` where it cannot carry an item at all.

Exports know nothing of the record: who may export what, and the event that says it was, are
:mod:`worldgate.data.exporting`'s. What is exported keeps its marks: origin, split, and the digests it was made from.

Shape legend: T aligned rows, N messages of a stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import numpy as np

from worldgate.core import seams
from worldgate.core.choices import settle
from worldgate.core.streams import Array, Frames, IntArray, Origin, Stream, StreamInfo

LeftOut: TypeAlias = Mapping[str, str]
"""Stream -> why it is not in what was written."""
Facts: TypeAlias = Mapping[str, str | float | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One stream of an item: its messages, and which of them the rows hold."""

    stream: Stream
    """The messages that rows hold, each once, with their times; of events and text all in the item's time."""
    rows: IntArray
    """(T,) place within ``stream`` of the message that a row holds; -1 where it holds none. Empty without rows."""
    index: IntArray
    """(N,) number of each message in its log."""

    @property
    def info(self) -> StreamInfo:
        """What the stream is."""
        return self.stream.info

    def values(self) -> Array | Frames:
        """(T, ...) what the rows hold; where they hold none NaN, 0 of whole numbers, or a black picture."""
        values, rows = self.stream.values, self.rows
        if not isinstance(values, np.ndarray):
            return values if np.array_equal(rows, np.arange(len(values))) else Repeated(values, rows)
        if (rows >= 0).all():
            return values[rows]
        blank = np.nan if values.dtype.kind == "f" else 0
        out = np.full((len(rows), *values.shape[1:]), blank, dtype=values.dtype)
        out[rows >= 0] = values[rows[rows >= 0]]
        return out


@dataclass(frozen=True, slots=True)
class Repeated:
    """Frames by row; fulfils :class:`worldgate.core.streams.Frames`."""

    frames: Frames
    rows: IntArray

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: IntArray) -> Array:
        """Decode the frames of these rows, each once; black where there is none."""
        wanted = self.rows[indices]
        present = wanted >= 0
        distinct, where = np.unique(np.where(present, wanted, wanted.max(initial=0)), return_inverse=True)
        images = self.frames.read(distinct.astype(np.int64))[where]
        images[~present] = 0
        return images

    def content_digest(self) -> str:
        """SHA-256 over the encoded packets of the frames behind the rows."""
        return self.frames.content_digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An episode to write, or a log as it is."""

    name: str
    origin: Origin
    parts: Mapping[str, Part]
    split: str = ""
    """Empty: of none."""
    facts: Facts = field(default_factory=dict)
    marks: Facts = field(default_factory=dict)
    """Which log and episode it is, by digest."""

    def __post_init__(self) -> None:
        settle(self)


class Items(Protocol):
    """The items of a shipment, made one at a time as they are asked for."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Item]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """What is exported."""

    name: str
    items: Items
    """Those of a split come one after the other."""
    origins: frozenset[Origin]
    rate_hz: float
    """Rows a second; 0: the items have no rows."""
    readme: str
    """The card, as Markdown."""
    source: Mapping[str, Any]
    """Digests of what it was made from."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the format: see its Config."""

    def __post_init__(self) -> None:
        settle(self)


class Export(Protocol):
    """What a module of this seam is."""

    def write(self, shipment: Shipment, out: Path) -> LeftOut:
        """Write every item under the new path ``out``."""
        ...


def load_export(name: str) -> Export:
    """An export by its name.

    Raises:
        NotFound: no such export; the hint is the nearest name.
    """
    return cast(Export, seams.load("exports", name))
