"""Classical peers at a given number of bits: JPEG for single pictures, H.264 for clips.

What both sides know beforehand is not counted: JPEG's tables and headers, H.264's parameter sets and comments. Each
searches its own settings, smaller pictures included, for the least error within the bits.

Shape legend: N clips, T frames, S pixels a side.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
_SIDES = (1, 2, 4, 8)
"""What the side is divided by."""


def _scaled(image: Images, side: int) -> Images:
    if image.shape[0] == side:
        return image
    shrinks = side < image.shape[0]
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC))


def jpeg(frames: Images, bits: float) -> tuple[Images, float]:
    """(R, S, S, 3) pictures as JPEG of at most so many bits each; what is shown, and the mean number of bits."""
    shown, spent = np.zeros_like(frames), 0.0
    for place, frame in enumerate(frames):
        best = np.inf
        for picture, used in _jpegs(frame, bits):
            error = float(((picture.astype(np.int32) - frame) ** 2).sum())
            if error < best:
                best, shown[place], last = error, picture, used
        assert np.isfinite(best), "no JPEG within these bits"
        spent += last
    return shown, spent / len(frames)


def _jpegs(frame: Images, bits: float) -> Iterator[tuple[Images, int]]:
    for divisor in _SIDES:
        side = frame.shape[0] // divisor
        small = cv2.cvtColor(_scaled(frame, side), cv2.COLOR_RGB2BGR)
        low, high = 0, 100
        while high - low > 1:  # the finest quality within the bits
            middle = (low + high) // 2
            low, high = (middle, high) if _jpeg_bits(small, middle) <= bits else (low, middle)
        if low:
            data = _jpeg_data(small, low)
            back = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            yield _scaled(np.asarray(back, np.uint8), frame.shape[0]), _scan(data)


def _jpeg_data(image: Images, quality: int) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return bytes(cv2.imencode(".jpg", image, options)[1])


def _jpeg_bits(image: Images, quality: int) -> int:
    return _scan(_jpeg_data(image, quality))


def _scan(data: bytes) -> int:
    """Bits of the entropy-coded part."""
    begin = data.index(b"\xff\xda")
    return 8 * (len(data) - begin - 2 - int.from_bytes(data[begin + 2 : begin + 4]) - 2)


def h264(clips: Images, bits: float, *, first_free: bool = False, alone: bool = False) -> tuple[Images, float]:
    """(N, T, S, S, 3) clips as H.264 of at most so many bits a frame; what is shown, and the mean number of bits.

    With ``first_free`` the first frame is sent well and not counted, as a context that both sides know; ``alone``:
    every picture for itself.
    """
    shown, spent = np.zeros_like(clips), 0.0
    for place, clip in enumerate(clips):
        best = np.inf
        for divisor in _SIDES[:3]:
            found = _finest(clip, clip.shape[1] // divisor, bits, first_free, alone)
            if found is not None:
                error = float(((found[0].astype(np.int32) - clip) ** 2).sum())
                if error < best:
                    best, shown[place], last = error, found[0], found[1]
        if not np.isfinite(best):
            raise ValueError("no H.264 within these bits")
        spent += last
    return shown, spent / len(clips)


def _finest(clip: Images, side: int, bits: float, first_free: bool, alone: bool) -> tuple[Images, float] | None:
    small = np.stack([_scaled(frame, side) for frame in clip])
    low, high, found = 10, 52, None
    while low < high:
        middle = (low + high) // 2
        packets, used = _encode(small, middle, first_free, alone)
        if used <= bits:
            high, found = middle, (packets, used)
        else:
            low = middle + 1
    if found is None:
        return None
    back = np.stack([_scaled(frame, clip.shape[1]) for frame in _decode(found[0])])
    return back, found[1]


def _encode(frames: Images, quantiser: int, first_free: bool, alone: bool) -> tuple[list[bytes], float]:
    """Packets, and bits a frame of their slices."""
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
    codec.time_base, codec.framerate = Fraction(1, 10), Fraction(10)
    codec.thread_count = 1
    ratio = 8.0 if first_free else 1.4
    # A first frame that is free is sent 18 quantiser steps finer than the others.
    group = "keyint=1:bframes=0" if alone else "keyint=250:bframes=3:ref=4"
    params = f"qp={quantiser}:ipratio={ratio}:{group}:scenecut=0:mbtree=0:threads=1"
    codec.options = {"preset": "veryslow", "tune": "psnr", "x264-params": params}
    packets: list[bytes] = []
    for frame in frames:
        packets += [bytes(packet) for packet in codec.encode(av.VideoFrame.from_ndarray(frame, format="rgb24"))]
    packets += [bytes(packet) for packet in codec.encode(None)]
    counted = packets[1:] if first_free else packets
    return packets, 8 * sum(_slices(packet) for packet in counted) / len(frames)


def _slices(packet: bytes) -> int:
    """Bytes of the units of a packet that hold pictures."""
    total = 0
    for unit in packet.split(b"\x00\x00\x01")[1:]:
        if unit and unit[0] & 31 in (1, 5):
            total += len(unit.rstrip(b"\x00"))
    return total


def _decode(packets: list[bytes]) -> list[Images]:
    codec = av.CodecContext.create("h264", "r")
    codec.thread_count = 1
    out = [frame for packet in packets for frame in codec.decode(av.Packet(packet))]
    out += codec.decode(None)
    return [frame.to_ndarray(format="rgb24") for frame in sorted(out, key=lambda f: f.pts if f.pts is not None else 0)]
