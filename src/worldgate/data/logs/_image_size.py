"""The size that a JPEG or PNG states in its header, so that a folder of a million frames opens without decoding one.

Source: ITU-T T.81 annex B (frame header), RFC 2083 (IHDR).
"""

from __future__ import annotations

import struct
from typing import Final

from worldgate.data.logs._images import Encoded

_SOI: Final = b"\xff\xd8"
_EXIF: Final = 0xE1
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PNG: Final = b"\x89PNG\r\n\x1a\n"


def stated_shape(image: Encoded) -> tuple[int, int, int] | None:
    """(H, W, 3) of a colour image; None where the header does not say, or where EXIF may turn the picture."""
    data = image.data
    if data.startswith(_PNG) and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return int(height), int(width), 3
    at = 2 if data.startswith(_SOI) else len(data)
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _EXIF or length < 2:
            return None
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return int(height), int(width), 3
        at += 2 + length
    return None
