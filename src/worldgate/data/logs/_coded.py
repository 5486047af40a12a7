"""Coded pictures passed from container to container without decoding: MP4 to MP4, MP4 to messages, messages to MP4.

What is passed is one independently decodable run of frames: it begins with a keyframe and needs no packet outside it.
Frames are stamped anew, one a tick, because MP4 of a fixed rate is what robot datasets hold; native times stand
elsewhere. H.264 and H.265 lie in MP4 by length with their parameter sets apart (ISO/IEC 14496-15), in messages as
Annex B with parameter sets in band; AV1 as temporal units without delimiters in both.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Frames, IntArray
from worldgate.data.logs._packets import CODECS, PacketFrames, parameter_sets, without_parameters
from worldgate.data.logs._video import VideoFrames

_TO_MESSAGES: Final = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}
_FORMAT: Final = {codec: format for format, codec in CODECS.items()}
"""FFmpeg's codec name to the format that a message names."""
_DELIMITER: Final = b"\x12\x00"
"""OBU temporal delimiter, which an AV1 stream outside a container begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedFrame:
    """One packet."""

    data: bytes
    place: int
    """Number of the frame within the run, in order of presentation."""
    key: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedRun:
    """A run of frames that can be passed on as it is."""

    codec: str
    """``h264``, ``hevc``, ``av1`` …"""
    pix_fmt: str
    delay: int
    """Packets that a decoder takes in before the first frame comes out; above 0 where frames are reordered."""
    parameters: bytes
    """The decoder's configuration, which stands apart in MP4: runs that share it can share a file."""
    template: Callable[[], AbstractContextManager[VideoStream]]
    """A stream with the codec's parameters, to make an output stream from."""
    packets: Callable[[], Iterator[CodedFrame]]
    """In the order of the file."""

    @property
    def message_format(self) -> str:
        """The format of ``foxglove.CompressedVideo``; empty where its frames cannot be messages."""
        return _FORMAT.get(self.codec, "") if not self.delay else ""

    def messages(self) -> Iterator[bytes]:
        """One message a frame, with parameter sets in band before every keyframe.

        Raises:
            LogUnreadable: packets that cannot be converted.
        """
        if self.codec not in _TO_MESSAGES or not self.parameters.startswith(b"\x01"):
            sets = b"" if self.codec != "av1" else self.parameters[4:]
            for frame in self.packets():
                lacking = frame.key and sets and not parameter_sets(frame.data, _FORMAT[self.codec])
                yield sets + frame.data if lacking else frame.data
            return
        with self.template() as stream:
            convert = BitStreamFilterContext(_TO_MESSAGES[self.codec], stream)
            for frame in self.packets():
                packet = Packet(frame.data)
                packet.is_keyframe = frame.key
                (out,) = convert.filter(packet)
                yield bytes(out)


def coded(frames: Frames) -> CodedRun | None:
    """Frames as they are coded, where they are one run that can be passed on; else None.

    Raises:
        LogUnreadable: a file that cannot be read.
    """
    if isinstance(frames, VideoFrames) and len(frames):
        return _of_video(frames)
    if isinstance(frames, PacketFrames) and len(frames):
        return _of_messages(frames)
    return None


def _of_video(frames: VideoFrames) -> CodedRun | None:
    index, rows = frames.index, frames.rows
    first = int(rows[0])
    if not _in_a_row(rows) or not index.key[first]:
        return None
    at = np.flatnonzero((index.order >= first) & (index.order < first + len(rows)))
    places = index.order[at] - first
    if int(at[-1] - at[0]) + 1 != len(rows) or places[0] != 0:
        return None  # pictures before the keyframe in time come after it in the file: the run needs what is outside it
    place = {int(index.pts[row]): n for n, row in enumerate(rows)}

    def packets() -> Iterator[CodedFrame]:
        with av.open(str(frames.path)) as container:
            stream = container.streams.video[0]
            if first:
                container.seek(int(index.pts[first]), stream=stream, backward=True)
            left = len(place)
            for packet in container.demux(stream):
                if packet.size and packet.pts in place:
                    yield CodedFrame(data=bytes(packet), place=place[packet.pts], key=packet.is_keyframe)
                    left -= 1
                    if not left:
                        return

    with _template(frames.path) as stream:
        context = stream.codec_context
        codec, parameters = context.codec.canonical_name, bytes(context.extradata or b"")
        pix_fmt = context.pix_fmt or ""
    return CodedRun(
        codec=codec,
        pix_fmt=pix_fmt,
        delay=max(0, int((np.arange(len(places)) - places).max())),
        parameters=parameters,
        template=lambda: _template(frames.path),
        packets=packets,
    )


def _of_messages(frames: PacketFrames) -> CodedRun | None:
    rows, stream = frames.rows, frames.stream
    key = stream.packets.key[rows]
    if not _in_a_row(rows) or not key[0]:
        return None
    first = next(iter(stream.fetch(rows[:1])))
    codec = CODECS[stream.format]
    try:
        with _from_bytes(first, codec) as template:
            parameters, pix_fmt = bytes(template.codec_context.extradata or b""), template.codec_context.pix_fmt or ""
    except (FFmpegError, IndexError, ValueError):
        return None
    if not parameters:
        return None

    def packets() -> Iterator[CodedFrame]:
        for place, packet in enumerate(stream.fetch(rows)):
            bare = without_parameters(packet, stream.format, parameters)
            yield CodedFrame(data=bare, place=place, key=bool(key[place]))

    return CodedRun(
        codec=codec,
        pix_fmt=pix_fmt,
        delay=0,
        parameters=parameters,
        template=lambda: _from_bytes(first, codec),
        packets=packets,
    )


def _in_a_row(rows: IntArray) -> bool:
    return bool((np.diff(rows) == 1).all())


@contextmanager
def _template(path: Path) -> Iterator[VideoStream]:
    with av.open(str(path)) as container:
        yield container.streams.video[0]


@contextmanager
def _from_bytes(keyframe: bytes, codec: str) -> Iterator[VideoStream]:
    data = _DELIMITER + keyframe if codec == "av1" else keyframe
    with av.open(io.BytesIO(data), format="obu" if codec == "av1" else codec) as container:
        yield container.streams.video[0]


class Joined:
    """One MP4 to which runs of the same codec and parameters are appended, packet by packet."""

    def __init__(self, path: Path, run: CodedRun, fps: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.frames = 0
        self._fps = fps
        self._container: OutputContainer = av.open(str(path), "w", format="mp4")
        with run.template() as template:
            self._stream: Any = self._container.add_stream_from_template(template, opaque=True)
        self._stream.time_base = Fraction(1, fps)

    def add(self, run: CodedRun) -> None:
        """Append a run.

        Raises:
            LogUnreadable: packets that the container refuses.
        """
        count = 0
        try:
            for count, frame in enumerate(run.packets(), start=1):
                packet = Packet(frame.data)
                packet.stream = self._stream
                packet.time_base = Fraction(1, self._fps)
                packet.pts = self.frames + frame.place
                packet.dts = self.frames + count - 1 - run.delay
                packet.duration = 1
                packet.is_keyframe = frame.key
                self._container.mux(packet)
        except (FFmpegError, ValueError) as error:
            raise LogUnreadable("video packets that cannot be passed on", got=str(error)[:80]) from error
        self.frames += count

    def close(self) -> None:
        """Finish the file."""
        self._container.close()
