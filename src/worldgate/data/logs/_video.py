"""Frames of a video file by index, decoded with PyAV only where asked for.

Frame ``i`` is the packet with the ``i``-th smallest presentation time, so the mapping is exact with B-frames, edit
lists and variable rates; nothing is computed from a declared rate. Reading seeks to the keyframe at or before a frame
and decodes forward; the last few decoders stay open, so reading in order never seeks.

Shape legend: K frames asked for, H x W pixels.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Array, BoolArray, ByteArray, IntArray
from worldgate.core.times import SECOND

_OPEN_DECODERS: Final = 6
MAX_PIXELS: Final = 1 << 26
"""Largest frame that is decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoIndex:
    """What one pass over a file's packets tells, without decoding."""

    pts: IntArray
    """(N,) presentation times in ticks, ascending."""
    key: BoolArray
    """(N,) whether a frame is a keyframe."""
    order: IntArray
    """(N,) frame number of each packet, in the order of the file."""
    digests: tuple[bytes, ...]
    """SHA-256 of each packet, in the order of the file."""
    sizes: IntArray
    """(N,) bytes of each frame's packet."""
    tick: tuple[int, int]
    """Seconds a tick lasts, as a fraction."""
    height: int
    width: int
    codec: str
    rate_hz: float
    """As the container declares it."""

    def times_ns(self, rows: IntArray | None = None) -> IntArray:
        """(N,) presentation times in ns, to the nearest; of these frames alone, counted from the first of them."""
        num, den = self.tick
        pts = self.pts if rows is None else self.pts[rows] - self.pts[rows[:1]].sum()
        return np.array([(int(p) * SECOND * num + den // 2) // den for p in pts], dtype=np.int64)


def video_index(path: Path) -> VideoIndex:
    """Index a file, once per version of it.

    Raises:
        LogUnreadable: missing, no video in it, or damaged.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise LogUnreadable("a video file is missing", got=path.name, where=path.parent) from error
    return _index(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=512)
def _index(path: Path, mtime_ns: int, size: int) -> VideoIndex:
    pts, keys, sizes, digests = [], [], [], []
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise LogUnreadable("a file without video", where=path)
            stream = container.streams.video[0]
            context, base = stream.codec_context, stream.time_base
            if context is None or base is None:
                raise LogUnreadable("a video of an unknown codec", where=path)
            for packet in container.demux(stream):
                if packet.size == 0 or packet.pts is None or packet.is_discard:
                    continue
                pts.append(packet.pts)
                keys.append(packet.is_keyframe)
                sizes.append(packet.size)
                digests.append(hashlib.sha256(bytes(packet)).digest())
            height, width, codec = context.height, context.width, context.codec.canonical_name
            rate = float(stream.average_rate or 0)
    except (FFmpegError, OSError, ValueError) as error:
        raise LogUnreadable("a video that cannot be read", got=str(error)[:80], where=path) from error
    if not pts or not 0 < height * width <= MAX_PIXELS:
        raise LogUnreadable("a video without usable frames", got=f"{len(pts)} packets, {width}x{height}", where=path)
    by_time = np.argsort(np.array(pts, dtype=np.int64), kind="stable")
    ascending = np.array(pts, dtype=np.int64)[by_time]
    if (np.diff(ascending) == 0).any():
        raise LogUnreadable("two frames of one presentation time", where=path)
    order = np.empty(len(pts), dtype=np.int64)
    order[by_time] = np.arange(len(pts))
    return VideoIndex(
        pts=ascending,
        key=np.array(keys, dtype=np.bool_)[by_time],
        order=order,
        digests=tuple(digests),
        sizes=np.array(sizes, dtype=np.int64)[by_time],
        tick=(base.numerator, base.denominator),
        height=height,
        width=width,
        codec=codec,
        rate_hz=rate,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFrames:
    """Some frames of a video file; fulfils :class:`worldgate.core.streams.Frames`."""

    path: Path
    rows: IntArray
    """(N,) frame numbers within the file."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def index(self) -> VideoIndex:
        """Packets, keyframes and times of the whole file; codec-aware checks read it."""
        return video_index(self.path)

    def keyframes(self) -> BoolArray:
        """(N,) whether each frame is a keyframe."""
        return self.index.key[self.rows]

    def packet_sizes(self) -> IntArray:
        """(N,) bytes of each frame's packet."""
        return self.index.sizes[self.rows]

    def read(self, indices: IntArray) -> Array:
        """Decode the frames of these indices, in this order: (K, H, W, 3) uint8 RGB.

        Raises:
            LogUnreadable: damaged packets.
        """
        wanted = self.rows[np.asarray(indices, dtype=np.int64)]
        index = self.index
        out: ByteArray = np.empty((len(wanted), index.height, index.width, 3), dtype=np.uint8)
        previous = last = -1
        with _LOCK:
            # In ascending order, so that each frame is decoded once.
            for place in np.argsort(wanted, kind="stable"):
                number = int(wanted[place])
                if number == previous:
                    out[place] = out[last]
                else:
                    out[place] = _decoder(self.path, index).frame(number)
                previous, last = number, int(place)
        return out

    def content_digest(self) -> str:
        """SHA-256 over codec name and the digests of these frames' packets, in the order of the file."""
        index = self.index
        wanted = set(self.rows.tolist())
        h = hashlib.sha256(f"{index.codec}\n".encode())
        for number, digest in zip(index.order.tolist(), index.digests, strict=True):
            if number in wanted:
                h.update(digest)
        return h.hexdigest()

    def slice(self, keep: IntArray) -> VideoFrames:
        """Only the frames of these indices, renumbered from 0."""
        return VideoFrames(path=self.path, rows=self.rows[keep])


class _Decoder:
    """An open file and the number of the frame that comes next."""

    def __init__(self, path: Path, index: VideoIndex) -> None:
        self.path = path
        self.index = index
        self._container: InputContainer | None = None
        self._decoded: Iterator[VideoFrame] = iter(())
        # One iterator until the next seek: a decoder hands out its last frames together, once.
        self._next = 0

    def frame(self, number: int) -> Array:
        """Decode one frame as (H, W, 3) RGB."""
        keys = np.flatnonzero(self.index.key[: number + 1])
        start = int(keys[-1]) if len(keys) else 0
        try:
            if self._container is None or not start <= self._next <= number:
                self._seek(start)
            found = self._forward(number)
            if found is None and start > 0:
                # An index that marks a frame as a keyframe which no decoder can start from: from the beginning.
                self._seek(0)
                found = self._forward(number)
        except (FFmpegError, OSError, ValueError) as error:
            self.close()
            raise LogUnreadable("video that does not decode", got=str(error)[:80], where=self._where(number)) from error
        if found is None:
            self.close()
            raise LogUnreadable("a frame that does not decode", where=self._where(number))
        pixels: Array = found.to_ndarray(format="rgb24")
        if pixels.shape != (self.index.height, self.index.width, 3):
            raise LogUnreadable("frames of one video differ in size", got=pixels.shape, where=self._where(number))
        return pixels

    def _seek(self, number: int) -> None:
        if self._container is None:
            self._container = av.open(str(self.path))
        stream = self._container.streams.video[0]
        if number > 0 or self._next > 0:
            self._container.seek(int(self.index.pts[number]), stream=stream, backward=True)
        self._decoded = self._container.decode(video=0)
        self._next = number

    def _forward(self, number: int) -> VideoFrame | None:
        target = int(self.index.pts[number])
        for frame in self._decoded:
            if frame.pts is None or frame.pts < target:
                continue
            self._next = number + 1
            return frame if frame.pts == target else None
        return None

    def _where(self, number: int) -> str:
        return f"{self.path}:frame {number}"

    def close(self) -> None:
        """Release the file."""
        if self._container is not None:
            self._container.close()
            self._container = None
            self._next = 0


_LOCK = threading.RLock()
_DECODERS: OrderedDict[Path, _Decoder] = OrderedDict()


def _decoder(path: Path, index: VideoIndex) -> _Decoder:
    """An open decoder of this file, the last few being kept."""
    known = _DECODERS.pop(path, None)
    if known is not None and known.index is not index:
        # The file changed since it was opened.
        known.close()
        known = None
    _DECODERS[path] = known or _Decoder(path, index)
    while len(_DECODERS) > _OPEN_DECODERS:
        _DECODERS.popitem(last=False)[1].close()
    return _DECODERS[path]
