"""The file that every clip codec writes: a header, one packet a frame, and where each packet lies.

::

    0       magic, length of the header, SHA-256 of header and table
    48      header: canonical JSON
    ...     table: one entry a frame (first byte, length, CRC-32C)
    start   packets, on a page of their own, so that they can be mapped

Opening reads header and table and holds them against their digest and the file against its length. A packet is held
against its checksum when it is read for the first time: a damaged cache costs time and never changes data, and an epoch
does not begin with reading everything once.

Shape legend: T frames, H x W pixels.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import google_crc32c
import numpy as np

from worldgate.core.atomic import atomic_path
from worldgate.core.config import decode
from worldgate.core.digest import canonical, read_json, sha256
from worldgate.core.errors import ConfigError, Tampered
from worldgate.core.streams import Array, BoolArray, IntArray, Kind, Origin

SCHEMA: Final = "worldgate.clips/1"
_MAGIC: Final = b"WGCLIPS\1"
_FIXED: Final = struct.Struct("<8sQ32s")
_PAGE: Final = 4096
ENTRY: Final = np.dtype([("at", "<i8"), ("size", "<i8"), ("crc", "<u4")])


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipHeader:
    """What a file of the clip cache holds."""

    episode: str
    camera: str
    kind: Kind
    origin: Origin
    codec: str
    group: int
    """Frames that decode together; 1 where each stands alone."""
    frames: int
    """T."""
    shape: tuple[int, ...]
    """Of one frame: (H, W, 3), or (H, W)."""
    dtype: str
    scaling: str
    """How frames came to their size."""
    start: int = 0
    """First byte of the packets."""
    schema: str = SCHEMA

    @property
    def frame_bytes(self) -> int:
        """Bytes of one decoded frame."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, kw_only=True)
class ClipFile:
    """An open file of the clip cache."""

    path: Path
    header: ClipHeader
    table: Array
    """(T,) :data:`ENTRY`."""
    descriptor: int
    seen: BoolArray = field(repr=False)
    """(T,) packets that were held against their checksum already."""

    @classmethod
    def open(cls, path: Path) -> ClipFile:
        """Open a file and hold its header and table against their digest.

        Raises:
            FileNotFoundError: it is not there.
            Tampered: cut off, damaged, or of another form.
        """
        descriptor = os.open(path, os.O_RDONLY)
        try:
            header, table = _read_head(descriptor)
        except (ValueError, KeyError, TypeError, struct.error, ConfigError) as error:
            os.close(descriptor)
            raise Tampered("a damaged file of the clip cache", got=str(error)[:80], where=path, hint=_HINT) from error
        return cls(path=path, header=header, table=table, descriptor=descriptor, seen=np.zeros(len(table), np.bool_))

    def packet(self, row: int) -> bytes:
        """The packet of a frame.

        Raises:
            Tampered: other bytes than were written.
        """
        entry = self.table[row]
        data = os.pread(self.descriptor, int(entry["size"]), int(entry["at"]))
        self.check(row, data)
        return data

    def check(self, row: int, data: bytes | Array) -> None:
        """Hold a packet against its checksum, once.

        Raises:
            Tampered: other bytes than were written.
        """
        if not self.seen[row]:
            if google_crc32c.value(data) != self.table["crc"][row]:
                raise Tampered("a damaged frame in the clip cache", got=f"frame {row}", where=self.path, hint=_HINT)
            self.seen[row] = True

    def mapped(self) -> Array:
        """(T, H, W, ...) frames of a file that keeps them raw, read-only."""
        header = self.header
        return np.memmap(self.path, header.dtype, "r", header.start, (header.frames, *header.shape))

    def close(self) -> None:
        """Release the file."""
        os.close(self.descriptor)


_HINT: Final = "remove it: the cache is made again"


def _read_head(descriptor: int) -> tuple[ClipHeader, Array]:
    magic, length, digest = _FIXED.unpack(os.pread(descriptor, _FIXED.size, 0))
    if magic != _MAGIC:
        raise ValueError("not a file of this cache")
    if length > 1 << 20:
        raise ValueError("a header beyond 1 MiB")
    text = os.pread(descriptor, length, _FIXED.size)
    header = decode(ClipHeader, read_json(text), where="header")
    entries = os.pread(descriptor, header.frames * ENTRY.itemsize, _FIXED.size + length)
    if bytes.fromhex(sha256(text, entries)) != digest or header.schema != SCHEMA:
        raise ValueError("header and table do not match their digest")
    table = np.frombuffer(entries, ENTRY)
    end = int((table["at"] + table["size"]).max(initial=header.start))
    if os.fstat(descriptor).st_size < end:
        raise ValueError(f"cut off after {os.fstat(descriptor).st_size} of {end} bytes")
    return header, table


def write(path: Path, header: ClipHeader, packets: Iterable[bytes], *, share: bool) -> None:
    """Write a file whole or not at all.

    Args:
        path: where; what is there is replaced.
        header: all but ``start``.
        packets: one a frame.
        share: keep a packet that equals the one before it once; a camera that repeats pictures costs nothing then.
    """
    table = np.zeros(header.frames, ENTRY)
    room = _FIXED.size + len(canonical(header)) + 32 + table.nbytes
    start = at = -(-room // _PAGE) * _PAGE
    with atomic_path(path, overwrite=True) as partial, partial.open("r+b") as file:
        file.seek(start)
        row, before = -1, b""
        for row, packet in enumerate(packets):
            if share and row and packet == before:
                table[row] = table[row - 1]
                continue
            table[row] = (at, len(packet), google_crc32c.value(packet))
            at += file.write(packet)
            before = packet
        assert row == header.frames - 1, f"{row + 1} packets for {header.frames} frames"
        _write_head(file, replace(header, start=start), table)


def _write_head(file: Any, header: ClipHeader, table: Array) -> None:
    text, entries = canonical(header), table.tobytes()
    file.seek(0)
    file.write(_FIXED.pack(_MAGIC, len(text), bytes.fromhex(sha256(text, entries))) + text + entries)
    assert file.tell() <= header.start, "the header grew into the packets"


def runs(rows: IntArray) -> list[tuple[int, int]]:
    """Cut rows into stretches of consecutive ones: half-open places within ``rows``."""
    if len(rows) == 0:
        return []
    cuts = (np.flatnonzero(np.diff(rows) != 1) + 1).tolist()
    edges = [0, *cuts, len(rows)]
    return list(pairwise(edges))


def copy_rows(frames: Array, rows: IntArray, out: Array) -> None:
    """Copy these rows of ``frames`` (N, H, W, ...), in this order, into ``out`` (K, H, W, ...)."""
    first, count = int(rows[0]), len(rows)
    stride = int(rows[1]) - first if count > 1 else 1
    if stride > 0 and bool((rows[1:] - rows[:-1] == stride).all()):
        np.copyto(out, frames[first : first + (count - 1) * stride + 1 : stride])
    else:
        np.take(frames, rows, axis=0, out=out, mode="clip")
