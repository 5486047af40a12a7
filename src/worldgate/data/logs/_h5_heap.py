"""Global heaps of an HDF5 file, walked before libhdf5 does: a damaged one holds it in a loop for ever.

Texts and rows of varying length stand in global heap collections: a header with the collection's size, then objects one
after the other, each with its own. libhdf5 (2.0, ``H5HG__cache_heap_deserialize``) steps from object to object by what
each says of its size, and stands still where a step is none: free space of no bytes, or a size that wraps around to
nothing. Nothing interrupts it there. So the same steps are taken here first, and only that is refused; what else is
wrong libhdf5 says itself. Collections are found by their signature, since only libhdf5 knows where they are.
Source: HDF5 file format 3.0, III.E.
"""

from __future__ import annotations

import mmap
from functools import lru_cache
from pathlib import Path
from typing import Final

from worldgate.core.errors import LogUnreadable

_SIGNATURE: Final = b"GCOL\x01"
_ID: Final = 8
"""Bytes of an object's index, count of references and reserve; of a collection's signature, version and reserve."""
_WORD: Final = 1 << 64
_HEAD: Final = 16
"""Bytes of a superblock that are looked at."""


def refuse_endless(path: Path) -> None:
    """Walk every global heap of a file, once for the same bytes.

    Raises:
        LogUnreadable: one that never ends.
    """
    stat = path.stat()
    if stat.st_size > _HEAD:
        _walk_all(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4096)
def _walk_all(path: Path, mtime_ns: int, size: int) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        width = data[14 if data[8] < 2 else 10]  # of lengths, by the version of the superblock
        at = data.find(_SIGNATURE)
        while at >= 0:
            if _endless(data, at, width):
                raise LogUnreadable(
                    "an HDF5 file with a damaged heap, which its library would read for ever",
                    got=f"global heap at byte {at}",
                    where=path,
                    hint="h5repack FILE COPY, where the damage is in space that is no longer used",
                )
            at = data.find(_SIGNATURE, at + len(_SIGNATURE))


def _endless(data: mmap.mmap, start: int, width: int) -> bool:
    """Whether stepping through a collection comes to a step of no bytes, or to one back."""
    size = int.from_bytes(data[start + _ID : start + _ID + width], "little")
    end = start + size
    if end > len(data):
        return False  # libhdf5 finds the end of the file first
    header = _padded(_ID + width)
    at = start + header
    while at + header <= end:
        index = int.from_bytes(data[at : at + 2], "little")
        stated = int.from_bytes(data[at + _ID : at + _ID + width], "little")
        step = (header + _padded(stated)) % _WORD if index else stated
        if step == 0 or step >= _WORD - size:
            return True
        at += step
    return False


def _padded(size: int) -> int:
    return (size + 7) % _WORD // 8 * 8
