"""What the end of an intact MCAP file says about the file. Records are parsed by the ``mcap`` package."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO, Final

import numpy as np
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, ChunkIndex, Footer, Schema, Statistics

from worldgate.data.logs._mcap_chunks import BROKEN, END_NS, ENVELOPE

MAGIC: Final = b"\x89MCAP0\r\n"
_FOOTER_BYTES: Final = ENVELOPE.size + 20


@dataclass(slots=True, kw_only=True)
class Summary:
    """The summary section."""

    chunks: tuple[ChunkIndex, ...] = ()
    """By their place in the file."""
    statistics: Statistics | None = None
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    data_crc: int | None = None
    """What the data section's CRC is said to be, 0 where the writer put none; None where that was not found ahead."""


class Following:
    """The chunk indexes of a summary by place."""

    def __init__(self, indexes: tuple[ChunkIndex, ...]) -> None:
        self._indexes = indexes
        self._starts = np.array([min(index.chunk_start_offset, END_NS) for index in indexes], dtype=np.int64)

    def __bool__(self) -> bool:
        return bool(self._indexes)

    def after(self, position: int, size: int) -> int | None:
        """Start of the first chunk behind ``position`` and within the file."""
        place = int(np.searchsorted(self._starts, position, side="right"))
        found = place < len(self._starts) and int(self._starts[place]) < size
        return int(self._starts[place]) if found else None

    def at(self, position: int) -> tuple[ChunkIndex, ...]:
        """The indexes of the chunk at ``position``."""
        first, last = np.searchsorted(self._starts, (position, position + 1))
        return self._indexes[int(first) : int(last)]


def read_summary(file: BinaryIO, size: int, limit: int) -> Summary | None:
    """The summary, empty where the file has none; None where footer, CRC or records are damaged or too long."""
    tail = _FOOTER_BYTES + len(MAGIC)
    if size < len(MAGIC) + tail:
        return None
    file.seek(size - tail)
    end = file.read()
    opcode, length = ENVELOPE.unpack_from(end)
    if end[_FOOTER_BYTES:] != MAGIC or opcode != Opcode.FOOTER or length != 20:
        return None
    footer = Footer.read(ReadDataStream(BytesIO(end[ENVELOPE.size : _FOOTER_BYTES])))
    start, stop = footer.summary_start, size - tail
    if start and (not len(MAGIC) <= start <= stop or stop - start > limit):
        return None
    data_crc = _data_crc(file, start or stop)
    if start == 0:
        return Summary(data_crc=data_crc)
    file.seek(start)
    section = file.read(stop - start)
    if footer.summary_crc and zlib.crc32(end[: _FOOTER_BYTES - 4], zlib.crc32(section)) != footer.summary_crc:
        return None
    try:
        summary = _parse(section)
        summary.data_crc = data_crc
        return summary
    except BROKEN:
        return None


def _data_crc(file: BinaryIO, end: int) -> int | None:
    """The CRC in the record that ends the data section, if it ends here."""
    size = ENVELOPE.size + 4
    if end < size:
        return None
    file.seek(end - size)
    record = file.read(size)
    if len(record) < size or ENVELOPE.unpack_from(record) != (Opcode.DATA_END, 4):
        return None
    return int.from_bytes(record[ENVELOPE.size :], "little")


def _parse(section: bytes) -> Summary:
    out, chunks, at = Summary(), [], 0
    while at < len(section):
        opcode, length = ENVELOPE.unpack_from(section, at)
        start = at + ENVELOPE.size
        at = start + length
        if opcode not in (Opcode.CHUNK_INDEX, Opcode.STATISTICS, Opcode.SCHEMA, Opcode.CHANNEL):
            continue
        stream = ReadDataStream(BytesIO(section[start:at]))
        if opcode == Opcode.CHUNK_INDEX:
            chunks.append(ChunkIndex.read(stream))
        elif opcode == Opcode.STATISTICS:
            out.statistics = Statistics.read(stream)
        elif opcode == Opcode.SCHEMA:
            schema = Schema.read(stream)
            out.schemas[schema.id] = schema
        else:
            channel = Channel.read(stream)
            out.channels[channel.id] = channel
    out.chunks = tuple(sorted(chunks, key=lambda index: index.chunk_start_offset))
    return out
