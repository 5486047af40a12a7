"""Frames of open spans: decoded once, in one go, and kept until the span closes (:mod:`worldgate.data.loader.blocks`).

Shape legend: W clips, K rows, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Array, IntArray
from worldgate.data.codecs._file import copy_rows
from worldgate.data.loader.readers import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSpan:
    """A span's frames."""

    turn: int
    """Of the spans that are held the smallest goes first."""
    rows: IntArray
    """(K,) ascending."""
    frames: tuple[Array, ...]
    """Camera by camera: (K, H, W, ...)."""

    @property
    def nbytes(self) -> int:
        """Bytes of its frames."""
        return sum(array.nbytes for array in self.frames)

    def into(self, camera: int, rows: IntArray, out: Array) -> None:
        """Write these rows into ``out`` (T, H, W, ...)."""
        copy_rows(self.frames[camera], np.searchsorted(self.rows, rows), out)


class SpanMemory:
    """The spans that are open; sent to another process it is empty.

    Args:
        rows: (W,) first row of every clip.
        start: (S + 1,) first clip of each span.
        reach: (T,) rows of a clip, counted from its first.
        limit: bytes that frames may take; a span that is larger than that alone is held alone.
    """

    def __init__(self, rows: IntArray, start: IntArray, reach: IntArray, limit: int) -> None:
        self.rows, self.start, self.reach, self.limit = rows, start, reach, limit
        self.held: dict[int, OpenSpan] = {}

    def __reduce__(self) -> tuple[type[SpanMemory], tuple[IntArray, IntArray, IntArray, int]]:
        return SpanMemory, (self.rows, self.start, self.reach, self.limit)

    @property
    def nbytes(self) -> int:
        """Bytes that frames take."""
        return sum(span.nbytes for span in self.held.values())

    def get(self, span: int, turn: int, sources: Sequence[Source], shapes: Sequence[Array]) -> OpenSpan:
        """A span's frames, decoded where they are not held.

        Args:
            span: which.
            turn: how many-th it is opened.
            sources: its cameras.
            shapes: for each camera an array of (T, H, W, ...), as frames are wanted.
        """
        found = self.held.get(span)
        if found is None:
            first = self.rows[self.start[span] : self.start[span + 1]]
            rows = np.unique(first[:, None] + self.reach)
            arrays = self._arrays(len(rows), shapes)
            for source, array in zip(sources, arrays, strict=True):
                source.into(rows, array)
            found = OpenSpan(turn=turn, rows=rows, frames=arrays)
        elif found.turn != turn:  # it stayed open since the last epoch
            found = OpenSpan(turn=turn, rows=found.rows, frames=found.frames)
        self.held[span] = found
        return found

    def _arrays(self, rows: int, shapes: Sequence[Array]) -> tuple[Array, ...]:
        """Room for so many rows of each camera."""
        nbytes, spare = rows * sum(like[0].nbytes for like in shapes), None
        while self.held and self.nbytes + nbytes > self.limit:
            spare = self.held.pop(min(self.held, key=lambda span: self.held[span].turn)).frames
        if spare is None:
            return tuple(np.empty((rows, *like.shape[1:]), like.dtype) for like in shapes)
        for array in spare:  # nobody else looks at it, and memory that was touched before costs no page faults
            array.resize((rows, *array.shape[1:]), refcheck=False)
        return spare
