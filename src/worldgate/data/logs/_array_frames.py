"""Pictures that lie as numbers or as compressed bytes in the rows of an array, read when a frame is asked for.

Shape legend: N rows, K rows asked for, H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Array, IntArray, Kind
from worldgate.data.logs import _images as images
from worldgate.data.logs._images import Encoded
from worldgate.data.logs._mapping import FILE

_BLOCK: Final = 1 << 26


class Source(Protocol):
    """An array in a container; picklable, and open only while it is read."""

    @property
    def name(self) -> str:
        """As the container names it."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, ...)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def refuse_absent(self) -> None:
        """Before anything of the declared size is made.

        Raises:
            LogUnreadable: declared rows that are not stored.
        """
        ...

    def read(self, rows: IntArray) -> Array:
        """(K, ...) these rows, in this order.

        Raises:
            LogUnreadable: damaged.
        """
        ...


def gather(rows: IntArray, read: Callable[[int, int], Array]) -> Array:
    """(K, ...) rows in any order, by slices of neighbours: an array's rows lie in chunks."""
    wanted, place = np.unique(rows, return_inverse=True)
    breaks = np.flatnonzero(np.diff(wanted) > 1) + 1
    runs = [read(int(run[0]), int(run[-1]) + 1) for run in np.split(wanted, breaks)]
    found: Array = runs[0] if len(runs) == 1 else np.concatenate(runs)
    return found if len(wanted) == len(rows) and bool((rows == wanted).all()) else found[place]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayFrames:
    """Pictures that lie as numbers in an array; fulfils :class:`worldgate.core.streams.Frames`."""

    source: Source
    rows: IntArray
    """(N,) rows of the source."""
    kind: Kind

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: IntArray) -> Array:
        """Read the frames of these indices: the form that their kind has.

        Raises:
            LogUnreadable: values that are no picture.
        """
        values = self._stored(np.asarray(indices, dtype=np.int64))
        if self.kind is Kind.DEPTH:
            metres = values.astype(np.float32)
            return metres / np.float32(1000) if values.dtype == np.uint16 else metres
        return values

    def content_digest(self) -> str:
        """SHA-256 over the values in order, as an uncompressed picture of any other container has it."""
        encoding = {Kind.IMAGE: "rgb8", Kind.NORMALS: "32FC3"}.get(self.kind, "")
        return images.digest(self._raw(encoding))

    def _raw(self, encoding: str) -> Iterator[Encoded]:
        by_type = {"uint8": "8UC1", "uint16": "16UC1", "int32": "32SC1", "float32": "32FC1"}
        step = max(1, _BLOCK // max(1, self.source.dtype.itemsize * math.prod(self.source.shape[1:])))
        for start in range(0, len(self), step):
            block = self._stored(np.arange(start, min(start + step, len(self)), dtype=np.int64))
            for picture in block:
                yield images.raw(picture, encoding or by_type[picture.dtype.name])

    def _stored(self, indices: IntArray) -> Array:
        """(K, H, W[, 3]) as stored, in the layout and element type of the kind."""
        values = self.source.read(self.rows[indices])
        if self.kind in {Kind.IMAGE, Kind.NORMALS}:
            values = values.transpose(0, 2, 3, 1) if planar(self.source.shape) else values
            return np.ascontiguousarray(self._bytes(values) if self.kind is Kind.IMAGE else values.astype(np.float32))
        values = values[..., 0] if values.ndim == 4 else values
        if self.kind is Kind.DEPTH:
            return values if values.dtype == np.uint16 else values.astype(np.float32)
        return values if values.dtype == np.uint8 else values.astype(np.int32)

    def _bytes(self, values: Array) -> Array:
        """Whole numbers 0..255 in any type, exactly as bytes."""
        if values.dtype == np.uint8:
            return values
        whole = values.astype(np.uint8)
        if not np.array_equal(whole, values):
            raise LogUnreadable(
                "a picture whose values are not whole numbers from 0 to 255",
                got=f"{values.dtype} from {values.min():g} to {values.max():g}",
                where=self.source.name,
                hint=f'kind = "vector" for this stream in {FILE}',
            )
        return whole


@dataclass(frozen=True, slots=True)
class Compressed:
    """Fetches pictures that lie compressed in the rows of an array."""

    source: Source
    rows: IntArray

    def __call__(self, indices: IntArray) -> Iterator[Encoded]:
        wanted = self.rows[indices]
        # A few at a time: rows are padded to the longest, and a file is opened for every read.
        each = math.prod(self.source.shape[1:]) * self.source.dtype.itemsize
        step = 16 if self.source.dtype.kind == "O" else max(1, min(64, _BLOCK // max(1, each)))
        for start in range(0, len(wanted), step):
            yield from map(encoded, self.source.read(wanted[start : start + step]))


def encoded(row: Any) -> Encoded:
    """A compressed picture without the zeros that pad it: a JPEG and a PNG end in a byte that is not zero."""
    data = row if isinstance(row, bytes) else np.asarray(row, dtype=np.uint8).tobytes()
    data = data.rstrip(b"\0")
    return Encoded(data=data, format="png" if data.startswith(b"\x89PNG") else "jpeg")


def planar(shape: Sequence[int]) -> bool:
    """(N, 3, H, W) rather than (N, H, W, 3)."""
    return len(shape) == 4 and shape[1] == 3 and shape[3] != 3


def looks_like_pictures(source: Source) -> bool:
    shape = source.shape
    return len(shape) == 4 and source.dtype.kind in "uf" and (planar(shape) or shape[3] == 3) and min(shape[1:]) > 0
