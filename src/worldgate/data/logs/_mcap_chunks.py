"""Inside one MCAP chunk: decompression that a hostile header cannot inflate, and every message found at numpy's speed.

The walk over the records is exact and trusts no index: record after record by its own length, and where the same
opcode and length repeat, the whole run by one comparison. The layout of a message record is that of
https://mcap.dev/spec#message-op0x05; all other records are parsed by the ``mcap`` package.

Shape legend: R records of a chunk, M messages.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from dataclasses import dataclass
from typing import Final, TypeAlias

import lz4.frame  # type: ignore[import-untyped]
import numpy as np
import zstandard
from mcap.exceptions import McapError
from mcap.opcode import Opcode

from worldgate.core.streams import Array, IntArray

Buffer: TypeAlias = bytes | memoryview
END_NS: Final = 2**63 - 1
ENVELOPE: Final = struct.Struct("<BQ")
_CHUNK: Final = struct.Struct("<QQQII")
_CUT: Final = "a record that ends outside its chunk"

HEAD: Final = np.dtype(
    [
        ("opcode", "u1"),
        ("length", "<u8"),
        ("channel", "<u2"),
        ("sequence", "<u4"),
        ("log_ns", "<u8"),
        ("publish_ns", "<u8"),
    ]
)
"""Envelope and header of a message record; its payload follows."""
MESSAGE_HEADER: Final = HEAD.itemsize - ENVELOPE.size

BROKEN: Final = (McapError, struct.error, ValueError, OverflowError, zstandard.ZstdError, RuntimeError, EOFError)
"""What record parsers and decompressors raise on damaged bytes."""

_RUN: Final = 8
"""Equal records in a row after which a run is tried."""
_LONGEST_WAIT: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkHead:
    """The header of a chunk record."""

    start_ns: int
    end_ns: int
    size: int
    """Bytes it says it decompresses to."""
    crc: int
    """Of the decompressed bytes; 0 where the writer put none."""
    compression: str
    data_at: int
    """Where the compressed bytes begin within the record's body."""
    data_size: int


def chunk_head(body: bytes) -> ChunkHead:
    """Parse a chunk record's header.

    Raises:
        struct.error, ValueError: a body too short for it.
    """
    start, end, size, crc, letters = _CHUNK.unpack_from(body)
    at = _CHUNK.size + letters
    if letters > 64:
        raise ValueError(f"a compression whose name has {letters} bytes")
    (data_size,) = struct.unpack_from("<Q", body, at)
    if at + 8 + data_size > len(body):
        raise ValueError("a chunk whose data ends outside its record")
    name = body[_CHUNK.size : at].decode("utf-8")
    return ChunkHead(
        start_ns=start, end_ns=end, size=size, crc=crc, compression=name, data_at=at + 8, data_size=data_size
    )


def chunk_span(body: bytes) -> tuple[int | None, int | None]:
    """First and last log time that a chunk's header states, however much of the rest is there."""
    if len(body) < 16:
        return None, None
    start, stop = struct.unpack_from("<QQ", body)
    return start, stop


def unpack(body: bytes, limit: int, *, check: bool = True) -> Buffer:
    """Decompress a chunk record's body, never allocating more than it claims nor more than ``limit``.

    Args:
        body: of the record.
        limit: most bytes to decompress to.
        check: whether to check its CRC.

    Returns:
        The records; a view of ``body`` where the chunk is not compressed.

    Raises:
        ValueError: a size beyond the limit, a size or CRC that differs from the claimed one, an unknown compression.
    """
    head = chunk_head(body)
    if head.size > limit:
        raise ValueError(f"a chunk that claims {head.size} bytes, more than the limit chunk_bytes={limit}")
    packed = memoryview(body)[head.data_at : head.data_at + head.data_size]
    data = _decompress(packed, head)
    if len(data) != head.size:
        raise ValueError(f"a chunk of {len(data)} bytes that claims {head.size}")
    if check and head.crc and zlib.crc32(data) != head.crc:
        raise ValueError("a chunk whose CRC differs")
    return data


def _decompress(packed: memoryview, head: ChunkHead) -> Buffer:
    claimed = head.size
    if head.compression == "":
        return packed
    if head.compression == "zstd":
        if not claimed:
            return b""
        size = zstandard.get_frame_parameters(packed).content_size
        if size not in (claimed, zstandard.CONTENTSIZE_UNKNOWN):
            raise ValueError("a chunk whose size differs from its header")
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=claimed)
    if head.compression == "lz4":
        return bytes(lz4.frame.LZ4FrameDecompressor().decompress(packed, max_length=claimed + 1))
    raise ValueError(f"unknown compression {head.compression[:20]!r}")


# -------------------------------------------------------------------- the walk


def record_starts(data: Buffer) -> IntArray:
    """(R,) offsets of the records of a chunk, in order.

    Raises:
        ValueError: a record that ends outside the chunk.
    """
    starts, at, size = array("q"), 0, len(data)
    previous, same, wait = b"", 0, _RUN
    while at < size:
        head = bytes(data[at : at + ENVELOPE.size])
        if len(head) < ENVELOPE.size:
            raise ValueError(_CUT)
        length = int.from_bytes(head[1:], "little")
        if at + ENVELOPE.size + length > size:
            raise ValueError(_CUT)
        if head == previous:
            same += 1
        else:
            previous, same = head, 0
        if same < wait:
            starts.append(at)
            at += ENVELOPE.size + length
            continue
        count = _run(data, at, ENVELOPE.size + length)
        starts.frombytes(np.arange(at, at + count * (ENVELOPE.size + length), ENVELOPE.size + length).tobytes())
        at += count * (ENVELOPE.size + length)
        # A file made of runs just too short to pay must not cost more than the plain walk.
        wait, same = (_RUN, 0) if count > 4 * _RUN else (min(2 * wait, _LONGEST_WAIT), 0)
    return np.frombuffer(starts, dtype=np.int64) if starts else np.empty(0, dtype=np.int64)


def _run(data: Buffer, at: int, stride: int) -> int:
    """How many records of this stride follow each other from ``at``; at least 1.

    A record with the first one's opcode and length ends exactly where the next one begins, so this is the same walk.
    """
    most, done, block = (len(data) - at) // stride, 1, 4 * _RUN
    first = np.frombuffer(data, dtype=np.uint8, count=ENVELOPE.size, offset=at)
    while done < most:
        count = min(block, most - done)
        heads: Array = np.ndarray(
            (count, ENVELOPE.size), np.uint8, buffer=data, offset=at + done * stride, strides=(stride, 1)
        )
        differs = (heads != first).any(axis=1)
        if differs.any():
            return done + int(differs.argmax())
        done += count
        block *= 2
    return done


def evenly_spaced(offsets: IntArray) -> int:
    """The distance between offsets that are all equally far apart, else 0."""
    if len(offsets) < 2:
        return 0
    step = int(offsets[1] - offsets[0])
    return step if step > 0 and bool((np.diff(offsets) == step).all()) else 0


def take(data: Buffer, offsets: IntArray, size: int) -> Array:
    """(len(offsets), size) uint8: the ``size`` bytes at each offset; a view where the offsets are evenly spaced.

    Every ``offset + size`` lies within ``data``.
    """
    assert len(offsets) == 0 or (offsets.min() >= 0 and int(offsets.max()) + size <= len(data))
    step = evenly_spaced(offsets)
    if len(offsets) == 0 or size == 0:
        return np.empty((len(offsets), size), dtype=np.uint8)
    if step:
        return np.ndarray((len(offsets), size), np.uint8, buffer=data, offset=int(offsets[0]), strides=(step, 1))
    every = np.ndarray((len(data) - size + 1,), f"V{size}", buffer=data, strides=(1,))
    return every[offsets].view(np.uint8).reshape(len(offsets), size)


def leads(data: Buffer, offsets: IntArray, sizes: IntArray, count: int) -> Array:
    """(M, count) uint8: the first bytes of each payload, filled up with zeros."""
    inside = offsets + count <= len(data)
    out: Array = np.zeros((len(offsets), count), dtype=np.uint8)
    out[inside] = take(data, offsets[inside], count)
    for place in np.flatnonzero(~inside):
        start = int(offsets[place])
        out[place, : len(data) - start] = np.frombuffer(data, dtype=np.uint8, offset=start)
    if len(sizes) and int(sizes.min()) < count:
        out[np.arange(count) >= sizes[:, None]] = 0
    return out


def message_heads(data: Buffer, starts: IntArray) -> Array:
    """(M,) :data:`HEAD` of the message records at ``starts``.

    Raises:
        ValueError: a message shorter than its header, a time beyond int64.
    """
    if len(starts) == 0:
        return np.empty(0, dtype=HEAD)
    if int(starts[-1]) + HEAD.itemsize > len(data):
        raise ValueError("a message shorter than its header")
    heads = take(data, starts, HEAD.itemsize).view(HEAD)[:, 0]
    if (heads["length"] < MESSAGE_HEADER).any():
        raise ValueError("a message shorter than its header")
    if (heads["log_ns"] > END_NS).any() or (heads["publish_ns"] > END_NS).any():
        raise ValueError("a time beyond int64")
    return heads


def opcodes(data: Buffer, starts: IntArray) -> Array:
    """(R,) opcode of each record."""
    return np.frombuffer(data, dtype=np.uint8)[starts]


def by_value(values: Array) -> list[tuple[int, IntArray]]:
    """Each distinct value with the indices where it stands, in order."""
    if len(values) == 0:
        return []
    if (values == values[0]).all():
        return [(int(values[0]), np.arange(len(values), dtype=np.int64))]
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    cuts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    return [(int(values[group[0]]), group) for group in np.split(order, cuts)]


KNOWN: Final = frozenset(int(code) for code in Opcode)
"""Opcodes of this version of the format."""
