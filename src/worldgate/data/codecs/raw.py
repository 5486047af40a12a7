"""Raw frames, one after the other: no decoding at all, as fast as memory while the files stay in the page cache.

A clip is one ``preadv`` from the file into the batch. Beyond memory it is the slowest way: every frame comes from disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import numpy as np

from worldgate.core.errors import Tampered
from worldgate.core.streams import Array, IntArray
from worldgate.data.codecs._file import ClipFile, runs

CARD = {
    "line": "raw pixels: fastest while the data set fits in memory; every bit kept",
    "inputs": "images, depth, segmentation and normals of any size",
}

LOSSY: float | None = None
GROUPED = False


def encode(frames: Iterable[Array], group: int) -> Iterator[bytes]:
    """The bytes of each frame."""
    for frame in frames:
        yield np.ascontiguousarray(frame).tobytes()


def reader(file: ClipFile) -> RawReader:
    """Random access."""
    return RawReader(file)


class RawReader:
    """Reads stretches of consecutive rows at once."""

    def __init__(self, file: ClipFile) -> None:
        self._file = file
        entries = file.table
        self._at = entries["at"].tolist()
        self._size = file.header.frame_bytes
        self._dense = bool((np.diff(entries["at"]) == self._size).all())

    def into(self, rows: IntArray, out: Array) -> None:
        first = int(rows[0])
        if self._dense and (len(rows) == 1 or bool((np.diff(rows) == 1).all())):
            self._read(first, out)
            return
        for start, stop in runs(rows) if self._dense else [(i, i + 1) for i in range(len(rows))]:
            self._read(int(rows[start]), out[start:stop])

    def _read(self, row: int, out: Array) -> None:
        file = self._file
        if os.preadv(file.descriptor, [out.data], self._at[row]) != out.nbytes:
            raise Tampered("a file of the clip cache that became shorter", where=file.path)
        if not file.seen[row : row + len(out)].all():
            for place, frame in enumerate(out):
                file.check(row + place, frame)

    def close(self) -> None:
        self._file.close()
