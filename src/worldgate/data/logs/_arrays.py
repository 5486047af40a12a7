"""Logs that are arrays with one row a step and no times: robomimic, ACT and zarr replay buffers share this.

Rows are stamped ``index / rate`` on the clock ``frame``. The rate is the mapping file's, else the container's, else the
format's assumption, which a finding says. An array stays in its file until :meth:`ArrayLog.read`, which reads the
window's rows alone; pictures are read when their frames are. The content digest covers values (or, of compressed
pictures, their encoded bytes), so chunks and compression of the container do not change a log's identity.

Shape legend: N rows, K rows asked for, H x W pixels, D channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import IMAGE_LIKE, NUMERIC, Array, Finding, IntArray, Kind, Origin, Stream, StreamInfo
from worldgate.core.times import SECOND
from worldgate.data.logs import _images as images
from worldgate.data.logs._array_frames import ArrayFrames, Compressed, Source, encoded, looks_like_pictures, planar
from worldgate.data.logs._image_size import stated_shape
from worldgate.data.logs._images import EncodedFrames
from worldgate.data.logs._mapping import FILE, Facts, FolderMapping
from worldgate.data.logs._video import MAX_PIXELS

MAX_READ: Final = 1 << 32
"""Most bytes that one read of numbers may give: four GiB of telemetry is a mistake or an attack."""
_LONGEST_FACT: Final = 400
"""Characters; a simulator's XML is no fact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An array that would become a stream."""

    name: str
    """Name of the stream."""
    source: Source
    kind: Kind | None = None
    """As the container's naming tells; None: told by shape."""
    encoded: bool = False
    """Each row is one compressed picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Rows a second, and who says so."""

    hz: float
    source: str
    finding: Finding | None = None


def rate(mapping: FolderMapping, stated: float, stated_by: str, assumed: float, because: str) -> Rate:
    """The rate of a log: the mapping's, else the container's, else assumed, with a finding that says so."""
    if mapping.rate_hz:
        return Rate(hz=mapping.rate_hz, source=FILE)
    if math.isfinite(stated) and 0 < stated <= 1e6:
        return Rate(hz=stated, source=stated_by)
    found = Finding(
        check="rate_assumed",
        stream="",
        message=f"no rate is stated; {assumed:g} Hz assumed ({because}); rate_hz in {FILE} states it",
        value=assumed,
        limit=0.0,
        unit="Hz",
    )
    return Rate(hz=assumed, source=f"assumed: {because}", finding=found)


# ------------------------------------------------------------------ streams


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayStream:
    """A stream and the array that it is."""

    info: StreamInfo
    source: Source
    encoded: bool = False

    def refuse(self, count: int) -> None:
        """Before anything of the declared size is made.

        Raises:
            LogUnreadable: declared rows that are not stored, or more numbers than a read may give.
        """
        source = self.source
        source.refuse_absent()
        size = count * source.dtype.itemsize * math.prod(source.shape[1:])
        if self.info.kind not in IMAGE_LIKE and size > MAX_READ:
            got = f"{size / 2**30:.1f} GiB declared"
            raise LogUnreadable("more numbers than one read may give", got=got, where=source.name, hint="read a window")

    def values(self, rows: IntArray) -> Array | ArrayFrames | EncodedFrames:
        """The values of these rows."""
        if self.encoded:
            fetch = Compressed(self.source, rows)
            return EncodedFrames(fetch=fetch, count=len(rows), where=self.source.name)
        if self.info.kind in IMAGE_LIKE:
            return ArrayFrames(source=self.source, rows=rows, kind=self.info.kind)
        values = self.source.read(rows)
        if self.info.kind is Kind.TEXT:
            return _texts(values)
        values = values[:, None] if values.ndim == 1 else values
        return values.astype(np.uint8) if values.dtype == np.bool_ else values


def _texts(values: Array) -> Array:
    out = np.empty(len(values), dtype=object)
    out[:] = [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values]
    return out


def arrange(
    candidates: Sequence[Candidate], mapping: FolderMapping, rate_hz: float, *, where: str
) -> dict[str, ArrayStream]:
    """The streams of a log, one an array.

    Raises:
        LogUnreadable: arrays that cannot be streams.
    """
    return {c.name: _stream(c, mapping.kind_of(c.name, c.source.name), rate_hz, where=where) for c in candidates}


def _stream(candidate: Candidate, stated: Kind | None, rate_hz: float, *, where: str) -> ArrayStream:
    source = candidate.source
    kind = stated or candidate.kind or _kind(candidate)
    compressed = candidate.encoded and kind is Kind.IMAGE
    info = StreamInfo(
        name=candidate.name,
        kind=kind,
        count=source.shape[0],
        shape=_shape_of(source, kind, compressed, where=f"{where}:{candidate.name}"),
        clock="frame",
        rate_hz=rate_hz,
        topic=source.name,
    )
    return ArrayStream(info=info, source=source, encoded=compressed)


def _kind(candidate: Candidate) -> Kind:
    if candidate.encoded or looks_like_pictures(candidate.source):
        return Kind.IMAGE
    if candidate.source.dtype.kind in "OSUT":
        return Kind.TEXT
    return Kind.ACTION if candidate.name.split(".")[0] == "action" else Kind.VECTOR


def _shape_of(first: Source, kind: Kind, compressed: bool, *, where: str) -> tuple[int, ...]:
    """Shape of one message, refusing what its kind cannot be."""
    each = first.shape[1:]
    if compressed:
        if not first.shape[0]:
            return (0, 0, 3)
        (row,) = first.read(np.zeros(1, dtype=np.int64))
        picture = encoded(row)
        return stated_shape(picture) or tuple(images.decode(picture, Kind.IMAGE).shape)
    if kind in {Kind.IMAGE, Kind.NORMALS}:
        if not looks_like_pictures(first):
            raise LogUnreadable("an array that holds no colour pictures", got=f"{first.dtype} {each}", where=where)
        each = (each[1], each[2], 3) if planar(first.shape) else each
    elif kind in IMAGE_LIKE:
        each = each[:2] if len(each) == 3 and each[2] == 1 else each
        if len(each) != 2:
            raise LogUnreadable(f"an array that is no {kind}", got=f"{first.dtype} {each}", where=where)
    elif kind in NUMERIC and first.dtype.kind in "biuf":
        return each or (1,)
    elif first.dtype.kind not in "OSUT" or each:
        raise LogUnreadable(f"an array that is no {kind}", got=f"{first.dtype} {each}", where=where)
    else:
        return ()
    if math.prod(each[:2]) > MAX_PIXELS:
        raise LogUnreadable("pictures larger than any camera's", got=f"{each[1]}x{each[0]}", where=where)
    return each


# ------------------------------------------------------------------ the log


@dataclass(frozen=True, kw_only=True)
class ArrayLog:
    """One episode of arrays, stamped by index over rate."""

    name: str
    origin: Origin
    arrays: Mapping[str, ArrayStream]
    rate_hz: float
    facts: Facts = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def streams(self) -> tuple[StreamInfo, ...]:
        """As the container orders them; those of the mapping first."""
        return tuple(array.info for array in self.arrays.values())

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        """Read one stream, whole or within the half-open window.

        Raises:
            NotFound: no such stream.
            LogUnreadable: declared rows that are not there, or damaged ones.
        """
        if stream not in self.arrays:
            raise NotFound("no such stream", got=stream, where=self.name, hint=f"one of {', '.join(self.arrays)}")
        array = self.arrays[stream]
        start, stop = self._range(array.info.count, window_ns)
        array.refuse(stop - start)
        rows = np.arange(start, stop, dtype=np.int64)
        return Stream(info=array.info, times_ns=self._times(rows), values=array.values(rows))

    def _range(self, count: int, window_ns: tuple[int, int] | None) -> tuple[int, int]:
        """First and last row, exclusive, whose stamps stand in the window."""
        if window_ns is None:
            return 0, count
        first, last = (self._first_at(count, bound) for bound in window_ns)
        return first, max(first, last)

    def _first_at(self, count: int, bound_ns: int) -> int:
        """First row stamped at or after ``bound_ns``: the estimate, mended by the exact stamps around it."""
        estimate = int(min(max(bound_ns * self.rate_hz / SECOND, 0), count))
        around = np.arange(max(0, estimate - 2), min(count, estimate + 3), dtype=np.int64)
        return int(around[0]) + int((self._times(around) < bound_ns).sum()) if len(around) else 0

    def _times(self, rows: IntArray) -> IntArray:
        return np.rint(rows * SECOND / self.rate_hz).astype(np.int64)


def different_lengths(arrays: Mapping[str, ArrayStream], expected: int, says: str) -> tuple[Finding, ...]:
    """A finding for every stream that is longer or shorter than it should be."""
    return tuple(
        Finding(
            check="count_mismatch",
            stream=name,
            message=f"{array.info.count} rows, {expected} by {says}",
            value=float(array.info.count),
            limit=float(expected),
            unit="rows",
        )
        for name, array in arrays.items()
        if array.info.count != expected
    )


def plain_facts(attributes: Mapping[str, Any]) -> dict[str, str | float | bool]:
    """Attributes that are short text or one finite number."""
    out: dict[str, str | float | bool] = {}
    for key, item in attributes.items():
        value = item.item() if isinstance(item, np.generic) else item
        value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        text = isinstance(value, str) and len(value) <= _LONGEST_FACT
        if text or (isinstance(value, int | float) and math.isfinite(value) and abs(value) < 2**53):
            out[key] = value
    return out
