"""Logs that are arrays with one row a step and no times: robomimic, ACT and zarr replay buffers share this.

Rows are stamped ``index / rate`` on the clock ``frame``. The rate is the mapping file's, else the container's, else the
format's assumption, which a finding says. An array stays in its file until :meth:`ArrayLog.read`, which reads the
window's rows alone; pictures are read when their frames are. The content digest covers values (or, of compressed
pictures, their encoded bytes), so chunks and compression of the container do not change a log's identity.

Shape legend: N rows, K rows asked for, H x W pixels, D channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import numpy as np

from worldgate.core.errors import ConfigError, LogUnreadable, NotFound
from worldgate.core.streams import IMAGE_LIKE, NUMERIC, Array, Finding, IntArray, Kind, Origin, Stream, StreamInfo
from worldgate.core.times import SECOND
from worldgate.core.units import check_unit
from worldgate.data.logs import _images as images
from worldgate.data.logs._image_size import stated_shape
from worldgate.data.logs._images import Encoded, EncodedFrames
from worldgate.data.logs._mapping import FILE, ArrayMapping, ArrayStreamMapping, Facts
from worldgate.data.logs._video import MAX_PIXELS

MAX_READ: Final = 1 << 32
"""Most bytes that one read of numbers may give: four GiB of telemetry is a mistake or an attack."""
_BLOCK: Final = 1 << 26
_LONGEST_FACT: Final = 400
"""Characters; a simulator's XML is no fact."""


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


def rate(mapping: ArrayMapping, stated: float, stated_by: str, assumed: float, because: str) -> Rate:
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


# ------------------------------------------------------------------ pictures


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
            values = values.transpose(0, 2, 3, 1) if _planar(self.source.shape) else values
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
class _Compressed:
    """Fetches pictures that lie compressed in the rows of an array."""

    source: Source
    rows: IntArray

    def __call__(self, indices: IntArray) -> Iterator[Encoded]:
        for index in indices:
            # One by one: a row is padded to the longest, so many would be much more than the pictures.
            (row,) = self.source.read(self.rows[index : index + 1])
            yield encoded(row)


def encoded(row: Any) -> Encoded:
    """A compressed picture without the zeros that pad it: a JPEG and a PNG end in a byte that is not zero."""
    data = row if isinstance(row, bytes) else np.asarray(row, dtype=np.uint8).tobytes()
    data = data.rstrip(b"\0")
    return Encoded(data=data, format="png" if data.startswith(b"\x89PNG") else "jpeg")


def _planar(shape: Sequence[int]) -> bool:
    """(N, 3, H, W) rather than (N, H, W, 3)."""
    return len(shape) == 4 and shape[1] == 3 and shape[3] != 3


def _looks_like_pictures(source: Source) -> bool:
    shape = source.shape
    return len(shape) == 4 and source.dtype.kind in "uf" and (_planar(shape) or shape[3] == 3) and min(shape[1:]) > 0


# ------------------------------------------------------------------ streams


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayStream:
    """A stream and the arrays that it is made of, side by side."""

    info: StreamInfo
    sources: tuple[Source, ...]
    encoded: bool = False

    def refuse(self, count: int) -> None:
        """Before anything of the declared size is made.

        Raises:
            LogUnreadable: declared rows that are not stored, or more numbers than a read may give.
        """
        for source in self.sources:
            source.refuse_absent()
        size = count * sum(s.dtype.itemsize * math.prod(s.shape[1:]) for s in self.sources)
        if self.info.kind not in IMAGE_LIKE and size > MAX_READ:
            raise LogUnreadable(
                "more numbers than one read may give",
                got=f"{size / 2**30:.1f} GiB declared",
                where=self.sources[0].name,
                hint="read a window",
            )

    def values(self, rows: IntArray) -> Array | ArrayFrames | EncodedFrames:
        """The values of these rows."""
        first = self.sources[0]
        if self.encoded:
            return EncodedFrames(fetch=_Compressed(first, rows), count=len(rows), where=first.name)
        if self.info.kind in IMAGE_LIKE:
            return ArrayFrames(source=first, rows=rows, kind=self.info.kind)
        if self.info.kind is Kind.TEXT:
            return _texts(first.read(rows))
        columns = [source.read(rows) for source in self.sources]
        columns = [c[:, None] if c.ndim == 1 else c for c in columns]
        joined: Array = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)
        return joined.astype(np.uint8) if joined.dtype == np.bool_ else joined


def _texts(values: Array) -> Array:
    out = np.empty(len(values), dtype=object)
    out[:] = [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values]
    return out


def arrange(
    candidates: Sequence[Candidate], mapping: ArrayMapping, rate_hz: float, *, where: str
) -> dict[str, ArrayStream]:
    """The streams of a log: those that the mapping names, then every array that it does not use.

    Raises:
        ConfigError: a mapping of arrays that are not there, or that do not fit side by side.
        LogUnreadable: arrays that cannot be streams.
    """
    by_source = {candidate.source.name: candidate for candidate in candidates}
    by_name = {candidate.name: candidate for candidate in candidates}
    used: set[str] = set()
    out: dict[str, ArrayStream] = {}
    for name, entry in mapping.streams.items():
        if not entry.sources and name not in by_name:
            raise ConfigError(f"no array becomes {name}", where=where, hint=f'source = "one of {", ".join(by_source)}"')
        keys = entry.sources or (by_name[name].source.name,)
        absent = [key for key in keys if key not in by_source]
        if absent:
            hint = f"one of {', '.join(by_source)}"
            raise ConfigError("no such array", got=", ".join(absent), where=f"{where}: streams.{name}", hint=hint)
        out[name] = _stream(name, [by_source[key] for key in keys], entry, rate_hz, where=where)
        used |= set(keys)
    for candidate in candidates:
        if candidate.source.name not in used and candidate.name not in out:
            out[candidate.name] = _stream(candidate.name, [candidate], ArrayStreamMapping(), rate_hz, where=where)
    return out


def _stream(
    name: str, parts: Sequence[Candidate], entry: ArrayStreamMapping, rate_hz: float, *, where: str
) -> ArrayStream:
    sources = tuple(part.source for part in parts)
    kind = entry.kind or parts[0].kind or _kind(name, parts[0])
    lengths = {len_of(source) for source in sources}
    odd = kind not in NUMERIC or any(len(part.source.shape) > 2 or part.encoded for part in parts)
    if len(lengths) != 1 or (len(sources) > 1 and odd):
        got = ", ".join(f"{s.name} {'x'.join(map(str, s.shape))}" for s in sources)
        raise ConfigError("arrays that do not fit side by side", got=got, where=f"{where}: streams.{name}")
    compressed = parts[0].encoded
    shape = _shape_of(sources, kind, compressed, where=f"{where}:{name}")
    width = shape[0] if len(shape) == 1 else None
    if kind not in IMAGE_LIKE:
        check_unit(entry.unit, channels=width)
    if entry.names and len(entry.names) != width:
        got = f"{len(entry.names)} names for {width} channels"
        raise ConfigError("as many names as channels", got=got, where=f"{where}: streams.{name}.names")
    info = StreamInfo(
        name=name,
        kind=kind,
        count=lengths.pop(),
        shape=shape,
        names=entry.names,
        unit=entry.unit,
        frame=entry.frame,
        clock="frame",
        rate_hz=rate_hz,
        topic=" ".join(source.name for source in sources),
    )
    return ArrayStream(info=info, sources=sources, encoded=compressed)


def len_of(source: Source) -> int:
    """N, of an array that has rows."""
    return source.shape[0] if source.shape else 0


def _kind(name: str, candidate: Candidate) -> Kind:
    if candidate.encoded or _looks_like_pictures(candidate.source):
        return Kind.IMAGE
    if candidate.source.dtype.kind in "OSUT":
        return Kind.TEXT
    return Kind.ACTION if name.split(".")[0] == "action" else Kind.VECTOR


def _shape_of(sources: Sequence[Source], kind: Kind, compressed: bool, *, where: str) -> tuple[int, ...]:
    """Shape of one message, refusing what its kind cannot be."""
    first = sources[0]
    each = first.shape[1:]
    if compressed:
        if not len_of(first):
            return (0, 0, 3)
        (row,) = first.read(np.zeros(1, dtype=np.int64))
        picture = encoded(row)
        return stated_shape(picture) or tuple(images.decode(picture, Kind.IMAGE).shape)
    if kind in {Kind.IMAGE, Kind.NORMALS}:
        if not _looks_like_pictures(first):
            raise LogUnreadable("an array that holds no colour pictures", got=f"{first.dtype} {each}", where=where)
        each = (each[1], each[2], 3) if _planar(first.shape) else each
    elif kind in IMAGE_LIKE:
        each = each[:2] if len(each) == 3 and each[2] == 1 else each
        if len(each) != 2:
            raise LogUnreadable(f"an array that is no {kind}", got=f"{first.dtype} {each}", where=where)
    elif kind in NUMERIC and all(s.dtype.kind in "biuf" for s in sources):
        return (sum(s.shape[1] if len(s.shape) > 1 else 1 for s in sources),) if len(each) < 2 else each
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


def with_mapping(log: ArrayLog, mapping: ArrayMapping) -> ArrayLog:
    """The log with the facts and origin of the mapping; a marked log never becomes more real.

    Raises:
        ConfigError: an origin that would.
    """
    order = (Origin.REAL, Origin.SIMULATED, Origin.IMAGINED)
    if mapping.origin is not None and order.index(mapping.origin) < order.index(log.origin):
        raise ConfigError(f"a log marked {log.origin} cannot become {mapping.origin}", where=f"{FILE}: origin")
    return replace(log, origin=mapping.origin or log.origin, facts={**log.facts, **mapping.facts})
