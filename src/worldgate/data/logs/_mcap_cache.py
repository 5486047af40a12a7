"""Unpacked chunks of all open MCAP files, within a budget of bytes.

Opening a file unpacks every chunk to check its CRC; what fits is kept for the reading that follows. A reader goes
through a file from its start, once a stream, so the chunks that came first stay: throwing out the oldest, as caches
usually do, would throw out each chunk just before it is wanted again. What does not fit is unpacked again, and the last
few of these are held beside, because streams that are read together take turns within a chunk.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import OrderedDict
from typing import Final

_PASSING: Final = 1 << 25
"""Bytes of chunks that did not fit, held until others come."""

_SERIAL: Final = itertools.count()


class ChunkCache:
    """Chunks by file and place; safe from several threads."""

    def __init__(self) -> None:
        self._kept: dict[int, dict[int, bytes]] = {}
        self._kept_bytes = 0
        self._passing: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._passing_bytes = 0
        self._lock = threading.RLock()

    @property
    def kept_bytes(self) -> int:
        """Bytes that stay as long as their files are open."""
        return self._kept_bytes

    def enter(self, file: object) -> int:
        """A number for a file; its chunks go when the object does."""
        number = next(_SERIAL)
        weakref.finalize(file, self.forget, number)
        return number

    def keep(self, file: int, position: int, data: bytes, budget: int) -> None:
        """Keep a chunk as long as its file is open, where it fits with all others."""
        with self._lock:
            if self._kept_bytes + len(data) > budget:
                return
            mine = self._kept.setdefault(file, {})
            self._kept_bytes += len(data) - len(mine.get(position, b""))
            mine[position] = data

    def pass_by(self, file: int, position: int, data: bytes) -> None:
        """Hold a chunk until some others came."""
        with self._lock:
            self._passing_bytes += len(data) - len(self._passing.pop((file, position), b""))
            self._passing[file, position] = data
            while len(self._passing) > 1 and self._passing_bytes > _PASSING:
                self._passing_bytes -= len(self._passing.popitem(last=False)[1])

    def get(self, file: int, position: int) -> bytes | None:
        """A chunk that is held."""
        with self._lock:
            kept = self._kept.get(file, {}).get(position)
            if kept is None and (file, position) in self._passing:
                self._passing.move_to_end((file, position))
                return self._passing[file, position]
            return kept

    def forget(self, file: int) -> None:
        """Drop a file's chunks."""
        with self._lock:
            self._kept_bytes -= sum(map(len, self._kept.pop(file, {}).values()))
            for key in [key for key in self._passing if key[0] == file]:
                self._passing_bytes -= len(self._passing.pop(key))


CHUNKS: Final = ChunkCache()
