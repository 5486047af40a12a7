"""The size that a compressed image states, read before anything is decoded: a few bytes may claim gigabytes.

Which decoder is taken follows from the first bytes and never from what the container says, so the size is read by them,
too; formats that OpenCV would also decode (TIFF, BMP, EXR and more) are none of a camera's and are refused.

Sources: PNG (ISO/IEC 15948, 11.2.2), JPEG (ITU-T T.81, B.2.2), WebP (https://developers.google.com/speed/webp/docs/
riff_container), AVIF (ISO/IEC 23008-12, 6.5.3: ``ispe``).
"""

from __future__ import annotations

import struct
from typing import Final

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_FRAMES: Final = frozenset({*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)})
"""Markers of a JPEG frame header."""
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a length."""
MAX_SCANS: Final = 100
"""Scans of one JPEG; a progressive one has about ten, and each costs as much as a whole decoding."""


def stated_size(data: bytes) -> tuple[int, int] | None:
    """Height and width as the header of a PNG, JPEG, WebP or AVIF states them; None where it is none of these."""
    try:
        if data.startswith(_PNG):
            return _png(data)
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        if data[4:8] == b"ftyp":
            return _avif(data)
    except struct.error:
        pass
    return None


def _png(data: bytes) -> tuple[int, int] | None:
    """None where a chunk claims more bytes than are there: OpenCV allocates what it claims, up to 4 GiB."""
    width, height = struct.unpack_from(">II", data, 16)
    at = len(_PNG)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if length > len(data) - at - 12:
            return None
        if kind == b"IEND":
            break
        at += 12 + length
    return height, width


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            # Libraries look for the height behind the first scan where it is 0 here; cameras never write that.
            return (height, width) if data.count(b"\xff\xda") <= MAX_SCANS and height else None
        elif marker == 0xDA:
            return None
        else:
            at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    return None


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8X":
        return int.from_bytes(data[27:30], "little") + 1, int.from_bytes(data[24:27], "little") + 1
    return None


def _avif(data: bytes) -> tuple[int, int] | None:
    """The largest of the image's parts and the whole."""
    sizes, at = [], data.find(b"ispe")
    while at >= 0:
        width, height = struct.unpack_from(">II", data, at + 8)
        sizes.append((height, width))
        at = data.find(b"ispe", at + 4)
    return max(sizes, key=lambda size: size[0] * size[1], default=None)
