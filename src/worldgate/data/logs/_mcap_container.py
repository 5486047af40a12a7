"""The container side of reading MCAP: one pass that indexes every message, and says exactly what was lost.

Records are parsed by the ``mcap`` package; the walk over their envelopes is ours because the package stops at the first
damage. A file counts as whole only after its chunk, data-section and summary CRCs (where the writer put any) and its
own statistics and message indexes agree with what was read; reading itself trusts no index. A damaged stretch is
skipped up to the next chunk that the summary's index names; without an index the rest is lost. Sizes that a hostile
file claims are checked before anything is allocated (:class:`~worldgate.data.logs._limits.Limits`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, DataEnd, Header, Metadata, Schema

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import Array, IntArray
from worldgate.data.logs import _mcap_chunks as chunks
from worldgate.data.logs._limits import Limits
from worldgate.data.logs._mcap_cache import CHUNKS
from worldgate.data.logs._mcap_chunks import BROKEN, END_NS, ENVELOPE, HEAD, MESSAGE_HEADER, Buffer
from worldgate.data.logs._mcap_index import LEAD, Messages, Registry
from worldgate.data.logs._mcap_losses import Tally, integrity
from worldgate.data.logs._mcap_payloads import Block, Payloads, version
from worldgate.data.logs._mcap_summary import MAGIC, Following, Summary, read_summary

__all__ = ["MAGIC", "Container"]

_PIECE: Final = 1 << 20
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
        self._tally = Tally()
        self.findings = self._tally.findings
        """What is missing, and what disagrees."""
        self._serial = CHUNKS.enter(self)
        self._unpacked = 0
        self._newest: tuple[IntArray, Array] | None = None
        self._stated_crc = 0
        self._sums = True
        self._plain: dict[int, int] = {}
        try:
            with path.open("rb") as file:
                self._version = version(file)
                self._walk(file)
        except (FileNotFoundError, IsADirectoryError) as error:
            raise NotFound("no such log file", got=path) from error
        self._payloads = Payloads(path, self.limits, self._serial, self._version, self._plain)

    @property
    def message_count(self) -> int:
        """Messages that can be read."""
        return self._tally.message_count

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
        indexes = Following(summary.chunks)
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
            self._tally.lose(position, 0, "the file ends before its end mark", at_end=True)
        if ended and read is None and not self.findings:
            self.findings.append(integrity("the index at the end is cut off or damaged; every message was read", 0.0))
        self._tally.compare(summary, self.registry.redefined)
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
                self._tally.lose(position, end - position, f"a record of {whose} type {opcode:#x}, skipped")
            return opcode, end, self._pass_over(file, length, crc, opcode, position)
        if length > self.limits.record_bytes:
            if indexed or not _plausible(file, end, size):
                return None
            why = f"a record of {length} bytes, more than the limit record_bytes={self.limits.record_bytes}"
            self._tally.lose(position, end - position, why)
            file.seek(position + ENVELOPE.size)
            return opcode, end, self._pass_over(file, length, crc, 0, position)
        body = file.read(length)
        try:
            self._take(opcode, body, position)
        except BROKEN as error:
            start, stop = chunks.chunk_span(body) if opcode == Opcode.CHUNK else (None, None)
            self._tally.lose(
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
            self._tally.lose(position, ENVELOPE.size + length, "an attachment whose CRC differs")
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
                self._tally.odd += 1
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
            self._tally.orphans += 1
            return
        place = position + ENVELOPE.size + _MESSAGE.size
        self.messages.setdefault(number, Messages()).append(place, body[_MESSAGE.size :], log_ns, publish_ns)
        self._tally.count(1, log_ns)

    def _reserve(self, count: int) -> None:
        if self.message_count + count > self.limits.messages:
            raise ValueError(f"more messages than the limit messages={self.limits.messages}")

    def _add(self, number: int | None, data: Buffer, chunk: int, offsets: IntArray, heads: Array) -> None:
        if number is None:
            self._tally.orphans += len(heads)
            return
        if len(heads) == 0:
            return
        sizes = heads["length"].astype(np.int64) - MESSAGE_HEADER
        lead = chunks.leads(data, offsets, sizes, LEAD)
        self.messages.setdefault(number, Messages()).extend(chunk, offsets, heads, MESSAGE_HEADER, lead)
        self._tally.count(len(heads), int(heads["log_ns"].max()))

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
            self._tally.bad_indexes += 1

    # ---------------------------------------------------------------- damage

    def _skip_damage(self, position: int, size: int, indexes: Following) -> int:
        """Name the loss from ``position`` and return where reading can go on."""
        resume = indexes.after(position, size)
        if resume is None:
            why = "damaged bytes" if indexes else "the file ends inside a record"
            self._tally.lose(position, size - position, why, at_end=True)
            return size
        lost = indexes.at(position)
        start = min((index.message_start_time for index in lost), default=None)
        stop = max((index.message_end_time for index in lost), default=None)
        self._tally.lose(position, resume - position, "damaged bytes", start, stop)
        return resume

    def _check_data_crc(self, crc: int) -> None:
        if (
            self._sums
            and self._stated_crc
            and crc != self._stated_crc
            and not self.findings
            and not self._tally.bad_indexes
        ):
            self.findings.append(integrity("the data section's CRC differs, though every chunk is whole", float(crc)))

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
        return self._payloads.blocks(self.messages.get(channel, Messages()), rows)


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
