"""One LeRobot episode as a :class:`~worldgate.core.streams.Log`, whatever layout its rows and videos lie in.

Times: LeRobot holds none but ``timestamp``, a single-precision ``frame_index / fps``; where it is that quotient, times
are the exact quotient in ns, else the column's value. Videos keep the presentation times of their own frames. So every
clock is ``frame``: when anything was captured is not known. Where our writer left the native times beside the dataset,
a stream has those and the clock they are on, and a message that several rows hold is one message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import Array, Finding, IntArray, Kind, Origin, Stream, StreamInfo
from worldgate.core.times import SECOND
from worldgate.data.logs._images import Encoded, EncodedFrames
from worldgate.data.logs._lerobot_meta import Feature, Meta, read_table
from worldgate.data.logs._lerobot_times import Native, messages, native
from worldgate.data.logs._video import VideoFrames, video_index


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSpan:
    """Where an episode's frames lie in a video file."""

    path: Path
    from_s: float = 0.0
    to_s: float | None = None
    """End, exclusive; None: to the end of the file."""

    def rows(self) -> IntArray:
        """Frame numbers within the file: half a frame of slack, because bounds are rounded seconds."""
        index = video_index(self.path)
        if self.to_s is None and self.from_s == 0.0:
            return np.arange(len(index.pts), dtype=np.int64)
        seconds = index.times_ns() / SECOND
        half = float(np.median(np.diff(seconds))) / 2 if len(seconds) > 1 else 0.0
        stop = np.inf if self.to_s is None else self.to_s - half
        return np.flatnonzero((seconds >= self.from_s - half) & (seconds < stop)).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class LeRobotLog:
    """One episode; nothing is read before :meth:`streams`, :meth:`read` or ``findings``."""

    meta: Meta
    name: str
    episode_index: int
    data: Path
    videos: Mapping[str, VideoSpan]
    length: int
    """Rows that the metadata states; -1 where it does not."""
    facts: Mapping[str, str | float | bool] = field(default_factory=dict)
    times: Path | None = None
    """Native times of the rows, beside the data file; may be absent."""
    messages: Path | None = None
    """Events and text, beside the data file; may be absent."""

    @property
    def origin(self) -> Origin:
        """As our writer marked it; other datasets are real."""
        return self.meta.origin

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Counts of rows, frames and metadata that disagree."""
        rows = len(self._times_ns)
        out = []
        if self.length not in (-1, rows):
            out.append(self._mismatch("", f"{rows} rows, the metadata says {self.length}", rows, self.length))
        for key in self.videos:
            frames = len(self._video(key))
            if frames != rows:
                out.append(self._mismatch(key, f"{frames} frames for {rows} rows", frames, rows))
        return tuple(out)

    def _mismatch(self, stream: str, message: str, value: int, limit: int) -> Finding:
        return Finding(
            check="count_mismatch",
            stream=stream,
            message=f"{self.name}: {message}",
            value=float(value),
            limit=float(limit),
            unit="frames",
        )

    def streams(self) -> tuple[StreamInfo, ...]:
        """One stream a feature, and those that stand beside the rows; bookkeeping columns are none."""
        return tuple(self._info(feature) for feature in self.meta.features) + tuple(
            self._beside(name) for name in self._beside_names()
        )

    def _info(self, feature: Feature) -> StreamInfo:
        native = self._native(feature)
        count = self._count(feature) if native is None else len(native.rows)
        info = feature.info(count, self.meta.fps, self.meta.stream_extra(feature.key))
        if feature.dtype == "video":
            index = video_index(self.videos[feature.key].path)
            info = replace(info, shape=(index.height, index.width, 3), unit="")
        info = replace(info, **_shaped(self.meta.stream_extra(feature.key), info.shape))
        return info if native is None else replace(info, **_said(self.meta.stream_extra(feature.key)))

    def _count(self, feature: Feature) -> int:
        return len(self._video(feature.key)) if feature.dtype == "video" else len(self._times_ns)

    def _native(self, feature: Feature) -> Native | None:
        if self.times is None:
            return None
        return native(self.times, self.episode_index, feature.key, self._count(feature))

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        """Read one stream, whole or within the half-open window.

        Raises:
            NotFound: no such stream.
            LogUnreadable: a column or video that cannot be read.
        """
        known = {feature.key: feature for feature in self.meta.features}
        if stream in self._beside_names():
            return self._messages(stream, window_ns)
        if stream not in known:
            names = [*known, *self._beside_names()]
            raise NotFound("no such stream", got=stream, where=self.name, hint=f"one of {', '.join(names)}")
        feature = known[stream]
        held = self._native(feature)
        if held is not None:
            times_ns, log_ns, rows = held.times_ns, held.log_ns, held.rows
        else:
            times_ns, log_ns = self._frame_times(stream) if feature.dtype == "video" else self._times_ns, None
            rows = np.arange(len(times_ns), dtype=np.int64)
        keep = _within(times_ns, window_ns)
        return Stream(
            info=self._info(feature),
            times_ns=times_ns[keep],
            log_times_ns=None if log_ns is None else log_ns[keep],
            values=self._values(feature, rows[keep]),
        )

    # ---------------------------------------------------------------- beside the rows

    def _beside_names(self) -> tuple[str, ...]:
        if self.messages is None:
            return ()
        features = {feature.key for feature in self.meta.features}
        said = self.meta.extra.get("streams", {})
        said = said if isinstance(said, dict) else {}
        return tuple(n for n in said if n not in features and self.meta.stream_extra(n).get("kind") in _TEXTUAL)

    def _beside(self, name: str) -> StreamInfo:
        assert self.messages is not None
        extra = self.meta.stream_extra(name)
        count = len(messages(self.messages, self.episode_index, name)[2])
        made = StreamInfo(name=name, kind=Kind(extra["kind"]), count=count, frame=str(extra.get("frame", "")))
        return replace(made, unit=str(extra.get("unit", "")), **_said(extra))

    def _messages(self, name: str, window_ns: tuple[int, int] | None) -> Stream:
        assert self.messages is not None
        times_ns, log_ns, texts = messages(self.messages, self.episode_index, name)
        values = np.empty(len(texts), dtype=object)
        values[:] = texts
        keep = _within(times_ns, window_ns)
        log_ns = None if log_ns is None else log_ns[keep]
        return Stream(info=self._beside(name), times_ns=times_ns[keep], values=values[keep], log_times_ns=log_ns)

    # ---------------------------------------------------------------- video

    def _video(self, key: str) -> VideoFrames:
        if key not in self.videos:
            raise LogUnreadable("an episode without its video", got=key, where=self.name)
        span = self.videos[key]
        declared = next((feature.declared for feature in self.meta.features if feature.key == key), {})
        return VideoFrames(path=span.path, rows=span.rows(), declared=declared)

    def _frame_times(self, key: str) -> IntArray:
        video = self._video(key)
        return video.index.times_ns(video.rows)

    # ---------------------------------------------------------------- table

    @cached_property
    def _rows(self) -> pa.Array | None:
        """Which rows of the data file are this episode's; None: all."""
        table = read_table(self.data, ("episode_index",)) if self._many else None
        return None if table is None else pc.equal(table.column("episode_index"), self.episode_index)

    @property
    def _many(self) -> bool:
        """Whether a data file holds several episodes."""
        return self.meta.version.startswith("v3")

    def _column(self, name: str) -> pa.ChunkedArray:
        try:
            table = read_table(self.data, (name,))
            return table.column(name) if self._rows is None else table.filter(self._rows).column(name)
        except (KeyError, pa.ArrowException) as error:
            raise LogUnreadable("a parquet file without an expected column", got=name, where=self.data) from error

    @cached_property
    def _times_ns(self) -> IntArray:
        seconds = self._column("timestamp").to_numpy()
        number = self._column("frame_index").to_numpy().astype(np.int64)
        if not np.isfinite(seconds).all():
            raise LogUnreadable("a timestamp that is not a number", where=self.data)
        quotient = (number / self.meta.fps).astype(np.float32)
        exact = np.rint(number * SECOND / self.meta.fps).astype(np.int64)
        stated = np.rint(seconds.astype(np.float64) * SECOND).astype(np.int64)
        times: IntArray = np.where(quotient == seconds.astype(np.float32), exact, stated)
        return times

    def _values(self, feature: Feature, keep: IntArray) -> Array | VideoFrames | EncodedFrames:
        if feature.dtype == "video":
            return self._video(feature.key).slice(keep)
        values = self._column(feature.key)
        if feature.dtype == "image":
            return _images(values, keep, f"{self.name}:{feature.key}")
        if feature.dtype == "string":
            out = np.empty(len(keep), dtype=object)
            out[:] = [str(values[int(i)].as_py()) for i in keep]
            return out
        return _numbers(values, feature, self.data)[keep].reshape(len(keep), *self._info(feature).shape)


_TEXTUAL: Final = frozenset({str(Kind.EVENT), str(Kind.TEXT)})
_CLOCKS: Final = frozenset({"log", "publish", "header", "frame"})


def _said(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Clock and declared rate of a stream whose native times are known."""
    clock, rate = str(extra.get("clock", "")), extra.get("rate_hz", 0.0)
    return {
        "clock": clock if clock in _CLOCKS else "log",
        "rate_hz": float(rate) if isinstance(rate, int | float) else 0.0,
    }


def _shaped(extra: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """Shape and names of a message whose numbers lie flat in the table, where they stand beside it."""
    said, names = extra.get("shape"), extra.get("names", [])
    if not isinstance(said, list) or not all(isinstance(n, int) and n > 0 for n in said):
        return {}
    named = isinstance(names, list) and len(names) == said[0]
    return (
        {"shape": tuple(said), "names": tuple(map(str, names)) if named else ()} if _size(said) == _size(shape) else {}
    )


def _size(shape: Sequence[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _within(times_ns: IntArray, window_ns: tuple[int, int] | None) -> IntArray:
    """Places within a half-open window."""
    if window_ns is None:
        return np.arange(len(times_ns), dtype=np.int64)
    return np.flatnonzero((times_ns >= window_ns[0]) & (times_ns < window_ns[1])).astype(np.int64)


def _numbers(values: pa.ChunkedArray, feature: Feature, where: Path) -> Array:
    """(N, *shape) numbers of a column, whatever list type holds them."""
    flat = values.combine_chunks()
    count = len(flat)
    while pa.types.is_list(flat.type) or pa.types.is_large_list(flat.type) or pa.types.is_fixed_size_list(flat.type):
        flat = flat.flatten()
    shape = feature.shape or (1,)
    if len(flat) != count * int(np.prod(shape)):
        got = f"{len(flat)} values in {count} rows, not {shape} each"
        raise LogUnreadable("rows whose length differs from the metadata", got=got, where=f"{where}:{feature.key}")
    try:
        array: Array = flat.to_numpy(zero_copy_only=False)
        return array.astype(feature.dtype, copy=False).reshape(count, *shape)
    except (ValueError, TypeError, pa.ArrowException) as error:
        raise LogUnreadable("a column that is not numbers", got=feature.key, where=where) from error


def _images(values: pa.ChunkedArray, keep: IntArray, where: str) -> EncodedFrames:
    """Images that lie in the table as ``{bytes, path}``."""

    def fetch(indices: IntArray) -> Any:
        for i in keep[indices]:
            item = values[int(i)].as_py()
            data = item.get("bytes") if isinstance(item, dict) else item
            if not isinstance(data, bytes):
                raise LogUnreadable("an image that is not in the table", where=where)
            yield Encoded(data=data, format="png" if data.startswith(b"\x89PNG") else "jpeg")

    return EncodedFrames(fetch=fetch, count=len(keep), kind=Kind.IMAGE, where=where)
