"""The container side of reading MCAP: one pass that indexes every message, and says exactly what was lost.

Records are parsed by the ``mcap`` package; the walk over their envelopes is ours because the package stops at the first
damage. A file counts as whole only after its chunk, data-section and summary CRCs (where the writer put any) and its
own statistics agree with what was read. A damaged stretch is skipped up to the next chunk that the summary's index
names; without an index the rest is lost. Sizes that a hostile file claims are checked before anything is allocated.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

import lz4.frame  # type: ignore[import-untyped]
import numpy as np
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, ChunkIndex, DataEnd, Footer, Header, Metadata, Schema, Statistics

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import Finding, IntArray
from worldgate.core.times import format_ns

MAGIC: Final = b"\x89MCAP0\r\n"
MAX_CHUNK: Final = 1 << 29
"""Most bytes that a chunk may decompress to."""
MAX_RECORD: Final = 1 << 30
"""Most bytes of a record that is loaded."""
_CACHED: Final = 1 << 26
_END_NS: Final = 2**63 - 1
_ENVELOPE: Final = struct.Struct("<BQ")
_MESSAGE: Final = struct.Struct("<HIQQ")
_FOOTER_BYTES: Final = 9 + 20
_KNOWN: Final = frozenset(int(code) for code in Opcode)

# What the record parsers and decompressors raise on damaged bytes.
_BROKEN: Final = (McapError, struct.error, ValueError, OverflowError, zstandard.ZstdError, RuntimeError, EOFError)


@dataclass(slots=True)
class Messages:
    """Where the messages of one channel are."""

    chunk: array[int] = field(default_factory=lambda: array("q"))
    """File offset of the chunk record; -1 for a message outside chunks."""
    offset: array[int] = field(default_factory=lambda: array("q"))
    """Of the payload, within the decompressed chunk or the file."""
    size: array[int] = field(default_factory=lambda: array("q"))
    log_ns: array[int] = field(default_factory=lambda: array("q"))
    publish_ns: array[int] = field(default_factory=lambda: array("q"))

    def __len__(self) -> int:
        return len(self.offset)

    def times(self, column: str) -> IntArray:
        """One of the two time columns as an array."""
        return np.array(getattr(self, column), dtype=np.int64)


@dataclass(slots=True, kw_only=True)
class Summary:
    """What the end of an intact file says about the file."""

    chunks: tuple[ChunkIndex, ...] = ()
    statistics: Statistics | None = None
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)


class Container:
    """An MCAP file, walked once.

    Raises:
        NotFound: no such file.
        LogUnreadable: not MCAP, or nothing of it can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.library = ""
        self.schemas: dict[int, Schema] = {}
        self.channels: dict[int, Channel] = {}
        self.messages: dict[int, Messages] = {}
        self.metadata: list[Metadata] = []
        self.findings: list[Finding] = []
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._last_ns: int | None = None
        self._orphans = 0
        self._stated_crc = 0
        try:
            with path.open("rb") as file:
                self._walk(file)
        except (FileNotFoundError, IsADirectoryError) as error:
            raise NotFound("no such log file", got=path) from error

    @property
    def message_count(self) -> int:
        """Messages that can be read."""
        return sum(len(m) for m in self.messages.values())

    # ---------------------------------------------------------------- the walk

    def _walk(self, file: BinaryIO) -> None:
        size = file.seek(0, 2)
        file.seek(0)
        if file.read(len(MAGIC)) != MAGIC:
            raise LogUnreadable("not an MCAP file: the first eight bytes are wrong", where=self.path)
        read = _read_summary(file, size)
        summary = read or Summary()
        # The summary repeats what a lost first chunk defined; the data section overrides it.
        self.schemas |= summary.schemas
        self.channels |= summary.channels
        position, crc = len(MAGIC), zlib.crc32(MAGIC)
        ended = False
        while position < size and not ended:
            step = self._record(file, position, size)
            if step is None:
                position, crc = self._skip_damage(position, size, summary), 0
                continue
            opcode, end, data = step
            if opcode == Opcode.DATA_END:
                ended = True
                self._check_data_crc(crc)
            else:
                crc = zlib.crc32(data, crc)
            position = end
        if not ended and not self.findings:
            self._lose(position, 0, "the file ends before its end mark", at_end=True)
        if ended and read is None and not self.findings:
            self.findings.append(_integrity("the index at the end is cut off or damaged; every message was read", 0.0))
        self._compare(summary)
        if not self.message_count and self.findings:
            raise LogUnreadable(
                "no complete chunk could be read",
                got=self.findings[0].message,
                where=self.path,
                hint="restore a backup",
            )

    def _record(self, file: BinaryIO, position: int, size: int) -> tuple[int, int, bytes] | None:
        """Read and index the record at ``position``: (opcode, end, raw bytes); None where it is damaged."""
        file.seek(position)
        head = file.read(_ENVELOPE.size)
        if len(head) < _ENVELOPE.size:
            return None
        opcode, length = _ENVELOPE.unpack(head)
        end = position + _ENVELOPE.size + length
        private = opcode >= 0x80
        if (opcode not in _KNOWN and not private) or length > MAX_RECORD or end > size:
            return None
        body = file.read(length)
        if private:
            self._lose(position, end - position, f"a record of the private type {opcode:#x}, skipped")
            return opcode, end, head + body
        try:
            self._take(opcode, body, position)
        except _BROKEN as error:
            start, stop = _chunk_span(body) if opcode == Opcode.CHUNK else (None, None)
            self._lose(
                position, end - position, f"a damaged {Opcode(opcode).name.lower()} record ({error})", start, stop
            )
        return opcode, end, head + body

    def _take(self, opcode: int, body: bytes, position: int) -> None:
        stream = ReadDataStream(BytesIO(body))
        if opcode == Opcode.CHUNK:
            chunk = Chunk.read(stream)
            self._index_chunk(decompress(chunk), position)
        elif opcode == Opcode.MESSAGE:
            channel, _, log_ns, publish_ns = _MESSAGE.unpack_from(body)
            offset = position + _ENVELOPE.size + _MESSAGE.size
            self._add(channel, -1, offset, len(body) - _MESSAGE.size, log_ns, publish_ns)
        elif opcode == Opcode.SCHEMA:
            schema = Schema.read(stream)
            self.schemas[schema.id] = schema
        elif opcode == Opcode.CHANNEL:
            channel_record = Channel.read(stream)
            self.channels[channel_record.id] = channel_record
        elif opcode == Opcode.METADATA:
            self.metadata.append(Metadata.read(stream))
        elif opcode == Opcode.DATA_END:
            self._stated_crc = DataEnd.read(stream).data_section_crc
        elif opcode == Opcode.HEADER:
            self.library = Header.read(stream).library

    def _index_chunk(self, data: bytes, position: int) -> None:
        """Index a chunk's messages; nothing of a chunk that is not well-formed to its end is taken."""
        at, found = 0, []
        while at < len(data):
            opcode, length = _ENVELOPE.unpack_from(data, at)
            start = at + _ENVELOPE.size
            at = start + length
            if at > len(data):
                raise ValueError("a record that ends outside its chunk")
            if opcode == Opcode.MESSAGE:
                if length < _MESSAGE.size:
                    raise ValueError("a message shorter than its header")
                channel, _, log_ns, publish_ns = _MESSAGE.unpack_from(data, start)
                if log_ns > _END_NS or publish_ns > _END_NS:
                    raise ValueError("a time beyond int64")
                found.append((channel, start + _MESSAGE.size, length - _MESSAGE.size, log_ns, publish_ns))
            elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                self._take(opcode, data[start:at], position)
        for channel, offset, size, log_ns, publish_ns in found:
            self._add(channel, position, offset, size, log_ns, publish_ns)
        self._remember(position, data)

    def _add(self, channel: int, chunk: int, offset: int, size: int, log_ns: int, publish_ns: int) -> None:
        if channel not in self.channels:
            self._orphans += 1
            return
        if log_ns > _END_NS or publish_ns > _END_NS:
            raise ValueError("a time beyond int64")
        messages = self.messages.setdefault(channel, Messages())
        messages.chunk.append(chunk)
        messages.offset.append(offset)
        messages.size.append(size)
        messages.log_ns.append(log_ns)
        messages.publish_ns.append(publish_ns)
        self._last_ns = log_ns if self._last_ns is None else max(self._last_ns, log_ns)

    # ---------------------------------------------------------------- damage

    def _skip_damage(self, position: int, size: int, summary: Summary) -> int:
        """Name the loss from ``position`` and return where reading can go on."""
        following = [index for index in summary.chunks if position < index.chunk_start_offset < size]
        if not following:
            why = "the file ends inside a record" if not summary.chunks else "damaged bytes"
            self._lose(position, size - position, why, at_end=True)
            return size
        lost = [index for index in summary.chunks if index.chunk_start_offset == position]
        start = min((index.message_start_time for index in lost), default=None)
        stop = max((index.message_end_time for index in lost), default=None)
        resume = min(index.chunk_start_offset for index in following)
        self._lose(position, resume - position, "damaged bytes", start, stop)
        return resume

    def _lose(
        self,
        position: int,
        count: int,
        why: str,
        start_ns: int | None = None,
        stop_ns: int | None = None,
        *,
        at_end: bool = False,
    ) -> None:
        """Record a loss; a span known only by its start is left open to the end of time."""
        known = start_ns is not None and stop_ns is not None and 0 <= start_ns <= stop_ns < _END_NS
        span: tuple[int, int] | None = None
        if known:
            assert start_ns is not None and stop_ns is not None
            span = (start_ns, stop_ns + 1)
            when = f"from {format_ns(start_ns)} to {format_ns(stop_ns)}"
        elif at_end:
            span = (0 if self._last_ns is None else self._last_ns + 1, _END_NS)
            after = "the start" if self._last_ns is None else format_ns(self._last_ns)
            when = f"after {after}, until an unknown end"
        else:
            when = "at a time that is not known"
        before = f"{self.message_count} messages before it"
        self.findings.append(
            Finding(
                check="data_lost",
                stream="",
                message=f"{why} at byte {position}: {count} bytes lost, {when}; {before}",
                value=float(count),
                limit=0.0,
                unit="bytes",
                spans_ns=() if span is None else (span,),
            )
        )

    def _check_data_crc(self, crc: int) -> None:
        if self._stated_crc and crc != self._stated_crc and not self.findings:
            self.findings.append(_integrity("the data section's CRC differs, though every chunk is whole", float(crc)))

    def _compare(self, summary: Summary) -> None:
        if self._orphans:
            self.findings.append(
                _integrity(f"{self._orphans} messages of channels that are not defined were dropped", 0.0)
            )
        if summary.statistics is None or self.findings:
            return
        stated, read = summary.statistics.message_count, self.message_count
        if stated != read:
            self.findings.append(
                Finding(
                    check="count_mismatch",
                    stream="",
                    message=f"the file says {stated} messages, {read} were read",
                    value=float(read),
                    limit=float(stated),
                    unit="messages",
                )
            )

    # ---------------------------------------------------------------- payloads

    def payloads(self, channel: int, rows: Iterable[int]) -> Iterator[bytes]:
        """Payloads of these messages of a channel, in this order; chunks are decompressed as needed and kept briefly.

        Raises:
            LogUnreadable: the file changed since it was opened.
        """
        messages = self.messages[channel]
        try:
            with self.path.open("rb") as file:
                for row in rows:
                    chunk, offset, size = messages.chunk[row], messages.offset[row], messages.size[row]
                    if chunk < 0:
                        file.seek(offset)
                        yield file.read(size)
                    else:
                        yield self._chunk(file, chunk)[offset : offset + size]
        except (OSError, *_BROKEN) as error:
            raise LogUnreadable("the log changed while it was read", got=error, where=self.path) from error

    def _chunk(self, file: BinaryIO, position: int) -> bytes:
        if position in self._cache:
            self._cache.move_to_end(position)
            return self._cache[position]
        file.seek(position)
        _, length = _ENVELOPE.unpack(file.read(_ENVELOPE.size))
        data = decompress(Chunk.read(ReadDataStream(BytesIO(file.read(min(length, MAX_RECORD))))))
        self._remember(position, data)
        return data

    def _remember(self, position: int, data: bytes) -> None:
        self._cache[position] = data
        while len(self._cache) > 1 and sum(len(d) for d in self._cache.values()) > _CACHED:
            self._cache.popitem(last=False)


def decompress(chunk: Chunk) -> bytes:
    """Decompress a chunk and check its CRC, never allocating more than it claims nor more than :data:`MAX_CHUNK`.

    Raises:
        ValueError: a size beyond the cap, a size or CRC that differs from the claimed one, an unknown compression.
    """
    claimed = chunk.uncompressed_size
    if claimed > MAX_CHUNK:
        raise ValueError(f"a chunk that claims {claimed} bytes, more than {MAX_CHUNK}")
    if chunk.compression == "zstd":
        size = zstandard.get_frame_parameters(chunk.data).content_size
        if size not in (claimed, zstandard.CONTENTSIZE_UNKNOWN):
            raise ValueError("a chunk whose size differs from its header")
        data = zstandard.ZstdDecompressor().decompress(chunk.data, max_output_size=claimed) if claimed else b""
    elif chunk.compression == "lz4":
        data = lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=claimed + 1)
    elif chunk.compression == "":
        data = chunk.data
    else:
        raise ValueError(f"unknown compression {chunk.compression[:20]!r}")
    if len(data) != claimed:
        raise ValueError(f"a chunk of {len(data)} bytes that claims {claimed}")
    if chunk.uncompressed_crc and zlib.crc32(data) != chunk.uncompressed_crc:
        raise ValueError("a chunk whose CRC differs")
    return data


def _chunk_span(body: bytes) -> tuple[int | None, int | None]:
    """First and last log time that a chunk's header states."""
    if len(body) < 16:
        return None, None
    start, stop = struct.unpack_from("<QQ", body)
    return start, stop


def _integrity(message: str, value: float) -> Finding:
    return Finding(check="integrity", stream="", message=message, value=value, limit=0.0, unit="1")


def _read_summary(file: BinaryIO, size: int) -> Summary | None:
    """The summary section, empty where the file has none; None where footer, CRC or records are damaged."""
    tail = _FOOTER_BYTES + len(MAGIC)
    if size < len(MAGIC) + tail:
        return None
    file.seek(size - tail)
    end = file.read()
    opcode, length = _ENVELOPE.unpack_from(end)
    if end[_FOOTER_BYTES:] != MAGIC or opcode != Opcode.FOOTER or length != 20:
        return None
    footer = Footer.read(ReadDataStream(BytesIO(end[_ENVELOPE.size : _FOOTER_BYTES])))
    start, stop = footer.summary_start, size - tail
    if start == 0:
        return Summary()
    if not len(MAGIC) <= start <= stop or stop - start > MAX_RECORD:
        return None
    file.seek(start)
    section = file.read(stop - start)
    if footer.summary_crc and zlib.crc32(end[: _FOOTER_BYTES - 4], zlib.crc32(section)) != footer.summary_crc:
        return None
    try:
        return _parse_summary(section)
    except _BROKEN:
        return None


def _parse_summary(section: bytes) -> Summary:
    out, chunks, at = Summary(), [], 0
    while at < len(section):
        opcode, length = _ENVELOPE.unpack_from(section, at)
        start = at + _ENVELOPE.size
        at = start + length
        stream = ReadDataStream(BytesIO(section[start:at]))
        if opcode == Opcode.CHUNK_INDEX:
            chunks.append(ChunkIndex.read(stream))
        elif opcode == Opcode.STATISTICS:
            out.statistics = Statistics.read(stream)
        elif opcode == Opcode.SCHEMA:
            schema = Schema.read(stream)
            out.schemas[schema.id] = schema
        elif opcode == Opcode.CHANNEL:
            channel = Channel.read(stream)
            out.channels[channel.id] = channel
    out.chunks = tuple(chunks)
    return out
