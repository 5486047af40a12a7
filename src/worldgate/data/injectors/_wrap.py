"""What injectors share: the log with the fault in it, the truth of what was done, and the places a fault can befall.

Nothing here knows a check. A camera's pictures are decoded, changed and, where a codec matters, encoded anew into a
file that lives as long as the injected log.

Shape legend: N messages, D channels, K frames, H x W pixels.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import BinaryIO, Final, Literal, TypeAlias, TypeVar

import av
import numpy as np
from av.video.stream import VideoStream

from worldgate.core.digest import digest_array
from worldgate.core.errors import NotFound
from worldgate.core.streams import (
    Array,
    BoolArray,
    ByteArray,
    Finding,
    Frames,
    IntArray,
    Kind,
    Log,
    Origin,
    Stream,
    StreamInfo,
)
from worldgate.core.times import SECOND
from worldgate.data.logs._video import VideoFrames

Spans: TypeAlias = tuple[tuple[int, int], ...]
_PREFIX: Final = "worldgate-injected-"
_LOCK: Final = "lock"
_YOUNG_S: Final = 60.0

Codec: TypeAlias = Literal["h264", "av1", "none"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of fault that an injector makes, as people who run robots know it."""

    name: str
    """The variant's name; ``<injector>.<name>`` is the kind's."""
    line: str
    """What happens, and how it comes about."""
    unit: str
    """Of the magnitude."""
    least: float
    """The magnitude from which on it hurts and must be found."""
    sweep: tuple[float, ...]
    """Magnitudes at which a table is made, ascending; ``least`` is among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What was done to one stream."""

    stream: str
    spans_ns: Spans = ()
    """Half-open, on the stream's own clock; empty: the whole log."""


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Injected:
    """A log with a fault in it; fulfils :class:`worldgate.core.streams.Log`."""

    log: Log
    replaced: Mapping[str, Stream] = field(default_factory=dict)
    stated: Mapping[str, str | float | bool] = field(default_factory=dict)
    """Facts that now read otherwise."""
    truth: tuple[Truth, ...]
    trace: bool = True
    """Whether the fault shows in this log at all, told from what was done to it and never from a check."""

    @property
    def name(self) -> str:
        return self.log.name

    @property
    def origin(self) -> Origin:
        return self.log.origin

    @property
    def facts(self) -> Mapping[str, str | float | bool]:
        return {**self.log.facts, **self.stated}

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.log.findings

    def streams(self) -> tuple[StreamInfo, ...]:
        return tuple(self.replaced[i.name].info if i.name in self.replaced else i for i in self.log.streams())

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        held = self.replaced.get(stream)
        if held is None:
            return self.log.read(stream, window_ns)
        if window_ns is None:
            return held
        return taken(held, np.flatnonzero((held.times_ns >= window_ns[0]) & (held.times_ns < window_ns[1])))


def injected(
    log: Log,
    streams: Iterable[Stream],
    *,
    spans: Spans = (),
    stated: Mapping[str, str | float | bool] | None = None,
    trace: bool = True,
) -> Injected:
    """The log with these streams in place of its own, each hurt within the same spans."""
    held = {stream.info.name: stream for stream in streams}
    truth = tuple(Truth(stream=name, spans_ns=spans) for name in held) or (Truth(stream="", spans_ns=spans),)
    out = Injected(log=log, replaced=held, stated=stated or {}, truth=truth, trace=trace)
    for stream in held.values():
        path = getattr(stream.values, "path", None)
        if isinstance(path, Path) and path.parent == _scratch():
            weakref.finalize(out, path.unlink, missing_ok=True)
    return out


def variant(faults: Sequence[Fault], name: str) -> Fault:
    """The fault of a name.

    Raises:
        NotFound: no such variant; the hint lists them.
    """
    for fault in faults:
        if fault.name == name:
            return fault
    raise NotFound("no such variant of this fault", got=name, hint=", ".join(fault.name for fault in faults))


def choose(found: Sequence[T], what: str) -> Sequence[T]:
    """What a fault can befall.

    Raises:
        NotFound: there is nothing.
    """
    if not found:
        raise NotFound("a fault that cannot befall this log", got=f"no {what}", hint="another log or another fault")
    return found


def pick(log: Log, kinds: Iterable[Kind], stream: str, seed: int, *, least: int = 8) -> Stream:
    """The stream to hurt: the named one, or the first of the first kind that the log holds; of cameras one by seed.

    Raises:
        NotFound: none of these kinds with so many messages.
    """
    for kind in kinds:
        names = [i.name for i in log.streams() if i.kind is kind and (i.name == stream or not stream)]
        if kind is Kind.VECTOR and not stream:
            # Joints and tool before what else is measured: these are in every log of a robot.
            names.sort(key=lambda name: (name != "observation.state", not name.startswith("observation.state")))
        if kind is Kind.IMAGE and names:
            names = names[seed % len(names) :] + names[: seed % len(names)]
        for name in names:
            held = log.read(name)
            if len(held) >= least:
                return held
    raise NotFound("a fault that cannot befall this log", got=f"no {'/'.join(kinds)} {stream}", where=log.name)


def numbers(log: Log, stream: str, seed: int) -> Stream:
    """The joint states, or what else is measured in numbers."""
    return pick(log, (Kind.VECTOR, Kind.POSE, Kind.ACTION), stream, seed)


def camera(log: Log, stream: str, seed: int) -> Stream:
    """A colour camera, by seed."""
    return pick(log, (Kind.IMAGE,), stream, seed)


def taken(stream: Stream, rows: IntArray) -> Stream:
    """Only these messages, in this order; what the stream declares of itself stays as it was."""
    values = stream.values[rows] if isinstance(stream.values, np.ndarray) else _rows(stream.values, rows)
    logged = None if stream.log_times_ns is None else stream.log_times_ns[rows]
    return replace(stream, times_ns=stream.times_ns[rows], values=values, log_times_ns=logged)


def counted(stream: Stream) -> Stream:
    """The stream with its true count declared: the recorder itself never knew of more."""
    return replace(stream, info=replace(stream.info, count=len(stream)))


def _rows(frames: Frames, rows: IntArray) -> Frames:
    part = getattr(frames, "slice", None)
    ascending = len(rows) < 2 or bool((np.diff(rows) > 0).all())
    return part(rows) if part is not None and ascending else Picked(frames=frames, rows=rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """Frames of another stream in another order, each as often as asked."""

    frames: Frames
    rows: IntArray

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: IntArray) -> Array:
        return self.frames.read(self.rows[indices])

    def content_digest(self) -> str:
        return f"{self.frames.content_digest()}:{digest_array(self.rows)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Pictures in memory, (N, H, W, 3) uint8 RGB: a camera without a codec."""

    pixels: ByteArray

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, indices: IntArray) -> Array:
        return self.pixels[np.asarray(indices, dtype=np.int64)]

    def slice(self, keep: IntArray) -> Pictures:
        """Only these."""
        return Pictures(pixels=self.pixels[keep])

    def content_digest(self) -> str:
        return digest_array(self.pixels)


def pictures(stream: Stream) -> ByteArray:
    """(N, H, W, 3) every picture of a camera, a copy that may be changed."""
    decoded: ByteArray = np.array(stream.frames.read(np.arange(len(stream), dtype=np.int64)), dtype=np.uint8)
    return decoded


def with_pictures(stream: Stream, pixels: ByteArray, codec: Codec, *, gop: int = 16) -> Stream:
    """The camera with other pictures, as its recorder would have written them.

    Args:
        stream: its times and what it declares are kept.
        pixels: (N, H, W, 3).
        codec: ``h264`` (x264, CRF 20), ``av1`` (SVT-AV1, CRF 30, LeRobot's), or none.
        gop: frames from one keyframe to the next.
    """
    if codec == "none":
        return replace(stream, values=Pictures(pixels=np.ascontiguousarray(pixels)))
    path = encode(pixels, codec, gop=gop, rate_hz=rate_of(stream))
    rows = np.arange(len(pixels), dtype=np.int64)
    return replace(stream, values=VideoFrames(path=path, rows=rows))


def encode(pixels: ByteArray, codec: Codec, *, gop: int, rate_hz: float) -> Path:
    """A video file of these pictures in the scratch folder."""
    with tempfile.NamedTemporaryFile(suffix=".mp4", dir=_scratch(), delete=False) as file:
        path = Path(file.name)
    os.environ.setdefault("SVT_LOG", "1")  # errors alone: else its banner is in the way of every answer
    name, options = {
        # x264's rate control by macroblock tree gives other bytes about once in a hundred times, on one thread too.
        "h264": ("libx264", {"crf": "20", "preset": "veryfast", "bf": "0", "x264-params": "mbtree=0:rc-lookahead=0"}),
        "av1": ("libsvtav1", {"crf": "30", "preset": "10", "svtav1-params": "lp=1"}),
    }[codec]
    with av.open(str(path), "w") as container:
        rate = Fraction(rate_hz).limit_denominator(1000)
        video = container.add_stream(name, rate=rate, options=options)
        assert isinstance(video, VideoStream)
        video.height, video.width, video.pix_fmt = pixels.shape[1], pixels.shape[2], "yuv420p"
        video.codec_context.gop_size = gop
        video.codec_context.thread_count = 1
        for number, pixel in enumerate(pixels):
            colours = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixel), format="rgb24")
            frame = colours.reformat(format="yuv420p", threads=1)
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(video.encode(frame))
        container.mux(video.encode())
    return path


@cache
def _scratch() -> Path:
    """This process's folder for videos; what killed ones left behind goes first."""
    root = Path(tempfile.gettempdir())
    _sweep(root)
    folder = tempfile.TemporaryDirectory(prefix=_PREFIX, dir=root)
    lock = (Path(folder.name) / _LOCK).open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    weakref.finalize(_scratch, _remove, folder, lock)
    return Path(folder.name)


def _remove(folder: tempfile.TemporaryDirectory[str], lock: BinaryIO) -> None:
    folder.cleanup()
    lock.close()


def _sweep(root: Path) -> None:
    """Remove the folders of processes that are gone: nobody holds their lock."""
    for folder in root.glob(f"{_PREFIX}*"):
        try:
            if time.time() - folder.stat().st_mtime < _YOUNG_S:
                continue  # its process may not have come to the lock yet
            with (folder / _LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # it is held, it is another user's, it has no lock, or another process was faster


def film(
    log: Log,
    stream: str,
    seed: int,
    codec: Codec,
    change: Callable[[ByteArray, Stream], tuple[ByteArray, Spans]],
    shows: Callable[[ByteArray, ByteArray], bool] | None = None,
) -> Injected:
    """A camera whose pictures were changed before they were encoded; ``shows`` tells by both if anybody can see it."""
    held = camera(log, stream, seed)
    before = pictures(held)
    changed, spans = change(before.copy() if shows is not None else before, held)
    trace = shows is None or shows(before, changed)
    return injected(log, [with_pictures(held, changed, codec)], spans=spans, trace=trace)


def rate_of(stream: Stream) -> float:
    """Messages a second, by the median step; the declared rate where there is none."""
    steps = np.diff(stream.times_ns)
    median = float(np.median(steps)) if len(steps) else 0.0
    return SECOND / median if median > 0 else stream.info.rate_hz or 10.0


def period_ns(stream: Stream) -> int:
    """Median step between messages."""
    return round(SECOND / rate_of(stream))


def span_of(stream: Stream, rows: BoolArray | IntArray) -> Spans:
    """Spans of runs of neighbouring rows, each until one period after its last."""
    index = np.flatnonzero(rows) if rows.dtype == np.bool_ else np.asarray(rows, dtype=np.int64)
    if not len(index):
        return ()
    runs = np.split(index, np.flatnonzero(np.diff(index) > 1) + 1)
    period = period_ns(stream)
    return tuple((int(stream.times_ns[run[0]]), int(stream.times_ns[run[-1]]) + period) for run in runs)


def stretch(stream: Stream, seconds: float, seed: int, *, where: tuple[float, float] = (0.2, 0.8)) -> BoolArray:
    """(N,) the messages of a span of so many seconds, at most what lies between these shares of the log, by seed."""
    start, end = (int(np.quantile(stream.times_ns, share)) for share in where)
    length = min(round(seconds * SECOND), end - start)
    free = max(end - start - length, 0)
    begin = start + round(free * float(np.random.default_rng(seed).random()))
    return _between(stream, begin, begin + length)


def motion(log: Log) -> tuple[IntArray, Array]:
    """Times and speed of the robot (N - 1,): channels' steps over their own spread, the largest.

    Raises:
        NotFound: no numbers.
    """
    state = numbers(log, "", 0)
    values = np.asarray(state.array, dtype=np.float64).reshape(len(state), -1)
    values = values[:, positions(state)]
    spread = np.ptp(values, axis=0)
    kept = spread > 0.02 * max(float(spread.max()), 1e-9)
    width = max(1, round(0.2 * rate_of(state)))
    smooth = np.abs(values[width:] - values[:-width]) / np.where(spread > 0, spread, 1.0)
    return state.times_ns[width // 2 : width // 2 + len(smooth)], smooth[:, kept].max(axis=1)


def moving_stretch(log: Log, stream: Stream, seconds: float) -> BoolArray:
    """(N,) the span of so many seconds in which the robot moves most evenly: its least motion is greatest.

    Raises:
        NotFound: the log is shorter than that.
    """
    times, speed = motion(log)
    length = round(seconds * SECOND)
    starts = stream.times_ns[(stream.times_ns > times[0]) & (stream.times_ns + length < times[-1])]
    choose(starts[:1], f"{seconds:g} s of motion")
    best = max(starts.tolist(), key=lambda at: float(np.quantile(_within(times, speed, at, at + length), 0.25)))
    return _between(stream, best, best + length)


def _between(stream: Stream, start: int, end: int) -> BoolArray:
    inside: BoolArray = (stream.times_ns >= start) & (stream.times_ns < end)
    return inside


def _within(times: IntArray, values: Array, start: int, end: int) -> Array:
    a, b = np.searchsorted(times, [start, end])
    return values[a : max(b, a + 1)]


def units(stream: Stream) -> list[str]:
    """Unit of each of the D channels."""
    width = int(np.prod(stream.info.shape)) if stream.info.shape else 1
    given = [u.strip() for u in stream.info.unit.split(",")]
    return given if len(given) == width else given[:1] * width


def positions(stream: Stream) -> IntArray:
    """Channels that are places or angles, not speeds; all where no unit is known."""
    found = [at for at, unit in enumerate(units(stream)) if "/" not in unit]
    return np.array(found or range(len(units(stream))), dtype=np.int64)


def liveliest(stream: Stream, unit: str = "") -> int:
    """The channel, of places and angles or of this unit, that takes the most different values.

    Raises:
        NotFound: no channel moves.
    """
    values = np.asarray(stream.array, dtype=np.float64).reshape(len(stream), -1)
    channels = [int(c) for c in positions(stream) if not unit or units(stream)[c] == unit]
    channels = [c for c in channels if np.ptp(values[:, c]) > 0]
    choose(channels, f"channel in {unit}" if unit else "channel that moves")
    return max(channels, key=lambda c: (len(np.unique(values[:, c])), float(np.ptp(values[:, c]))))


def with_values(stream: Stream, values: Array) -> Stream:
    """The stream with other numbers, in the type it had."""
    return replace(stream, values=values.astype(stream.array.dtype, copy=False))
