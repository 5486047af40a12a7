"""The container side of reading MCAP: one pass that indexes every message, and says exactly what was lost.

Records are parsed by the ``mcap`` package; the walk over their envelopes is ours because the package stops at the first
damage. A file counts as whole only after its chunk, data-section and summary CRCs (where the writer put any) and its
own statistics and message indexes agree with what was read; reading itself trusts no index. A damaged stretch is
skipped up to the next chunk that the summary's index names; without an index the rest is lost. Sizes that a hostile
file claims are checked before anything is allocated (:class:`~worldgate.data.logs._limits.Limits`).
"""

from __future__ import annotations

import os
import struct
import zlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, ChunkIndex, DataEnd, Header, Metadata, Schema

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import Array, Finding, IntArray
from worldgate.core.times import format_ns
from worldgate.data.logs import _mcap_chunks as chunks
from worldgate.data.logs._limits import Limits
from worldgate.data.logs._mcap_cache import CHUNKS
from worldgate.data.logs._mcap_chunks import BROKEN, END_NS, ENVELOPE, HEAD, MESSAGE_HEADER, Buffer
from worldgate.data.logs._mcap_index import LEAD, Messages, Registry
from worldgate.data.logs._mcap_summary import MAGIC, Summary, read_summary

__all__ = ["MAGIC", "MAX_CHUNK", "Block", "Container", "Messages"]

MAX_CHUNK: Final = Limits().chunk_bytes
"""Most bytes that a chunk may decompress to by default."""
_WINDOW: Final = 1 << 22
"""Bytes of a file without chunks that are read at once."""
_PIECE: Final = 1 << 20
_MOST_FINDINGS: Final = 100
_MOST_DEFINITIONS: Final = 1 << 17
"""Schema and channel records of one chunk; there are not more ids."""
_MESSAGE: Final = struct.Struct("<HIQQ")
_LOADED: Final = frozenset(
    {
        Opcode.CHUNK,
        Opcode.MESSAGE,
        Opcode.SCHEMA,
        Opcode.CHANNEL,
        Opcode.METADATA,
        Opcode.DATA_END,
        Opcode.HEADER,
        Opcode.MESSAGE_INDEX,
    }
)
"""Records that are looked into; all others are read past in pieces, for the CRC."""


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


class Container:
    """An MCAP file, walked once.

    Raises:
        NotFound: no such file.
        LogUnreadable: not MCAP, or nothing of it can be read.
    """

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        self.path = path
        self.limits = limits or Limits.from_environment()
        self.library = ""
        self.registry = Registry()
        self.messages: dict[int, Messages] = {}
        self.metadata: list[Metadata] = []
        self.findings: list[Finding] = []
        self.message_count = 0
        """Messages that can be read."""
        self._serial = CHUNKS.enter(self)
        self._last_ns: int | None = None
        self._orphans = self._odd = self._bad_indexes = 0
        self._unreported = [0, 0]
        self._unpacked = 0
        self._newest: tuple[IntArray, Array] | None = None
        self._stated_crc = 0
        self._sums = True
        self._plain: dict[int, int] = {}
        self._version = (0, 0, 0)
        try:
            with path.open("rb") as file:
                self._version = _version(file)
                self._walk(file)
        except (FileNotFoundError, IsADirectoryError) as error:
            raise NotFound("no such log file", got=path) from error

    @property
    def channels(self) -> dict[int, Channel]:
        """Channels by number; that of an id with two meanings is beyond 16 bits."""
        return self.registry.channels

    @property
    def schemas(self) -> dict[int, Schema]:
        """Schemas by number, as the channels name them."""
        return self.registry.schemas

    # ---------------------------------------------------------------- the walk

    def _walk(self, file: BinaryIO) -> None:
        size = file.seek(0, 2)
        file.seek(0)
        if file.read(len(MAGIC)) != MAGIC:
            raise LogUnreadable("not an MCAP file: the first eight bytes are wrong", where=self.path)
        read = read_summary(file, size, self.limits.record_bytes)
        summary = read or Summary()
        # Where the writer put no CRC of the data section, none is computed.
        self._sums = summary.data_crc != 0
        self.registry.presume(summary.schemas, summary.channels)
        indexes = _Following(summary.chunks)
        position, crc = len(MAGIC), zlib.crc32(MAGIC)
        ended = False
        while position < size and not ended:
            step = self._record(file, position, size, crc, indexed=bool(summary.chunks))
            if step is None:
                position, crc = self._skip_damage(position, size, indexes), 0
                continue
            opcode, position, following = step
            if opcode == Opcode.DATA_END:
                ended = True
                self._check_data_crc(crc)
            crc = following
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

    def _record(
        self, file: BinaryIO, position: int, size: int, crc: int, *, indexed: bool
    ) -> tuple[int, int, int] | None:
        """Read and index the record at ``position``: (opcode, its end, the CRC so far); None where it is damaged."""
        file.seek(position)
        head = file.read(ENVELOPE.size)
        if len(head) < ENVELOPE.size:
            return None
        opcode, length = ENVELOPE.unpack(head)
        end = position + ENVELOPE.size + length
        foreign = opcode not in chunks.KNOWN
        if opcode == 0 or end > size or (foreign and opcode < 0x80 and not _plausible(file, end, size)):
            return None
        crc = self._sum(head, crc)
        if opcode not in _LOADED:
            file.seek(position + ENVELOPE.size)
            if foreign:
                whose = "the private" if opcode >= 0x80 else "an unknown"
                self._lose(position, end - position, f"a record of {whose} type {opcode:#x}, skipped")
            return opcode, end, self._pass_over(file, length, crc, opcode, position)
        if length > self.limits.record_bytes:
            if indexed or not _plausible(file, end, size):
                return None
            why = f"a record of {length} bytes, more than the limit record_bytes={self.limits.record_bytes}"
            self._lose(position, end - position, why)
            file.seek(position + ENVELOPE.size)
            return opcode, end, self._pass_over(file, length, crc, 0, position)
        body = file.read(length)
        try:
            self._take(opcode, body, position)
        except BROKEN as error:
            start, stop = chunks.chunk_span(body) if opcode == Opcode.CHUNK else (None, None)
            self._lose(
                position, end - position, f"a damaged {Opcode(opcode).name.lower()} record ({error})", start, stop
            )
        return opcode, end, self._sum(body, crc)

    def _sum(self, data: bytes, crc: int) -> int:
        return zlib.crc32(data, crc) if self._sums else crc

    def _pass_over(self, file: BinaryIO, length: int, crc: int, opcode: int, position: int) -> int:
        """Read a record that is not looked into, a piece at a time; the CRC behind it."""
        own, left, before = 0, length, b""
        while left > 0 and (piece := file.read(min(left, _PIECE))):
            left -= len(piece)
            crc = self._sum(piece, crc)
            if opcode == Opcode.ATTACHMENT:
                # The last four bytes, wherever the pieces are cut, are the attachment's own CRC.
                own, before = zlib.crc32((before + piece)[:-4], own), (before + piece)[-4:]
        if opcode == Opcode.ATTACHMENT and any(before) and before != own.to_bytes(4, "little"):
            self._lose(position, ENVELOPE.size + length, "an attachment whose CRC differs")
        return crc

    def _take(self, opcode: int, body: bytes, position: int) -> None:
        stream = ReadDataStream(BytesIO(body))
        if opcode == Opcode.CHUNK:
            self._newest = None
            self._index_chunk(self._unpack(body, position), position)
        elif opcode == Opcode.MESSAGE_INDEX:
            self._check_index(body)
        elif opcode == Opcode.MESSAGE:
            self._index_message(body, position)
        elif opcode == Opcode.SCHEMA:
            self.registry.define_schema(Schema.read(stream))
        elif opcode == Opcode.CHANNEL:
            self.registry.define_channel(Channel.read(stream))
        elif opcode == Opcode.METADATA:
            self.metadata.append(Metadata.read(stream))
        elif opcode == Opcode.DATA_END:
            self._stated_crc = DataEnd.read(stream).data_section_crc
        elif opcode == Opcode.HEADER:
            self.library = Header.read(stream).library

    def _unpack(self, body: bytes, position: int) -> Buffer:
        """Decompress a chunk, within what a file of this size may unpack to."""
        head = chunks.chunk_head(body)
        most = self.limits.total_bytes + self.limits.total_ratio * self._version[1]
        self._unpacked += min(head.size, self.limits.chunk_bytes)
        if self._unpacked > most:
            raise ValueError(f"chunks that unpack to more than {most} bytes together, the limit total_bytes")
        if head.compression == "":
            self._plain[position] = position + ENVELOPE.size + head.data_at
        return chunks.unpack(body, self.limits.chunk_bytes)

    # ---------------------------------------------------------------- messages

    def _index_chunk(self, data: Buffer, position: int) -> None:
        """Index a chunk's messages; nothing of a chunk that is not well-formed to its end is taken."""
        starts = chunks.record_starts(data)
        opcodes = chunks.opcodes(data, starts)
        is_message = opcodes == Opcode.MESSAGE
        heads = chunks.message_heads(data, starts[is_message])
        self._reserve(len(heads))
        begins = starts[is_message]
        moved = self._define(data, starts[~is_message], opcodes[~is_message], position)
        for id, rows in chunks.by_value(heads["channel"]):
            cuts = [(place, old, new) for place, known, old, new in moved if known == id]
            for number, part in _meanings(self.registry.number(id), cuts, begins[rows]):
                self._add(number, data, position, begins[rows[part]] + HEAD.itemsize, heads[rows[part]])
        self._newest = (begins, heads)
        if isinstance(data, bytes):
            # Uncompressed ones are read where they lie in the file.
            CHUNKS.keep(self._serial, position, data, self.limits.kept_bytes)

    def _define(
        self, data: Buffer, starts: IntArray, opcodes: Array, position: int
    ) -> list[tuple[int, int, int | None, int]]:
        """Take a chunk's schemas and channels; ids that change meaning as (offset, id, channel before, after)."""
        if len(starts) > _MOST_DEFINITIONS:
            raise ValueError(f"{len(starts)} records that are no messages in one chunk")
        moved = []
        for start, opcode in zip(starts.tolist(), opcodes.tolist(), strict=True):
            if opcode not in (Opcode.SCHEMA, Opcode.CHANNEL):
                self._odd += 1
                continue
            _, length = ENVELOPE.unpack_from(data, start)
            stream = ReadDataStream(BytesIO(data[start + ENVELOPE.size : start + ENVELOPE.size + length]))
            if opcode == Opcode.SCHEMA:
                self.registry.define_schema(Schema.read(stream))
                continue
            channel = Channel.read(stream)
            before = self.registry.number(channel.id)
            after = self.registry.define_channel(channel)
            if after is not None:
                moved.append((start, channel.id, before, after))
        return moved

    def _index_message(self, body: bytes, position: int) -> None:
        """Index a message outside chunks."""
        id, _, log_ns, publish_ns = _MESSAGE.unpack_from(body)
        if log_ns > END_NS or publish_ns > END_NS:
            raise ValueError("a time beyond int64")
        self._reserve(1)
        number = self.registry.number(id)
        if number is None:
            self._orphans += 1
            return
        place = position + ENVELOPE.size + _MESSAGE.size
        self.messages.setdefault(number, Messages()).append(place, body[_MESSAGE.size :], log_ns, publish_ns)
        self._count(1, log_ns)

    def _reserve(self, count: int) -> None:
        if self.message_count + count > self.limits.messages:
            raise ValueError(f"more messages than the limit messages={self.limits.messages}")

    def _add(self, number: int | None, data: Buffer, chunk: int, offsets: IntArray, heads: Array) -> None:
        if number is None:
            self._orphans += len(heads)
            return
        if len(heads) == 0:
            return
        sizes = heads["length"].astype(np.int64) - MESSAGE_HEADER
        lead = chunks.leads(data, offsets, sizes, LEAD)
        self.messages.setdefault(number, Messages()).extend(chunk, offsets, heads, MESSAGE_HEADER, lead)
        self._count(len(heads), int(heads["log_ns"].max()))

    def _count(self, more: int, latest_ns: int) -> None:
        self.message_count += more
        self._last_ns = latest_ns if self._last_ns is None else max(self._last_ns, latest_ns)

    def _check_index(self, body: bytes) -> None:
        """Hold a message index against the chunk before it; reading never uses one, but other programs do."""
        if self._newest is None:
            return
        channel, size = struct.unpack_from("<HI", body)
        begins, heads = self._newest
        mine = heads["channel"] == channel
        stated = np.frombuffer(body, dtype="<u8", offset=6)[: 2 * (size // 16)].reshape(-1, 2)
        stated = stated[np.argsort(stated[:, 1], kind="stable")]
        agrees = size % 16 == 0 and len(body) == 6 + size and len(stated) == int(mine.sum())
        if (
            not agrees
            or (stated[:, 1] != begins[mine].astype(np.uint64)).any()
            or (stated[:, 0] != heads["log_ns"][mine]).any()
        ):
            self._bad_indexes += 1

    # ---------------------------------------------------------------- damage

    def _skip_damage(self, position: int, size: int, indexes: _Following) -> int:
        """Name the loss from ``position`` and return where reading can go on."""
        resume = indexes.after(position, size)
        if resume is None:
            why = "damaged bytes" if indexes else "the file ends inside a record"
            self._lose(position, size - position, why, at_end=True)
            return size
        lost = indexes.at(position)
        start = min((index.message_start_time for index in lost), default=None)
        stop = max((index.message_end_time for index in lost), default=None)
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
        if len(self.findings) >= _MOST_FINDINGS:
            self._unreported[0] += 1
            self._unreported[1] += count
            return
        known = start_ns is not None and stop_ns is not None and 0 <= start_ns <= stop_ns < END_NS
        span: tuple[int, int] | None = None
        if known:
            assert start_ns is not None and stop_ns is not None
            span = (start_ns, stop_ns + 1)
            when = f"from {format_ns(start_ns)} to {format_ns(stop_ns)}"
        elif at_end:
            span = (0 if self._last_ns is None else self._last_ns + 1, END_NS)
            after = "the start" if self._last_ns is None else format_ns(self._last_ns)
            when = f"after {after}, until an unknown end"
        else:
            when = "at a time that is not known"
        before = f"{self.message_count} messages before it"
        message = f"{why} at byte {position}: {count} bytes lost, {when}; {before}"
        self.findings.append(_lost(message, count, () if span is None else (span,)))

    def _check_data_crc(self, crc: int) -> None:
        if self._sums and self._stated_crc and crc != self._stated_crc and not self.findings and not self._bad_indexes:
            self.findings.append(_integrity("the data section's CRC differs, though every chunk is whole", float(crc)))

    def _compare(self, summary: Summary) -> None:
        losses, lost = self._unreported
        if losses:
            self.findings.append(_lost(f"{losses} more losses, {lost} bytes together", lost, ()))
        if self._orphans:
            self.findings.append(
                _integrity(f"{self._orphans} messages of channels that are not defined were dropped", 0.0)
            )
        if self._odd:
            self.findings.append(
                _integrity(
                    f"{self._odd} records of types that do not belong into a chunk were skipped", float(self._odd)
                )
            )
        if self._bad_indexes:
            told = f"{self._bad_indexes} message indexes disagree with their chunks; reading did not use them"
            self.findings.append(_integrity(told, float(self._bad_indexes)))
        if twice := self.registry.redefined:
            told = f"{len(twice)} ids are given two meanings, the first {twice[0]}; each meaning is a stream of its own"
            self.findings.append(_integrity(told, float(len(twice))))
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
        for block in self.blocks(channel, np.fromiter(rows, dtype=np.int64)):
            for place in range(len(block)):
                yield block.payload(place)

    def blocks(self, channel: int, rows: IntArray) -> Iterator[Block]:
        """The same, as many at once as lie in one chunk or near each other.

        Raises:
            LogUnreadable: the file changed since it was opened.
        """
        messages = self.messages.get(channel, Messages())
        chunk, offset, size = (_column(column)[rows] for column in (messages.chunk, messages.offset, messages.size))
        try:
            with self.path.open("rb") as file:
                unchanged = _version(file) == self._version
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
            raise LogUnreadable("the log changed while it was read", got=error, where=self.path) from error

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
        body = file.read(min(length, self.limits.record_bytes))
        data = bytes(chunks.unpack(body, self.limits.chunk_bytes, check=check))
        CHUNKS.pass_by(self._serial, position, data)
        return data


class _Following:
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


def _version(file: BinaryIO) -> tuple[int, int, int]:
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


def _meanings(
    number: int | None, cuts: list[tuple[int, int | None, int]], begins: IntArray
) -> Iterator[tuple[int | None, IntArray]]:
    """Which messages of one id belong to which channel, where the id changes meaning inside a chunk."""
    places = [0, *np.searchsorted(begins, [place for place, _, _ in cuts]).tolist(), len(begins)]
    numbers = [cuts[0][1], *(new for _, _, new in cuts)] if cuts else [number]
    for meaning, start, stop in zip(numbers, places[:-1], places[1:], strict=True):
        yield meaning, np.arange(start, stop, dtype=np.int64)


def _plausible(file: BinaryIO, at: int, size: int) -> bool:
    """Whether a record of this format may begin here: what follows a record of an unknown type must."""
    file.seek(at)
    head = file.read(ENVELOPE.size)
    if len(head) < ENVELOPE.size:
        return False
    opcode, length = ENVELOPE.unpack(head)
    return bool((opcode in chunks.KNOWN or opcode >= 0x80) and at + ENVELOPE.size + length <= size)


def _lost(message: str, count: int, spans: tuple[tuple[int, int], ...]) -> Finding:
    return Finding(
        check="data_lost", stream="", message=message, value=float(count), limit=0.0, unit="bytes", spans_ns=spans
    )


def _integrity(message: str, value: float) -> Finding:
    return Finding(check="integrity", stream="", message=message, value=value, limit=0.0, unit="1")
