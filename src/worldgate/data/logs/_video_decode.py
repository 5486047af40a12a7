"""Decoding chosen frames of a video without a demuxer: packets are read where they lie and fed to a bare decoder.

Seeking through a container costs more than decoding a small clip, and so does opening one. An index already knows where
every packet lies, so a clip is: the packets from its keyframe on, one decoder, one conversion straight to the size
that is wanted. Conversion and scaling are one pass of swscale, on one thread; its own pool of threads costs more than
it saves on frames of this size.

Shape legend: K frames asked for, N frames and M packets of a file (an edit list hides some), H x W pixels.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from av.codec.context import CodecContext
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import BoolArray, ByteArray, IntArray
from worldgate.data.logs._limits import Limits

UNSTAMPED: Final = -(1 << 63)
"""Stands for a presentation time that a packet does not have."""
_BEFORE: Final = -(1 << 62)


@dataclass(frozen=True, kw_only=True)
class Packets:
    """Where the packets of a video lie; all that decoding needs, and small enough to be sent to another process."""

    path: Path
    decoder: str
    """FFmpeg's name of the decoder."""
    extradata: bytes
    height: int
    width: int
    stamps: IntArray
    """(N,) presentation time of each frame in ticks, ascending."""
    pts: IntArray
    """(M,) presentation time of each packet in ticks, in the order of the file; :data:`UNSTAMPED` where it has none."""
    key: BoolArray
    """(M,) whether a packet is a keyframe."""
    at: IntArray
    """(M,) first byte of each packet in the file; -1: not in one piece."""
    size: IntArray
    """(M,) bytes of each packet."""
    scattered: Mapping[int, bytes] = field(default_factory=dict)
    """Packets that do not lie in one piece (transport streams), by place."""

    @cached_property
    def _keyframes(self) -> tuple[IntArray, IntArray]:
        """Presentation times of keyframes, ascending, and their places."""
        places = np.flatnonzero(self.key & (self.pts != UNSTAMPED))
        by_time = places[np.argsort(self.pts[places], kind="stable")].astype(np.int64)
        return self.pts[by_time], by_time

    def start(self, number: int) -> int:
        """Place of the packet that decoding a frame begins with: its keyframe, which need not be shown itself."""
        times, places = self._keyframes
        found = int(np.searchsorted(times, self.stamps[number], side="right")) - 1
        return int(places[found]) if found >= 0 else 0


class Converter:
    """Decoded frames to (H, W, 3) RGB of any size; keeps swscale's tables between frames of one kind."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def into(self, frame: VideoFrame, out: ByteArray) -> None:
        """Write a frame into ``out``: scaled by area averaging where ``out`` is of another size."""
        height, width = out.shape[:2]
        made = self._reformatter.reformat(
            frame, width=width, height=height, format="rgb24", interpolation=Interpolation.AREA, threads=1
        )
        plane = made.planes[0]
        line = plane.line_size
        packed = np.frombuffer(memoryview(plane), np.uint8, count=height * line).reshape(height, line)
        out[:] = packed[:, : width * 3].reshape(height, width, 3)


class Decoder:
    """One file's decoder, kept open between clips; not for several threads at once."""

    def __init__(self, packets: Packets) -> None:
        self.packets = packets
        self._file = os.open(packets.path, os.O_RDONLY)
        self._converter = Converter()
        self._context: VideoCodecContext | None = None
        self._fed = 0
        """Packets, in the order of the file, that the decoder was given or may do without."""
        self._shown = _BEFORE
        """Presentation time of the last frame that came out."""
        self._skips = False
        """Whether the decoder leaves out frames that no other needs."""
        self._ready: list[VideoFrame] = []
        """Frames that came out together with one that was asked for."""

    def into(self, numbers: IntArray, out: ByteArray) -> None:
        """Decode frames in this order into ``out`` (K, H, W, 3), scaled to its size.

        Raises:
            LogUnreadable: damaged packets.
        """
        previous = last = -1
        # In ascending order, so that each frame is decoded once.
        for place in np.argsort(numbers, kind="stable").tolist():
            number = int(numbers[place])
            if number == previous:
                out[place] = out[last]
            else:
                self._frame(number, out[place])
            previous, last = number, place

    def _frame(self, number: int, out: ByteArray) -> None:
        start = self.packets.start(number)
        try:
            found = self._forward(number, start)
            if found is None and start > 0:
                # An index that marks a frame as a keyframe which no decoder can start from: from the beginning.
                self._seek(0)
                found = self._forward(number, 0)
            if found is None:
                raise LogUnreadable("a frame that does not decode", where=self._where(number))
            if (found.height, found.width) != (self.packets.height, self.packets.width):
                got = f"{found.width}x{found.height}"
                raise LogUnreadable("frames of one video differ in size", got=got, where=self._where(number))
            self._converter.into(found, out)
        except (FFmpegError, OSError, ValueError) as error:
            self._context = None
            raise LogUnreadable("video that does not decode", got=str(error)[:80], where=self._where(number)) from error
        except LogUnreadable:
            self._context = None
            raise

    def _forward(self, number: int, start: int) -> VideoFrame | None:
        """Feed packets until a frame comes out; None where it never does."""
        packets, target = self.packets, int(self.packets.stamps[number])
        if self._context is None or self._shown >= target or self._fed < start:
            self._seek(start)
        while True:
            while self._ready:
                frame = self._ready.pop(0)
                if frame.pts is None:
                    continue
                self._shown = frame.pts
                if self._shown >= target:
                    return frame if self._shown == target else None
            if self._fed > len(packets.pts):
                return None
            self._ready = self._next(target)

    def _next(self, target: int) -> list[VideoFrame]:
        """What comes out with the next packet; after the last one, what the decoder held back.

        A frame before the target that no other frame needs is not decoded: on the way from a distant keyframe that is
        every second one of a video with B-frames.
        """
        assert self._context is not None
        place, self._fed = self._fed, self._fed + 1
        if place == len(self.packets.pts):
            return self._context.decode(None)
        skip = bool(self.packets.pts[place] < target)
        if skip is not self._skips:
            self._context.skip_frame, self._skips = "NONREF" if skip else "DEFAULT", skip
        return self._context.decode(self._packet(place))

    def _packet(self, place: int) -> Packet[Any]:
        packet = Packet(self.data(place))
        stamp = int(self.packets.pts[place])
        packet.pts = packet.dts = None if stamp == UNSTAMPED else stamp
        return packet

    def data(self, place: int) -> bytes:
        """The bytes of a packet, by its place in the order of the file."""
        packets = self.packets
        at, size = int(packets.at[place]), int(packets.size[place])
        data = packets.scattered[place] if at < 0 else os.pread(self._file, size, at)
        if len(data) != size:
            raise LogUnreadable("a video file that became shorter", where=packets.path)
        return data

    def _seek(self, place: int) -> None:
        if self._context is None:
            self._context, self._skips = _open(self.packets), False
        else:
            self._context.flush_buffers()
        self._fed, self._shown, self._ready = place, _BEFORE, []

    def _where(self, number: int) -> str:
        return f"{self.packets.path}:frame {number}"

    def close(self) -> None:
        """Release the file."""
        os.close(self._file)
        self._context = None


def _open(packets: Packets) -> VideoCodecContext:
    context: Any = CodecContext.create(packets.decoder, "r")
    assert isinstance(context, VideoCodecContext), packets.decoder
    if packets.extradata:
        context.extradata = packets.extradata
    context.thread_count = 1
    # A stream may change its size in the middle, to anything.
    context.options = {"max_pixels": str(Limits.from_environment().pixels)}
    return context
