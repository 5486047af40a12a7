"""Video that stands in messages, one access unit each (``foxglove.CompressedVideo``), as frames decoded on request.

A frame is decoded from the keyframe before it on. Its identity is that of its packet: nothing a decoder makes of it
enters the content digest. Streams have no B-frames, so packet ``i`` is frame ``i``, and their parameter sets stand in
band (Annex B of ITU-T H.264 and H.265, sequence header OBUs of AV1); both are asked for by
https://docs.foxglove.dev/docs/sdk/schemas/compressed-video.

Shape legend: N frames of the stream, K asked for, H x W pixels.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from av.codec.context import CodecContext
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Array, BoolArray, ByteArray, IntArray
from worldgate.data.logs._video_decode import Decoder, Packets

_log = logging.getLogger(__name__)

DECODERS: Final[Mapping[str, str]] = {"h264": "h264", "h265": "hevc", "av1": "libdav1d"}
"""Format of a message to FFmpeg's name of its decoder."""
CODECS: Final[Mapping[str, str]] = {"h264": "h264", "h265": "hevc", "av1": "av1"}
"""Format of a message to FFmpeg's name of the codec."""
_AHEAD: Final = 16
_START: Final = b"\0\0\1"
_SEQUENCE_HEADER: Final = 1


def is_keyframe(packet: bytes, format: str) -> bool:
    """Whether decoding can start with this access unit.

    Its first coded slice is an IDR (H.264) or IRAP (H.265) one; a temporal unit of AV1 holds a sequence header.
    """
    if format == "av1":
        return bool(parameter_sets(packet, format))
    at = packet.find(_START)
    while 0 <= at < len(packet) - len(_START):
        head = packet[at + len(_START)]
        if format == "h264" and head & 0x1F in (1, 2, 5):
            return head & 0x1F == 5
        if format == "h265" and (head >> 1) & 0x3F < 32:
            return 16 <= (head >> 1) & 0x3F <= 23
        at = packet.find(_START, at + len(_START))
    return False


def parameter_sets(packet: bytes, format: str) -> list[bytes]:
    """The parameter sets in an access unit: SPS and PPS, VPS too (H.265), or sequence headers (AV1)."""
    if format == "av1":
        return [data for kind, data in _obus(packet) if kind == _SEQUENCE_HEADER]
    return [unit for unit in _units(packet) if _is_parameter(unit, format)]


def without_parameters(packet: bytes, format: str, known: bytes) -> bytes:
    """An access unit without the parameter sets that stand in ``known`` already; AV1 keeps its own."""
    if format == "av1":
        return packet
    return b"".join(b"\0" + _START + u for u in _units(packet) if not (_is_parameter(u, format) and u in known))


def _is_parameter(unit: bytes, format: str) -> bool:
    return unit[0] & 0x1F in (7, 8) if format == "h264" else 32 <= (unit[0] >> 1) & 0x3F <= 34


def _units(packet: bytes) -> Iterator[bytes]:
    """NAL units of Annex B, without start codes; none ends in a zero byte (7.4.1), so those before a start code go."""
    at = packet.find(_START)
    while at >= 0:
        start = at + len(_START)
        at = packet.find(_START, start)
        unit = packet[start : at if at >= 0 else None].rstrip(b"\0")
        if unit:
            yield unit


def _obus(unit: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and bytes of each OBU of a temporal unit (AV1 specification, 5.3); stops where sizes make no sense."""
    at = 0
    while at < len(unit):
        start, head = at, unit[at]
        at += 2 if head & 4 else 1
        size = len(unit) - at
        if head & 2:
            size = shift = 0
            while at < len(unit) and shift <= 49:
                byte = unit[at]
                size |= (byte & 0x7F) << shift
                at, shift = at + 1, shift + 7
                if byte < 0x80:
                    break
        if at + size > len(unit) or size < 0:
            return
        at += size
        yield (head >> 3) & 0xF, unit[start:at]


def size_of(packet: bytes, format: str, pixels: int) -> tuple[int, int]:
    """Height and width of a keyframe.

    Args:
        packet: with its parameter sets.
        format: a key of :data:`DECODERS`.
        pixels: largest frame that is decoded.

    Raises:
        LogUnreadable: it does not decode, or is larger.
    """
    context = codec_of(format)
    context.options = {"max_pixels": str(pixels)}
    try:
        frames = [*context.decode(Packet(packet)), *context.decode(None)]
    except (FFmpegError, ValueError) as error:
        raise LogUnreadable("video that does not decode", got=str(error)[:80]) from error
    if not frames:
        raise LogUnreadable("a keyframe that does not decode", got=f"{len(packet)} bytes of {format}")
    return frames[0].height, frames[0].width


def codec_of(format: str) -> VideoCodecContext:
    """A decoder of a message's format, on one thread."""
    context: Any = CodecContext.create(DECODERS[format], "r")
    assert isinstance(context, VideoCodecContext)
    context.thread_count = 1
    return context


def _out_of(context: VideoCodecContext, packet: Packet[Any] | None) -> list[tuple[int, VideoFrame]]:
    """Rows and frames that come out with a packet; none where it is damaged."""
    try:
        return [(int(frame.pts), frame) for frame in context.decode(packet) if frame.pts is not None]
    except (FFmpegError, ValueError) as error:
        _log.debug("a packet that does not decode: %s", error)
        return []


class _Ahead(Mapping[int, bytes]):
    """Packets by place, fetched a few at a time."""

    def __init__(self, fetch: Callable[[IntArray], Iterable[bytes]], count: int) -> None:
        self._fetch = fetch
        self._count = count
        self._held: dict[int, bytes] = {}

    def __getitem__(self, place: int) -> bytes:
        if place not in self._held:
            rows = np.arange(place, min(place + _AHEAD, self._count), dtype=np.int64)
            self._held = dict(zip(rows.tolist(), self._fetch(rows), strict=True))
        return self._held[place]

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._count))

    def __len__(self) -> int:
        return self._count


@dataclass(kw_only=True)
class PacketStream:
    """All packets of a video stream, where they can be fetched, and its decoder."""

    path: Path
    fetch: Callable[[IntArray], Iterable[bytes]]
    """Packets of these rows, in this order."""
    count: int
    format: str
    height: int
    width: int
    where: str

    def __post_init__(self) -> None:
        self.lock = threading.Lock()

    @cached_property
    def packets(self) -> Packets:
        """The index: one pass over the stream, on first use."""
        rows = np.arange(self.count, dtype=np.int64)
        key, size = np.zeros(self.count, dtype=np.bool_), np.zeros(self.count, dtype=np.int64)
        for row, packet in enumerate(self.fetch(rows)):
            key[row], size[row] = is_keyframe(packet, self.format), len(packet)
        return Packets(
            path=self.path,
            decoder=DECODERS[self.format],
            extradata=b"",
            height=self.height,
            width=self.width,
            stamps=rows,
            pts=rows,
            key=key,
            at=np.full(self.count, -1, dtype=np.int64),
            size=size,
            scattered=_Ahead(self.fetch, self.count),
        )

    @cached_property
    def decoder(self) -> Decoder:
        """Kept open, so that reading in order decodes each frame once."""
        return Decoder(self.packets)


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketFrames:
    """Some frames of a video stream; fulfils :class:`worldgate.core.streams.Frames`."""

    stream: PacketStream
    rows: IntArray
    """(N,) rows within the stream."""

    def __len__(self) -> int:
        return len(self.rows)

    def keyframes(self) -> BoolArray:
        """(N,) whether each frame is a keyframe."""
        return self.stream.packets.key[self.rows]

    def packet_sizes(self) -> IntArray:
        """(N,) bytes of each frame's packet."""
        return self.stream.packets.size[self.rows]

    def read(self, indices: IntArray) -> Array:
        """Decode the frames of these indices, in this order: (K, H, W, 3) uint8 RGB.

        Raises:
            LogUnreadable: damaged packets, or frames of another size.
        """
        out: ByteArray = np.empty((len(indices), self.stream.height, self.stream.width, 3), dtype=np.uint8)
        self.read_into(indices, out)
        return out

    def read_into(self, indices: IntArray, out: ByteArray) -> None:
        """Decode the frames of these indices, in this order, into ``out`` (K, H, W, 3), scaled to its size.

        Raises:
            LogUnreadable: damaged packets, or frames of another size.
        """
        with self.stream.lock:
            try:
                self.stream.decoder.into(self.rows[np.asarray(indices, dtype=np.int64)], out)
            except LogUnreadable as error:
                raise LogUnreadable(error.what, got=error.got, where=self.stream.where) from error

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec."""
        return CODECS[self.stream.format]

    def decoded(self) -> Iterator[tuple[int, VideoFrame]]:
        """Each frame once, in order, with its place among these, from a decoder of its own.

        Unlike :meth:`read` it goes on after damage: a frame that does not decode is left out, one that the decoder had
        to conceal says so itself (``is_corrupt``), and frames may differ in size.
        """
        if not len(self.rows):
            return
        place = {int(row): at for at, row in enumerate(self.rows)}
        packets = self.stream.packets
        context = codec_of(self.stream.format)
        for row in range(packets.start(min(place)), max(place) + 1):
            packet = Packet(packets.scattered[row])
            packet.pts = row
            yield from ((place[at], frame) for at, frame in _out_of(context, packet) if at in place)
        yield from ((place[at], frame) for at, frame in _out_of(context, None) if at in place)

    def content_digest(self) -> str:
        """SHA-256 over codec name and the digests of these frames' packets, in order."""
        h = hashlib.sha256(f"{CODECS[self.stream.format]}\n".encode())
        for packet in self.stream.fetch(self.rows):
            h.update(hashlib.sha256(packet).digest())
        return h.hexdigest()

    def slice(self, keep: IntArray) -> PacketFrames:
        """Only the frames of these indices, renumbered from 0."""
        return PacketFrames(stream=self.stream, rows=self.rows[keep])
