"""Payloads of an MCAP file that was walked: read where the walk found them, chunks unpacked as needed and kept briefly.

Shape legend: N rows asked for.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import IntArray
from worldgate.data.logs import _mcap_chunks as chunks
from worldgate.data.logs._limits import Limits
from worldgate.data.logs._mcap_cache import CHUNKS
from worldgate.data.logs._mcap_chunks import BROKEN, ENVELOPE
from worldgate.data.logs._mcap_index import Messages

_WINDOW: Final = 1 << 22
"""Bytes of a file without chunks that are read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Messages that lie in one piece of memory."""

    first: int
    """Place of the first one among the rows that were asked for; the others follow."""
    data: bytes
    offsets: IntArray
    sizes: IntArray

    def __len__(self) -> int:
        return len(self.offsets)

    def payload(self, place: int) -> bytes:
        """One message."""
        start = int(self.offsets[place])
        return self.data[start : start + int(self.sizes[place])]

    def views(self) -> Iterator[memoryview]:
        """Every message, not copied."""
        whole = memoryview(self.data)
        for start, size in zip(self.offsets.tolist(), self.sizes.tolist(), strict=True):
            yield whole[start : start + size]


class Payloads:
    """Reads what a walk indexed.

    Args:
        path: the file.
        limits: what it may cost.
        number: of the file in the cache of chunks.
        seen: the file's :func:`version` when every CRC was checked.
        plain: where the bytes of each uncompressed chunk begin, by the place of its record.
    """

    def __init__(
        self, path: Path, limits: Limits, number: int, seen: tuple[int, int, int], plain: Mapping[int, int]
    ) -> None:
        self._path, self._limits, self._serial, self._version, self._plain = path, limits, number, seen, plain

    def blocks(self, messages: Messages, rows: IntArray) -> Iterator[Block]:
        """Payloads of these rows, in this order, as many at once as lie in one chunk or near each other.

        Raises:
            LogUnreadable: the file changed since it was opened.
        """
        chunk, offset, size = (_column(column)[rows] for column in (messages.chunk, messages.offset, messages.size))
        try:
            with self._path.open("rb") as file:
                unchanged = version(file) == self._version
                if unchanged and self._plain:
                    chunk, offset = self._in_file(chunk, offset)
                for start, stop in _groups(chunk, offset, size):
                    offsets, sizes = offset[start:stop], size[start:stop]
                    if chunk[start] >= 0:
                        data = self._chunk(file, int(chunk[start]), check=not unchanged)
                    else:
                        base = int(offsets.min())
                        file.seek(base)
                        data, offsets = file.read(int((offsets + sizes).max()) - base), offsets - base
                    if int((offsets + sizes).max()) > len(data):
                        raise EOFError("the file is shorter than it was")
                    yield Block(first=start, data=data, offsets=offsets, sizes=sizes)
        except (OSError, *BROKEN) as error:
            raise LogUnreadable("the log changed while it was read", got=error, where=self._path) from error

    def _in_file(self, chunk: IntArray, offset: IntArray) -> tuple[IntArray, IntArray]:
        """Messages of uncompressed chunks as messages outside chunks, by their place in the file."""
        bases = np.zeros(len(chunk), dtype=np.int64)
        for position, rows in chunks.by_value(chunk):
            bases[rows] = self._plain.get(position, -1)
        plain = bases > 0
        return np.where(plain, -1, chunk), np.where(plain, offset + bases, offset)

    def _chunk(self, file: BinaryIO, position: int, *, check: bool) -> bytes:
        held = CHUNKS.get(self._serial, position)
        if held is not None:
            return held
        file.seek(position)
        _, length = ENVELOPE.unpack(file.read(ENVELOPE.size))
        body = file.read(min(length, self._limits.record_bytes))
        data = bytes(chunks.unpack(body, self._limits.chunk_bytes, check=check))
        CHUNKS.pass_by(self._serial, position, data)
        return data


def version(file: BinaryIO) -> tuple[int, int, int]:
    """What tells that a file was not written to since it was opened first, when every CRC was checked."""
    stat = os.fstat(file.fileno())
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _column(column: array[int]) -> IntArray:
    return np.frombuffer(column, dtype=np.int64) if len(column) else np.empty(0, dtype=np.int64)


def _groups(chunk: IntArray, offset: IntArray, size: IntArray) -> Iterator[tuple[int, int]]:
    """Stretches of messages of one chunk, and of messages outside chunks within one window of the file."""
    start = 0
    cuts = [*(np.flatnonzero(chunk[1:] != chunk[:-1]) + 1).tolist(), len(chunk)]
    for stop in cuts:
        while start < stop:
            end = stop
            if chunk[start] < 0:
                reach = np.maximum.accumulate(offset[start:stop] + size[start:stop])
                base = np.minimum.accumulate(offset[start:stop])
                end = start + max(1, int(np.searchsorted(reach - base, _WINDOW, side="right")))
            yield start, end
            start = end
