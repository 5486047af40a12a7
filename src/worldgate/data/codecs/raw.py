"""Raw frames, one after the other: no decoding at all, as fast as memory while the files stay in the page cache.

A clip is one copy from the mapped file into the batch (a read instead took 1.3 to 1.6 times as long at 256 and 96 px).
Beyond memory it is the slowest way: every frame comes from disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from worldgate.core.streams import Array, IntArray
from worldgate.data.codecs._file import ClipFile, copy_rows

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
    """The file as an array, mapped; nothing is copied but into the batch."""

    def __init__(self, file: ClipFile) -> None:
        self._file = file
        self._frames = np.asarray(file.mapped())

    def into(self, rows: IntArray, out: Array) -> None:
        copy_rows(self._frames, rows, out)
        if not self._file.seen[rows].all():
            for place, row in enumerate(rows.tolist()):
                self._file.check(row, out[place])

    def close(self) -> None:
        self._file.close()
