"""Frames that were decoded a moment ago, at the size of the batch, as far as memory is given for them.

Without a clip cache a frame is decoded anew for each clip that it falls in, which in an epoch of overlapping clips is
as often as a clip is long. Memory for a part of the frames saves that part of the work; what is served is the same.

Shape legend: K rows, H x W pixels.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeAlias

import numpy as np

from worldgate.core.streams import Array, IntArray
from worldgate.data.loader.readers import Source

Key: TypeAlias = tuple[int, int, int]
"""Episode, camera, row."""


class FrameMemory:
    """The last frames that were read; sent to another process it is empty.

    Args:
        limit: bytes that frames may take; 0: nothing is kept.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        """Bytes that frames take."""
        self._frames: OrderedDict[Key, Array] = OrderedDict()

    def __reduce__(self) -> tuple[type[FrameMemory], tuple[int]]:
        return FrameMemory, (self.limit,)

    def into(self, source: Source, episode: int, camera: int, rows: IntArray, out: Array) -> None:
        """Write these rows of a source, in this order, into ``out`` (K, H, W, ...); decode only those not kept."""
        if not self.limit:
            source.into(rows, out)
            return
        missing = []
        for place, row in enumerate(rows.tolist()):
            frame = self._frames.get((episode, camera, row))
            if frame is None:
                missing.append(place)
            else:
                out[place] = frame
                self._frames.move_to_end((episode, camera, row))
        if missing:
            fresh = out if len(missing) == len(rows) else np.empty((len(missing), *out.shape[1:]), out.dtype)
            source.into(rows[missing], fresh)
            for frame, place in zip(fresh, missing, strict=True):
                if fresh is not out:
                    out[place] = frame
                self._keep((episode, camera, int(rows[place])), frame)

    def _keep(self, key: Key, frame: Array) -> None:
        before = self._frames.pop(key, None)
        self.held += frame.nbytes - (0 if before is None else before.nbytes)
        self._frames[key] = frame.copy()
        while self.held > self.limit:
            self.held -= self._frames.popitem(last=False)[1].nbytes
