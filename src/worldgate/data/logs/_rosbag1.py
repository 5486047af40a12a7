"""A ROS 1 bag as a container of messages: its records walked once, its chunks unpacked when a message is asked for.

Format: https://wiki.ros.org/Bags/Format/2.0. The walk is ours, as for MCAP, because rosbags refuses a bag that was
never closed and stops at the first damage. A chunk's own index says where its messages are, so an intact bag is opened
without unpacking a chunk; where that index is cut off or missing, the chunk is unpacked and its messages are listed.
Messages keep the order in which they were recorded, so a clock that steps back shows. The connections of one topic
with one definition (several publishers) are one channel. Sizes that a hostile file claims are checked before anything
is allocated.
"""

from __future__ import annotations

import bz2
import struct
from array import array
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Final

import lz4.frame  # type: ignore[import-untyped]
import numpy as np
from mcap.records import Channel, Metadata, Schema

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import Array, Finding, IntArray
from worldgate.core.times import SECOND, format_ns
from worldgate.data.logs._mcap_chunks import take
from worldgate.data.logs._mcap_index import Messages
from worldgate.data.logs._mcap_payloads import Block

MAGIC: Final = b"#ROSBAG V"
_VERSION: Final = b"#ROSBAG V2.0\n"
_MESSAGE, _BAG, _INDEX, _CHUNK, _CHUNK_INFO, _CONNECTION = 2, 3, 4, 5, 6, 7
_MAX_HEADER: Final = 1 << 20
_MAX_RECORD: Final = 1 << 30
MAX_CHUNK: Final = 1 << 29
"""Most bytes that a chunk may decompress to."""
_CACHED: Final = 1 << 26
_END_NS: Final = 2**63 - 1
_U32: Final = struct.Struct("<I")
_ENTRY: Final = np.dtype([("sec", "<u4"), ("nsec", "<u4"), ("offset", "<u4")])

# What unpacking raises on damaged bytes; lz4 raises RuntimeError.
_BROKEN: Final = (struct.error, ValueError, KeyError, OverflowError, OSError, EOFError, RuntimeError)

Header = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Where a chunk's bytes are, and what they unpack to."""

    offset: int
    size: int
    compression: str
    unpacked: int


@dataclass(frozen=True, slots=True)
class _Entries:
    """Messages of one connection in one chunk."""

    connection: int
    chunk: int
    rows: Array
    """Of ``_ENTRY``."""


@dataclass(frozen=True, slots=True)
class _Connection:
    topic: str
    type: str
    definition: bytes


class Rosbag1:
    """A ROS 1 bag, walked once; fulfils ``MessageSource``.

    Raises:
        NotFound: no such file.
        LogUnreadable: not a ROS 1 bag of version 2.0, an encrypted one, or one of which nothing can be read.
    """

    library = ""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.schemas: dict[int, Schema] = {}
        self.channels: dict[int, Channel] = {}
        self.messages: dict[int, Messages] = {}
        self.metadata: list[Metadata] = []
        self.findings: list[Finding] = []
        self._chunks: dict[int, _Chunk] = {}
        self._entries: list[_Entries] = []
        self._connections: dict[int, _Connection] = {}
        self._stated: dict[int, tuple[int, int, int]] = {}
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        try:
            with path.open("rb") as file:
                self._walk(file)
        except (FileNotFoundError, IsADirectoryError) as error:
            raise NotFound("no such log file", got=path) from error
        self._merge()
        self._compare()

    # ---------------------------------------------------------------- the walk

    def _walk(self, file: BinaryIO) -> None:
        size = file.seek(0, 2)
        file.seek(0)
        first = file.readline(32)
        if first != _VERSION:
            hint = "rosbag migrate" if first.startswith(MAGIC) else None
            raise LogUnreadable("not a ROS 1 bag of version 2.0", got=ascii(first)[:40], where=self.path, hint=hint)
        head = _read_header(file, size)
        if head is None or _op(head) != _BAG:
            raise LogUnreadable("a bag without its header", where=self.path, hint="restore a backup")
        if head.get("encryptor"):
            raise LogUnreadable("an encrypted bag", got=ascii(head["encryptor"])[:40], where=self.path)
        after = _U32.unpack(file.read(4).ljust(4, b"\0"))[0] + file.tell()
        index_at = int.from_bytes(head.get("index_pos", b""), "little")
        self._read_index(file, index_at, size)
        position = after
        end = index_at if self._stated else size
        chunk = 0
        while position < end:
            following, chunk = self._record(file, position, size, chunk)
            if following is None:
                following, chunk = self._skip_damage(position, size, end, chunk), 0
            position = following
        if not self._stated:
            self._unclosed(file, chunk)

    def _record(self, file: BinaryIO, position: int, size: int, chunk: int) -> tuple[int | None, int]:
        """Take in the record at a position: (where the next begins or None where it is damaged, its chunk)."""
        file.seek(position)
        head = _read_header(file, size)
        start, length = file.tell() + 4, _U32.unpack(file.read(4).ljust(4, b"\xff"))[0]
        if head is None or length > _MAX_RECORD or start + length > size:
            return None, chunk
        op = _op(head)
        try:
            if op == _CHUNK:
                chunk = start
                unpacked = _number(head, "size")
                self._chunks[chunk] = _Chunk(start, length, head["compression"].decode(), unpacked)
            elif op == _INDEX and chunk:
                if _number(head, "ver") != 1 or _number(head, "count") * _ENTRY.itemsize != length:
                    return None, chunk
                rows = np.frombuffer(file.read(length), dtype=_ENTRY)
                self._entries.append(_Entries(_number(head, "conn"), chunk, rows))
            elif op == _CONNECTION:
                self._connect(head, file.read(length))
        except _BROKEN:
            return None, chunk
        return start + length, chunk

    def _read_index(self, file: BinaryIO, index_at: int, size: int) -> None:
        """The section at the end of a closed bag: every connection, and where every chunk is."""
        position, chunks = index_at, {}
        while 0 < position < size:
            file.seek(position)
            head = _read_header(file, size)
            length = _U32.unpack(file.read(4).ljust(4, b"\xff"))[0]
            data = file.read(length) if length <= _MAX_RECORD else b""
            try:
                if head is None or len(data) < length:
                    return
                if _op(head) == _CONNECTION:
                    self._connect(head, data)
                elif _op(head) == _CHUNK_INFO:
                    counts = np.frombuffer(data, dtype="<u4").reshape(-1, 2)[:, 1]
                    start, stop = _time(head["start_time"]), _time(head["end_time"])
                    chunks[_number(head, "chunk_pos")] = (start, stop, int(counts.sum()))
            except _BROKEN:
                return
            position = file.tell()
        self._stated = chunks

    def _connect(self, head: Header, data: bytes) -> None:
        about = _fields(data)
        topic = head["topic"].decode("utf-8", "replace")
        found = _Connection(topic, about["type"].decode("utf-8", "replace"), about["message_definition"])
        self._connections.setdefault(_number(head, "conn"), found)

    # ---------------------------------------------------------------- damage

    def _skip_damage(self, position: int, size: int, end: int, chunk: int) -> int:
        """Name the loss from a position and return where reading can go on."""
        self._relist(chunk)
        following = min((at for at in self._stated if position < at < size), default=None)
        if following is not None:
            start, stop, _ = self._stated.get(position, (0, -1, 0))
            self._lose(position, following - position, "damaged bytes", (start, stop + 1) if stop >= start else None)
            return following
        span = (self._last_ns + 1, _END_NS)
        self._lose(position, end - position, "the file ends inside a record", span)
        return end

    def _unclosed(self, file: BinaryIO, chunk: int) -> None:
        """A bag that was never closed: find its connections inside its chunks."""
        if not self.findings:
            self._relist(chunk)
        self.findings.append(
            Finding(
                check="integrity",
                stream="",
                message="the bag was never closed and has no index; every complete chunk was read",
                value=float(len(self._chunks)),
                limit=0.0,
                unit="chunks",
            )
        )
        unknown = {e.chunk for e in self._entries if e.connection not in self._connections}
        for each in sorted(unknown):
            self._list(file, each, messages=False)
        if not self._entries:
            raise LogUnreadable("no complete chunk could be read", where=self.path, hint="restore a backup")

    def _relist(self, chunk: int) -> None:
        """Forget what was read of a chunk's index, whose end is missing, and list its messages from its bytes."""
        if chunk in self._chunks:
            self._entries = [e for e in self._entries if e.chunk != chunk]
            with self.path.open("rb") as file:
                self._list(file, chunk, messages=True)

    def _list(self, file: BinaryIO, chunk: int, *, messages: bool) -> None:
        """Connections and, where wanted, messages of a chunk, from its bytes."""
        found: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        connections = []
        try:
            data, at = self._unpack(file, chunk), 0
            while at < len(data):
                head, start = _header_at(data, at)
                (length,) = _U32.unpack_from(data, start)
                body, following = start + 4, start + 4 + length
                if following > len(data):
                    raise ValueError("a record that ends outside its chunk")
                if _op(head) == _CONNECTION:
                    connections.append((head, data[body:following]))
                elif _op(head) == _MESSAGE:
                    sec, nsec = struct.unpack("<II", head["time"])
                    found[_number(head, "conn")].append((sec, nsec, at))
                at = following
        except _BROKEN as error:
            lost = self._chunks.pop(chunk)
            self._entries = [e for e in self._entries if e.chunk != chunk]
            self._lose(lost.offset, lost.size, f"a damaged chunk ({error})", None)
            return
        for head, body_bytes in connections:
            try:
                self._connect(head, body_bytes)
            except _BROKEN as error:
                self._lose(chunk, len(body_bytes), f"a damaged connection ({error}) in the chunk", None)
        if messages:
            listed = (_Entries(c, chunk, np.array(rows, dtype=_ENTRY)) for c, rows in found.items())
            self._entries += listed

    @property
    def _last_ns(self) -> int:
        return max((int(_times(e.rows).max()) for e in self._entries if len(e.rows)), default=-1)

    def _lose(self, position: int, count: int, why: str, span: tuple[int, int] | None) -> None:
        when = "at a time that is not known"
        if span is not None:
            after = "the start" if span[0] == 0 else format_ns(span[0] - 1)
            when = f"after {after}, until an unknown end" if span[1] == _END_NS else f"from {format_ns(span[0])}"
        self.findings.append(
            Finding(
                check="data_lost",
                stream="",
                message=f"{why} at byte {position}: {count} bytes lost, {when}",
                value=float(count),
                limit=0.0,
                unit="bytes",
                spans_ns=() if span is None else (span,),
            )
        )

    # ---------------------------------------------------------------- channels

    def _merge(self) -> None:
        """One channel a topic and definition; its messages in the order they were recorded."""
        of: dict[_Connection, int] = {}
        for connection in self._connections.values():
            if connection not in of:
                number = of[connection] = len(of) + 1
                self.schemas[number] = Schema(
                    id=number, name=connection.type, encoding="ros1msg", data=connection.definition
                )
                self.channels[number] = Channel(
                    id=number, topic=connection.topic, message_encoding="ros1", metadata={}, schema_id=number
                )
        held: dict[int, list[_Entries]] = defaultdict(list)
        orphans = 0
        for entries in self._entries:
            known = self._connections.get(entries.connection)
            if known is None:
                orphans += len(entries.rows)
            else:
                held[of[known]].append(entries)
        self._entries = []
        if orphans:
            self.findings.append(_count(f"{orphans} messages of connections that are not defined", 0, orphans))
        for channel, several in held.items():
            self.messages[channel] = _ordered(several)

    def _compare(self) -> None:
        stated, read = sum(count for _, _, count in self._stated.values()), sum(len(m) for m in self.messages.values())
        if self._stated and stated != read and not self.findings:
            self.findings.append(_count(f"the bag's index says {stated} messages, {read} were read", read, stated))

    # ---------------------------------------------------------------- payloads

    def payloads(self, channel: int, rows: Iterable[int]) -> Iterator[bytes]:
        """Payloads of these messages of a channel, in this order; chunks are unpacked as needed and kept briefly.

        Raises:
            LogUnreadable: a damaged chunk, or the file changed since it was opened.
        """
        messages = self.messages[channel]
        try:
            with self.path.open("rb") as file:
                for row in rows:
                    yield _payload(self._unpack(file, messages.chunk[row]), messages.offset[row])
        except _BROKEN as error:
            raise LogUnreadable("a damaged chunk", got=str(error)[:80], where=self.path) from error

    def blocks(self, channel: int, rows: IntArray) -> Iterator[Block]:
        """The same, as many at once as lie in one chunk.

        Raises:
            LogUnreadable: a damaged chunk, or the file changed since it was opened.
        """
        messages = self.messages.get(channel, Messages())
        chunk = np.frombuffer(messages.chunk, dtype=np.int64)[rows] if len(messages) else rows
        offset = np.frombuffer(messages.offset, dtype=np.int64)[rows] if len(messages) else rows
        cuts = [0, *(np.flatnonzero(np.diff(chunk)) + 1).tolist(), len(rows)] if len(rows) else [0]
        try:
            with self.path.open("rb") as file:
                for start, stop in pairwise(cuts):
                    data = self._unpack(file, int(chunk[start]))
                    yield _block(start, data, offset[start:stop])
        except _BROKEN as error:
            raise LogUnreadable("a damaged chunk", got=str(error)[:80], where=self.path) from error

    def _unpack(self, file: BinaryIO, position: int) -> bytes:
        if position in self._cache:
            self._cache.move_to_end(position)
            return self._cache[position]
        chunk = self._chunks[position]
        file.seek(chunk.offset)
        data = self._cache[position] = unpack(file.read(chunk.size), chunk.compression, chunk.unpacked)
        while len(self._cache) > 1 and sum(len(d) for d in self._cache.values()) > _CACHED:
            self._cache.popitem(last=False)
        return data


def unpack(data: bytes, compression: str, claimed: int) -> bytes:
    """Decompress a chunk, never allocating more than it claims nor more than 512 MiB.

    Raises:
        ValueError: a size beyond the cap, a size that differs from the claimed one, an unknown compression.
    """
    if claimed > MAX_CHUNK:
        raise ValueError(f"a chunk that claims {claimed} bytes, more than {MAX_CHUNK}")
    if compression == "bz2":
        data = bz2.BZ2Decompressor().decompress(data, max_length=claimed + 1)
    elif compression == "lz4":
        data = lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=claimed + 1)
    elif compression != "none":
        raise ValueError(f"unknown compression {compression[:20]!r}")
    if len(data) != claimed:
        raise ValueError(f"a chunk of {len(data)} bytes that claims {claimed}")
    return data


def _payload(data: bytes, at: int) -> bytes:
    """The message at an offset of a chunk; some writers put a connection record between index and message."""
    while True:
        head, start = _header_at(data, at)
        (length,) = _U32.unpack_from(data, start)
        at = start + 4 + length
        if at > len(data):
            raise ValueError("a message that ends outside its chunk")
        if _op(head) == _MESSAGE:
            return data[start + 4 : at]
        if _op(head) != _CONNECTION:
            raise ValueError("an index entry that is no message")


def _block(first: int, data: bytes, offset: IntArray) -> Block:
    """The messages at these offsets of a chunk; those of one recorder have heads of one form, read at once."""
    length = _words(data, offset)
    head, _ = _header_at(data, int(offset[0]))
    place = data.find(b"op=", int(offset[0]), int(offset[0]) + 4 + int(length[0])) + 3 - int(offset[0])
    alike = bool((length == length[0]).all()) and _op(head) == _MESSAGE
    if alike:
        begins = offset + 4 + length
        alike = bool((np.frombuffer(data, dtype=np.uint8)[offset + place] == _MESSAGE).all())
    if alike:
        sizes = _words(data, begins)
        if int((begins + 4 + sizes).max()) > len(data):
            raise ValueError("a message that ends outside its chunk")
        return Block(first=first, data=data, offsets=begins + 4, sizes=sizes)
    payloads = [_payload(data, at) for at in offset.tolist()]
    ends = np.cumsum([len(payload) for payload in payloads])
    starts = np.concatenate([[0], ends[:-1]])
    return Block(first=first, data=b"".join(payloads), offsets=starts, sizes=ends - starts)


def _words(data: bytes, offset: IntArray) -> IntArray:
    """The 4-byte numbers at these offsets."""
    if int(offset.max()) + 4 > len(data):
        raise ValueError("a record that ends outside its chunk")
    words: IntArray = take(data, offset, 4).copy().view("<u4")[:, 0].astype(np.int64)
    return words


def _ordered(several: Iterable[_Entries]) -> Messages:
    each = list(several)
    chunk = np.concatenate([np.full(len(e.rows), e.chunk, dtype=np.int64) for e in each])
    rows = np.concatenate([e.rows for e in each])
    order = np.lexsort((rows["offset"], chunk))
    times, out = _times(rows)[order], Messages()
    out.chunk, out.offset, out.log_ns = _column(chunk[order]), _column(rows["offset"][order]), _column(times)
    out.size, out.publish_ns = _column(np.zeros(len(rows))), out.log_ns
    return out


def _column(values: Array) -> array[int]:
    return array("q", values.astype(np.int64).tobytes())


# -------------------------------------------------------------------- records


def _fields(data: bytes) -> Header:
    out, at = {}, 0
    while at < len(data):
        (length,) = _U32.unpack_from(data, at)
        name, equals, value = data[at + 4 : at + 4 + length].partition(b"=")
        at += 4 + length
        if not equals or at > len(data):
            raise ValueError("a record header that does not parse")
        out[name.decode("utf-8", "replace")] = value
    return out


def _header_at(data: bytes, at: int) -> tuple[Header, int]:
    """The record header at an offset, and where it ends."""
    (length,) = _U32.unpack_from(data, at)
    stop = at + 4 + length
    if stop > len(data):
        raise ValueError("a record header that ends outside its chunk")
    return _fields(data[at + 4 : stop]), stop


def _read_header(file: BinaryIO, size: int) -> Header | None:
    """The record header at the file's position; None where there is none."""
    (length,) = _U32.unpack(file.read(4).ljust(4, b"\xff"))
    if length > _MAX_HEADER or file.tell() + length > size:
        return None
    try:
        return _fields(file.read(length))
    except _BROKEN:
        return None


def _op(head: Mapping[str, bytes]) -> int:
    return int.from_bytes(head.get("op", b"\xff")[:1], "little")


def _number(head: Mapping[str, bytes], name: str) -> int:
    return int.from_bytes(head[name], "little")


def _time(value: bytes) -> int:
    sec, nsec = struct.unpack("<II", value)
    return int(sec) * SECOND + int(nsec)


def _times(rows: Array) -> Array:
    out: Array = rows["sec"].astype(np.int64) * SECOND + rows["nsec"]
    return out


def _count(message: str, read: int, stated: int) -> Finding:
    return Finding(
        check="count_mismatch",
        stream="",
        message=message,
        value=float(read),
        limit=float(stated),
        unit="messages",
    )
