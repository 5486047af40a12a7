"""Photographs of a scenario's initial state: PNG or JPEG in the store, laid over a camera's picture to set it up again.

The size stands in the header and is read before anything is decoded, so that a small file cannot fill the memory. What
a phone writes beside the pixels (place, time, owner, a small picture of what was cropped away) does not come into the
store: the picture is turned upright, as its EXIF says, and encoded again.
"""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np

from worldgate.core.errors import DataRefused, NotFound
from worldgate.core.streams import Array, ByteArray
from worldgate.record.workspace import Workspace

MOST_BYTES = 20_000_000
MOST_PIXELS = 50_000_000
_PNG = b"\x89PNG\r\n\x1a\n"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers that begin a frame and hold its size (ITU-T T.81, table B.1)."""


def keep(ws: Workspace, path: Path) -> str:
    """Put a photograph into the store, upright and without anything but its pixels; returns its digest.

    Raises:
        NotFound: no such file.
        DataRefused: not a PNG or JPEG that can be read, or too large a one.
    """
    if not path.is_file():
        raise NotFound("no such photograph", where=path)
    if path.stat().st_size > MOST_BYTES:
        raise DataRefused("too large for a photograph", got=f"{path.stat().st_size} bytes", where=path)
    return keep_bytes(ws, path.read_bytes(), where=str(path))


def keep_bytes(ws: Workspace, data: bytes, *, where: str) -> str:
    """As :func:`keep`, from bytes."""
    size = size_of(data)
    if size is None or size[0] * size[1] > MOST_PIXELS or min(size) < 1:
        raise DataRefused("not a PNG or JPEG of a usable size", got=size or f"{data[:8]!r}", where=where)
    upright = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if upright is None:
        raise DataRefused("a photograph that cannot be read", got=f"{len(data)} bytes", where=where)
    return ws.store.put_bytes(_encoded(upright, ".png" if data.startswith(_PNG) else ".jpg"))


def encode(picture: ByteArray) -> bytes:
    """PNG of an (H, W, 3) RGB picture."""
    return _encoded(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), ".png")


def _encoded(picture_bgr: Array, ending: str) -> bytes:
    settings = [cv2.IMWRITE_JPEG_QUALITY, 92] if ending == ".jpg" else []
    done, data = cv2.imencode(ending, picture_bgr, settings)
    assert done
    return bytes(data)


def size_of(data: bytes) -> tuple[int, int] | None:
    """Width and height as a PNG's or JPEG's header tells them; None: neither."""
    if data.startswith(_PNG) and data[12:16] == b"IHDR" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return int(width), int(height)
    return _jpeg_size(data) if data.startswith(b"\xff\xd8") else None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return int(width), int(height)
        place += 2 + max(length, 2)
    return None
