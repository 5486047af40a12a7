"""The seam of clip codecs: each file is one way to keep a camera's frames, small enough and quick to read at random.

A codec module holds a literal ``CARD``, two constants and two functions:

``encode(frames: Iterable[Array], group: int) -> Iterator[bytes]``
    One packet a frame, in order; every ``group``-th frame can be decoded without those before it.
``reader(file: ClipFile) -> ClipReader``
    Random access to a finished file.

``LOSSY`` is the PSNR in dB that a decoded clip of camera images keeps at least, or None where every bit is kept;
``GROUPED`` says whether ``group`` matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from worldgate.core import seams
from worldgate.core.streams import Array, IntArray
from worldgate.data.codecs._file import ClipFile


class ClipReader(Protocol):
    """Random access to one file of the clip cache; not for several threads at once."""

    def into(self, rows: IntArray, out: Array) -> None:
        """Write these rows, in this order, into ``out`` (K, H, W, ...), C-contiguous and of the file's type.

        Raises:
            Tampered: bytes of the file that are not those that were written.
        """
        ...

    def close(self) -> None:
        """Release the file."""
        ...


class Codec(Protocol):
    """What a module of this seam is."""

    LOSSY: float | None
    GROUPED: bool

    def encode(self, frames: Iterable[Array], group: int) -> Iterator[bytes]:
        """One packet a frame."""
        ...

    def reader(self, file: ClipFile) -> ClipReader:
        """Random access to a finished file."""
        ...


def load(name: str) -> Codec:
    """A codec by its name.

    Raises:
        NotFound: no such codec.
    """
    codec: Codec = seams.load("codecs", name)
    return codec
