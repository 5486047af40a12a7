"""Frames of a video file by index, decoded with PyAV only where asked for.

Frame ``i`` is the packet with the ``i``-th smallest presentation time, so the mapping is exact with B-frames, edit
lists and variable rates; nothing is computed from a declared rate. Reading starts from the keyframe at or before a
frame and decodes forward; a thread's last few decoders stay open, so reading in order never starts again.

Shape legend: K frames asked for, H x W pixels.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self

import av
import numpy as np
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Array, BoolArray, ByteArray, IntArray
from worldgate.core.times import SECOND
from worldgate.data.logs._video_decode import UNSTAMPED, Decoder, Packets

_log = logging.getLogger(__name__)

_OPEN_DECODERS: Final = 16
_BLOCK_HEADER: Final = 64
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
    packets: Packets
    """What decoding needs."""

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


@lru_cache(maxsize=2048)
def _index(path: Path, mtime_ns: int, size: int) -> VideoIndex:
    pts, keys, sizes, digests = [], [], [], []
    places = _Places(path)
    try:
        with av.open(str(path)) as container, places:
            if not container.streams.video:
                raise LogUnreadable("a file without video", where=path)
            stream = container.streams.video[0]
            context, base = stream.codec_context, stream.time_base
            if context is None or base is None:
                raise LogUnreadable("a video of an unknown codec", where=path)
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                data = bytes(packet)
                places.add(packet, data)
                if packet.pts is None or packet.is_discard:
                    continue
                pts.append(packet.pts)
                keys.append(packet.is_keyframe)
                sizes.append(packet.size)
                digests.append(hashlib.sha256(data).digest())
            decoder, extradata = context.name, bytes(context.extradata or b"")
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
        packets=places.packets(decoder, extradata, (height, width), ascending),
    )


class _Places:
    """Collects where packets lie; what the container says is believed only where the bytes there are the packet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pts: list[int] = []
        self._key: list[bool] = []
        self._at: list[int] = []
        self._size: list[int] = []
        self._scattered: dict[int, bytes] = {}

    def __enter__(self) -> Self:
        self._file = os.open(self._path, os.O_RDONLY)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def add(self, packet: Packet[Any], data: bytes) -> None:
        at = -1
        if packet.pos is not None and packet.pos >= 0:
            # Some containers name the block, whose header stands before the packet.
            at = os.pread(self._file, len(data) + _BLOCK_HEADER, packet.pos).find(data)
            at += packet.pos if at >= 0 else 0
        if at < 0:
            self._scattered[len(self._at)] = data
        self._pts.append(UNSTAMPED if packet.pts is None else packet.pts)
        self._key.append(packet.is_keyframe)
        self._at.append(at)
        self._size.append(len(data))

    def packets(self, decoder: str, extradata: bytes, shape: tuple[int, int], stamps: IntArray) -> Packets:
        return Packets(
            path=self._path,
            decoder=decoder,
            extradata=extradata,
            height=shape[0],
            width=shape[1],
            stamps=stamps,
            pts=np.array(self._pts, dtype=np.int64),
            key=np.array(self._key, dtype=np.bool_),
            at=np.array(self._at, dtype=np.int64),
            size=np.array(self._size, dtype=np.int64),
            scattered=self._scattered,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFrames:
    """Some frames of a video file; fulfils :class:`worldgate.core.streams.Frames`."""

    path: Path
    rows: IntArray
    """(N,) frame numbers within the file."""
    declared: Mapping[str, str | float] = field(default_factory=dict)
    """What metadata beside the file says of it: any of height, width, rate_hz, codec, pix_fmt, frames."""

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
        index = self.index
        out: ByteArray = np.empty((len(indices), index.height, index.width, 3), dtype=np.uint8)
        self.read_into(indices, out)
        return out

    def read_into(self, indices: IntArray, out: ByteArray) -> None:
        """Decode the frames of these indices, in this order, into ``out`` (K, H, W, 3), scaled to its size.

        Each frame is decoded once, and written by one conversion: a clip of a training batch costs no copy. Frames of
        another size than the video's are averaged over areas by swscale.

        Raises:
            LogUnreadable: damaged packets.
        """
        if len(indices):
            _decoder(self.path, self.index).into(self.rows[np.asarray(indices, dtype=np.int64)], out)

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
        return VideoFrames(path=self.path, rows=self.rows[keep], declared=self.declared)

    def decoded(self) -> Iterator[tuple[int, VideoFrame]]:
        """Each frame once, in order, with its place among these, from a decoder of its own.

        Unlike :meth:`read` it goes on after damage: a frame that does not decode is left out, one that the decoder had
        to conceal says so itself (``is_corrupt``), and frames may differ in size.
        """
        index = self.index
        place = {int(index.pts[row]): at for at, row in enumerate(self.rows)}
        if not place:
            return
        first, last = min(place), max(place)
        try:
            with av.open(str(self.path)) as container:
                stream = container.streams.video[0]
                if first > index.pts[0]:
                    container.seek(first, stream=stream, backward=True)
                for packet in container.demux(stream):
                    for frame in _undamaged(packet):
                        if frame.pts is not None and frame.pts in place:
                            yield place[frame.pts], frame
                        if frame.pts is not None and frame.pts >= last:
                            return  # decoders hand frames out in the order of presentation
        except (FFmpegError, OSError, ValueError) as error:
            _log.warning("%s stops decoding: %s", self.path.name, error)


def _undamaged(packet: Packet[Any]) -> list[VideoFrame]:
    """Frames that come out with a packet; none where it is damaged."""
    try:
        return [frame for frame in packet.decode() if isinstance(frame, VideoFrame)]
    except (FFmpegError, ValueError) as error:
        _log.debug("a packet that does not decode: %s", error)
        return []


class _Pool(threading.local):
    """A thread's open decoders, the last used at the end."""

    def __init__(self) -> None:
        self.decoders: OrderedDict[Path, Decoder] = OrderedDict()


_POOL = _Pool()


def _decoder(path: Path, index: VideoIndex) -> Decoder:
    """An open decoder of this file, the last few being kept."""
    decoders = _POOL.decoders
    known = decoders.pop(path, None)
    if known is not None and known.packets is not index.packets:
        # The file changed since it was opened.
        known.close()
        known = None
    try:
        decoders[path] = known or Decoder(index.packets)
    except OSError as error:
        raise LogUnreadable("a video file is missing", got=path.name, where=path.parent) from error
    while len(decoders) > _OPEN_DECODERS:
        decoders.popitem(last=False)[1].close()
    return decoders[path]
