"""One pass over a camera's frames: each is decoded once, and leaves the few numbers that every frame check judges from.

Videos give their luma plane as the codec holds it, with no conversion to colour; compressed images are decoded to grey.
A frame is reduced to a working picture of at most 320 pixels across, and from it to 48 x 64 averages, in which codec
and sensor noise fade while motion stays. What a check needs of the pictures themselves (registration, detail) it takes
from working pictures kept a few times a second.

The features of the last cameras are kept by content, so that all checks of a log share one pass.

Shape legend: N frames, R x C tiles (12 x 16), K kept working pictures of h x w pixels.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Protocol, runtime_checkable

import cv2
import numpy as np
from av.video.frame import PictureType, VideoFrame

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Array, BoolArray, ByteArray, FloatArray, Frames, IntArray, Kind, Log, Stream
from worldgate.core.times import SECOND
from worldgate.data.logs._images import Encoded, EncodedFrames, decode
from worldgate.data.logs._packets import PacketFrames
from worldgate.data.logs._video import VideoFrames

ROWS, COLS = 12, 16
_SMALL: Final = (COLS * 4, ROWS * 4)
_ACROSS: Final = 320
"""Greatest width of a working picture."""
_KEPT_HZ: Final = 4.0
_KEPT: Final = 512
"""Most working pictures kept of a camera."""
_HELD: Final = 16
"""Features that are remembered, by log and by content."""
_BATCH: Final = 64
_LIMITED: Final = 1
"""FFmpeg's AVCOL_RANGE_MPEG: luma from 16 to 235."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What one pass tells of a camera."""

    stream: Stream
    ok: BoolArray
    """(N,) whether a frame came out of the decoder; the rows of all others are 0."""
    damaged: BoolArray
    """(N,) frames that the decoder had to conceal, or that are cut off."""
    size: IntArray
    """(N, 2) height and width, pixels."""
    key: BoolArray
    """(N,) whether a frame is coded on its own."""
    group: IntArray
    """(N,) 0 intra-coded or not known, 1 predicted, 2 predicted both ways."""
    packet: IntArray
    """(N,) bytes of a frame's packet; 0: unknown."""
    exact: bool
    """Equal pictures decode to equal pixels: true of stored images, false of video, whose key frames code them anew."""
    same: BoolArray
    """(N,) pixel for pixel equal to the frame before."""
    change: FloatArray
    """(N, R, C) mean change of the averaged picture since the frame before, grey levels."""
    skip: FloatArray
    """(N, R, C) the same since the frame before that."""
    tiles: FloatArray
    """(N, R, C) mean brightness, grey levels from 0 to 255."""
    mean: FloatArray
    """(N,) grey levels."""
    contrast: FloatArray
    """(N,) standard deviation of the tiles' brightness, grey levels: sensor noise is no contrast."""
    spread: FloatArray
    """(N,) standard deviation over all pixels, grey levels."""
    dark: FloatArray
    """(N,) share of pixels within 4 levels of black."""
    bright: FloatArray
    """(N,) share of pixels within 4 levels of white."""
    low: FloatArray
    """(N,) level that 5 % of the pixels lie below, grey levels."""
    high: FloatArray
    """(N,) level that 95 % of the pixels lie below, grey levels."""
    sharp: FloatArray
    """(N,) energy of the second differences of the working picture, as the variance of its Laplacian."""
    coarse: FloatArray
    """(N,) the same of the working picture at a quarter of its size: what there is to be sharp about."""
    green: FloatArray
    """(N,) share of pixels of the green that decoders give where data is missing."""
    kept: IntArray
    """(K,) frames whose working picture is kept."""
    pictures: Sequence[ByteArray]
    """K working pictures of (h, w) uint8."""
    codec: str = ""
    pix_fmt: str = ""
    """Pixel format as decoded, of videos."""

    def __len__(self) -> int:
        return len(self.ok)

    @property
    def name(self) -> str:
        """The camera."""
        return self.stream.info.name

    @property
    def times_ns(self) -> IntArray:
        """(N,) the frames' times."""
        return self.stream.times_ns

    @property
    def period_ns(self) -> int:
        """Usual time between two frames by their stamps; the declared one, or 1, where there is none."""
        steps = np.diff(np.sort(self.times_ns))
        steps = steps[steps > 0]
        if len(steps):
            return int(np.median(steps))
        rate = self.stream.info.rate_hz
        return round(SECOND / rate) if rate > 0 else 1


@runtime_checkable
class Coded(Protocol):
    """Frames of a video, that know how each is coded."""

    def keyframes(self) -> BoolArray:
        """(N,) whether each frame is coded on its own."""
        ...

    def packet_sizes(self) -> IntArray:
        """(N,) bytes of each frame."""
        ...


@dataclass(slots=True, kw_only=True)
class _Decoded:
    """One frame on its way through the pass."""

    at: int
    luma: ByteArray | None
    """(H, W); None: nothing came out."""
    limited: bool = False
    group: int = 0
    damaged: bool = False
    green: float = 0.0
    pix_fmt: str = ""


def cameras(log: Log, wanted: Sequence[str] = ()) -> Iterator[Features]:
    """Features of the colour cameras of a log that hold frames; all of them or those wanted."""
    for info in log.streams():
        if info.kind is Kind.IMAGE and (not wanted or info.name in wanted):
            features = _of(log, info.name)
            if len(features):
                yield features


_CACHE: OrderedDict[tuple[int, str] | str, tuple[Log | None, Features]] = OrderedDict()
_LOCK = threading.Lock()


def _of(log: Log, name: str) -> Features:
    """Features of a camera, remembered by its content, so that a log that is opened anew for each check is seen once.

    Pictures in memory are remembered for the log object alone: reading them is all there is to do, and a digest is
    slower than that.
    """
    mine = (id(log), name)  # the log is kept beside its features, so its id is not used again
    known = _held(mine)
    if known is not None and known[0] is log:
        return known[1]
    stream = log.read(name)
    content = "" if isinstance(stream.values, np.ndarray) else stream.content_digest()
    same = _held(content) if content else None
    features = measure(stream) if same is None else replace(same[1], stream=stream)
    with _LOCK:
        _CACHE[mine] = (log, features)
        if content:
            _CACHE[content] = (None, features)
        while len(_CACHE) > _HELD:
            _CACHE.popitem(last=False)
    return features


def _held(key: tuple[int, str] | str) -> tuple[Log | None, Features] | None:
    with _LOCK:
        if key in _CACHE:
            _CACHE.move_to_end(key)
        return _CACHE.get(key)


def measure(stream: Stream) -> Features:
    """Decode every frame of a camera once."""
    count = len(stream)
    keep = _keep(stream)
    out = _Table(count)
    for frame in _decode(stream):
        out.add(frame, keep=bool(keep[frame.at]))
    values = stream.values
    coded = values if isinstance(values, Coded) else None
    return out.features(
        stream,
        key=coded.keyframes() if coded is not None else np.ones(count, dtype=np.bool_),
        packet=coded.packet_sizes() if coded is not None else np.zeros(count, dtype=np.int64),
        codec=_codec(values) if count else "",
        exact=coded is None,
    )


def _codec(values: Array | Frames) -> str:
    if isinstance(values, PacketFrames):
        return values.codec
    return values.index.codec if isinstance(values, VideoFrames) else ""


def _keep(stream: Stream) -> BoolArray:
    """(N,) which frames leave their working picture: evenly spread, and the last one."""
    count, times = len(stream), stream.times_ns
    span_s = float(times.max() - times.min()) / SECOND if count else 0.0
    wanted = min(count, _KEPT, max(32, round(span_s * _KEPT_HZ)))
    out = np.zeros(count, dtype=np.bool_)
    out[np.linspace(0, count - 1, wanted).round().astype(np.int64)] = True
    return out


class _Table:
    """Rows of the features as they come."""

    def __init__(self, count: int) -> None:
        self._numbers: dict[str, FloatArray] = {
            name: np.zeros(count)
            for name in ("mean", "contrast", "spread", "dark", "bright", "low", "high", "sharp", "coarse", "green")
        }
        self._tiles: dict[str, FloatArray] = {
            name: np.zeros((count, ROWS, COLS), dtype=np.float32) for name in ("change", "skip", "tiles")
        }
        self._ok, self._damaged, self._same = (np.zeros(count, dtype=np.bool_) for _ in range(3))
        self._size = np.zeros((count, 2), dtype=np.int64)
        self._group = np.zeros(count, dtype=np.int64)
        self._pictures: dict[int, ByteArray] = {}
        self._pix_fmt = ""
        self._before: ByteArray | None = None
        self._smalls: list[FloatArray] = []

    def add(self, frame: _Decoded, *, keep: bool) -> None:
        """Measure one frame."""
        at, luma = frame.at, frame.luma
        self._damaged[at] = frame.damaged
        if luma is None or not luma.size:
            return
        self._ok[at], self._size[at], self._group[at] = True, luma.shape, frame.group
        self._pix_fmt = self._pix_fmt or frame.pix_fmt
        factor = -(-luma.shape[1] // _ACROSS)
        size = (max(1, luma.shape[1] // factor), max(1, luma.shape[0] // factor))
        work: Any = luma if factor == 1 else cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
        small = _averaged(work)
        if frame.limited:
            small = (small - 16.0) * (255.0 / 219.0)
        self._levels(at, work, small, frame)
        self._changes(at, luma, small)
        if keep:
            self._pictures[at] = work.copy()

    def _levels(self, at: int, work: Any, small: Any, frame: _Decoded) -> None:
        """Brightness, contrast and detail of one frame."""
        low, high, scale = (16, 235, 255.0 / 219.0) if frame.limited else (0, 255, 1.0)
        half, quarter = _halves(work)
        below = np.cumsum(cv2.calcHist([half], [0], None, [256], [0, 256]).ravel()) / half.size
        row = self._numbers
        row["dark"][at] = below[low + 3]
        row["bright"][at] = 1.0 - below[high - 4]
        row["low"][at], row["high"][at] = (np.searchsorted(below, (0.05, 0.95)) - low) * scale
        mean, spread = cv2.meanStdDev(work)
        row["mean"][at] = (float(mean[0, 0]) - low) * scale
        row["spread"][at] = float(spread[0, 0]) * scale
        row["sharp"][at], row["coarse"][at] = _bending(work), _bending(quarter)
        row["green"][at] = frame.green
        tiles = cv2.resize(small, (COLS, ROWS), interpolation=cv2.INTER_AREA)
        row["contrast"][at] = float(cv2.meanStdDev(tiles)[1][0, 0])
        self._tiles["tiles"][at] = tiles

    def _changes(self, at: int, luma: ByteArray, small: FloatArray) -> None:
        """What is different from the last two frames that were decoded."""
        before = self._before
        if before is not None and before.shape == luma.shape:
            self._same[at] = cv2.norm(before, luma, cv2.NORM_INF) == 0.0
        for name, earlier in zip(("change", "skip"), reversed(self._smalls), strict=False):
            self._tiles[name][at] = cv2.resize(cv2.absdiff(small, earlier), (COLS, ROWS), interpolation=cv2.INTER_AREA)
        self._before = luma
        self._smalls = [*self._smalls[-1:], small]

    def features(self, stream: Stream, *, key: BoolArray, packet: IntArray, codec: str, exact: bool) -> Features:
        """Everything measured."""
        kept = np.array(sorted(self._pictures), dtype=np.int64)
        return Features(
            stream=stream,
            ok=self._ok,
            damaged=self._damaged,
            size=self._size,
            key=key,
            group=self._group,
            packet=packet,
            exact=exact,
            same=self._same,
            **self._tiles,
            **self._numbers,
            kept=kept,
            pictures=[self._pictures[int(at)] for at in kept],
            codec=codec,
            pix_fmt=self._pix_fmt,
        )


def _averaged(work: Any) -> FloatArray:
    """(48, 64) mean of each block of a working picture, from its integral; of a smaller picture, resized."""
    height, width = work.shape
    if height < _SMALL[1] or width < _SMALL[0]:
        return np.asarray(cv2.resize(work.astype(np.float32), _SMALL, interpolation=cv2.INTER_AREA))
    rows, columns, area = _blocks(height, width)
    sums = cv2.integral(work)[rows, columns]
    return np.asarray((sums[1:, 1:] - sums[1:, :-1] - sums[:-1, 1:] + sums[:-1, :-1]) * area, dtype=np.float32)


@lru_cache(maxsize=16)
def _blocks(height: int, width: int) -> tuple[IntArray, IntArray, FloatArray]:
    """Bounds of the blocks, as (49, 1) and (1, 65) indices, and one over the area of each."""
    rows = np.linspace(0, height, _SMALL[1] + 1).round().astype(np.int64)[:, None]
    columns = np.linspace(0, width, _SMALL[0] + 1).round().astype(np.int64)[None, :]
    return rows, columns, 1.0 / (np.diff(rows, axis=0) * np.diff(columns, axis=1)).astype(np.float32)


def _halves(work: Any) -> tuple[Any, Any]:
    """A picture at half and at a quarter of its size, no side below 4 pixels; halving evenly is the fast path."""
    out = [work]
    for _ in range(2):
        height, width = out[-1].shape
        even = out[-1][: height & ~1, : width & ~1] if min(height, width) >= 8 else out[-1]
        size = (max(4, width // 2), max(4, height // 2))
        out.append(cv2.resize(even, size, interpolation=cv2.INTER_AREA))
    return out[1], out[2]


def _bending(picture: Any) -> float:
    """Mean square of the second differences along both axes, the energy of the Laplacian without its cross term.

    With steps d1 and d2 that follow each other, (d2 - d1)^2 = 2 (d1^2 + d2^2) - (d1 + d2)^2: norms of differences of
    shifted views, so that no picture of second differences is ever made.
    """
    total = 0.0
    for near, far in (
        ((picture[:, 1:], picture[:, :-1]), (picture[:, 2:], picture[:, :-2])),
        ((picture[1:], picture[:-1]), (picture[2:], picture[:-2])),
    ):
        step, two = (cv2.norm(*pair, cv2.NORM_L2SQR) / pair[0].size for pair in (near, far))
        total += max(4.0 * step - two, 0.0)
    return total


def _decode(stream: Stream) -> Iterator[_Decoded]:
    """Frames in recorded order, each once."""
    values = stream.values
    if isinstance(values, VideoFrames | PacketFrames):
        yield from _video(values)
    elif isinstance(values, EncodedFrames):
        for start in range(0, len(values), _BATCH):
            index = np.arange(start, min(start + _BATCH, len(values)), dtype=np.int64)
            yield from (_image(start + at, item) for at, item in enumerate(values.encoded(index)))
    else:
        for start in range(0, len(values), _BATCH):
            index = np.arange(start, min(start + _BATCH, len(values)), dtype=np.int64)
            yield from _batch(values, index)


_GROUPS: Final = {int(PictureType.P): 1, int(PictureType.B): 2}
_PLANAR: Final = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "gray", "nv12"})


def _video(frames: VideoFrames | PacketFrames) -> Iterator[_Decoded]:
    for at, frame in frames.decoded():
        limited = frame.format.name in _PLANAR and "j" not in frame.format.name and frame.color_range in (0, _LIMITED)
        yield _Decoded(
            at=at,
            luma=_luma(frame),
            limited=limited,
            group=_GROUPS.get(int(frame.pict_type), 0),
            damaged=frame.is_corrupt,
            green=_no_chroma(frame),
            pix_fmt=frame.format.name,
        )


def _luma(frame: VideoFrame) -> ByteArray:
    """(H, W) luma as the codec holds it where that is 8 bit, else converted."""
    if frame.format.name in _PLANAR:
        return _plane(frame, 0)
    pixels: Any = frame.to_ndarray(format="gray")
    return np.asarray(pixels, dtype=np.uint8)


def _plane(frame: VideoFrame, number: int) -> ByteArray:
    """One plane of a frame, without a copy; it lives as long as the frame."""
    plane: Any = frame.planes[number]
    rows: ByteArray = np.frombuffer(plane, dtype=np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]


def _no_chroma(frame: VideoFrame) -> float:
    """Share of pixels whose chroma is at zero, which no camera gives and a decoder without data does."""
    if len(frame.planes) != 3 or frame.format.name not in _PLANAR:
        return 0.0
    blue = _plane(frame, 1)[::4, ::4]
    none = blue < 16
    if not none.any():  # which is nearly every frame
        return 0.0
    return float((none & (_plane(frame, 2)[::4, ::4] < 16)).mean())


def _image(at: int, item: Encoded) -> _Decoded:
    try:
        return _array(at, decode(item, Kind.IMAGE))
    except LogUnreadable:
        return _Decoded(at=at, luma=None, damaged=True)


def _batch(values: Array | Frames, index: IntArray) -> Iterator[_Decoded]:
    """Frames of any other kind; where a batch does not decode, one at a time."""
    try:
        pictures = values[index] if isinstance(values, np.ndarray) else values.read(index)
        yield from (_array(int(at), picture) for at, picture in zip(index, pictures, strict=True))
    except LogUnreadable:
        if len(index) == 1:
            yield _Decoded(at=int(index[0]), luma=None, damaged=True)
        else:
            for one in index:
                yield from _batch(values, np.array([one]))


def _array(at: int, picture: Any) -> _Decoded:
    pixels: ByteArray = np.ascontiguousarray(picture, dtype=np.uint8)
    if pixels.ndim == 2:
        return _Decoded(at=at, luma=pixels)
    stride = max(1, min(pixels.shape[:2]) // 32)
    thin = pixels[::stride, ::stride]
    green = (thin[..., 0] < 20) & (thin[..., 2] < 20) & (thin[..., 1] > 90) & (thin[..., 1] < 180)
    luma: Any = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return _Decoded(at=at, luma=luma, green=float(green.mean()))
