"""The size that an image states is what its decoder makes, and too large a one is never decoded."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.logs import samples

from worldgate.core.errors import ConfigError, LogUnreadable
from worldgate.core.streams import Kind
from worldgate.data.logs import _images as images
from worldgate.data.logs._image_head import MAX_SCANS, stated_size
from worldgate.data.logs._limits import Limits

WRITERS: dict[str, list[int]] = {
    ".png": [],
    ".jpg": [],
    ".jpg progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 80],
    ".webp lossless": [cv2.IMWRITE_WEBP_QUALITY, 101],
    ".avif": [],
}


def encode(name: str, height: int, width: int) -> bytes:
    ok, data = cv2.imencode(name.split()[0], samples.pictures(1, height, width)[0], WRITERS[name])
    assert ok
    return data.tobytes()


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=15, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90))
def test_the_stated_size_is_the_decoded_one(name: str, height: int, width: int) -> None:
    assert stated_size(encode(name, height, width)) == (height, width)


def png(height: int, width: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1 << 16))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def patched(name: str) -> bytes:
    """A small image whose header claims as much as the format allows."""
    data = bytearray(encode(name, 40, 40))
    if name.startswith(".jpg"):
        at = next(data.index(bytes([0xFF, m])) for m in (0xC0, 0xC2) if bytes([0xFF, m]) in data)
        data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    elif name == ".webp":
        data[26:30] = b"\xff\x3f\xff\x3f"
    elif name == ".avif":
        at = data.index(b"ispe") + 8
        data[at : at + 8] = b"\x00\x01\x86\xa0" * 2
    return bytes(data)


@pytest.mark.parametrize(
    ("format", "data"),
    [
        ("png", png(100_000, 100_000)),
        ("jpeg", patched(".jpg")),
        ("jpeg", patched(".jpg progressive")),
        ("webp", patched(".webp")),
        ("avif", patched(".avif")),
        ("jpeg", png(100_000, 100_000) + b"\xff\xd9"),
    ],
)
def test_a_bomb_is_refused_before_it_is_decoded(format: str, data: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(LogUnreadable, match="limit pixels"):
        images.decode(images.Encoded(data=data, format=format), Kind.IMAGE)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_the_limit_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    image = images.Encoded(data=encode(".png", 40, 40), format="png")
    assert images.decode(image, Kind.IMAGE).shape == (40, 40, 3)
    monkeypatch.setenv("WORLDGATE_LIMITS", "pixels=1599, chunk_bytes=7")
    assert Limits.from_environment() == Limits(pixels=1599, chunk_bytes=7)
    with pytest.raises(LogUnreadable, match="limit pixels=1599"):
        images.decode(image, Kind.IMAGE)


@pytest.mark.parametrize(
    "text", ["pixel=3", "pixels", "pixels=", "pixels=-1", "pixels=0", "pixels=1e9", "pixels=\u0663"]
)
def test_a_limit_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"key|positive"):
        Limits.from_environment({"WORLDGATE_LIMITS": text})


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = encode(".jpg progressive", 40, 40)
    at = data.index(b"\xff\xda")
    bomb = data[:-2] + data[at:-2] * MAX_SCANS + b"\xff\xd9"
    with pytest.raises(LogUnreadable, match="does not decode"):
        images.decode(images.Encoded(data=bomb, format="jpeg"), Kind.IMAGE)


@pytest.mark.parametrize("name", [".bmp", ".tiff", ".ppm", ".hdr"])
def test_formats_that_no_camera_writes_are_refused(name: str) -> None:
    picture: Any = samples.pictures(1)[0]
    ok, data = cv2.imencode(name, picture.astype(np.float32) if name == ".hdr" else picture)
    assert ok
    with pytest.raises(LogUnreadable, match="does not decode"):
        images.decode(images.Encoded(data=data.tobytes(), format="webp"), Kind.IMAGE)


def test_one_row_with_a_step_of_a_terabyte_takes_no_more_than_its_row() -> None:
    row = images.Encoded(data=bytes(range(12)), format="rgb8", height=1, width=4, step=1 << 40)
    assert images.decode(row, Kind.IMAGE).shape == (1, 4, 3)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=80), head=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"RIFFxxxxWEBPVP8X"]))
def test_rubbish_has_some_size_or_none(data: bytes, head: bytes) -> None:
    size = stated_size(head + data)
    assert size is None or (size[0] >= 0 and size[1] >= 0)
