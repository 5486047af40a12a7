"""Images as they stand in a container: encoded bytes, decoded one frame at a time through OpenCV.

The content digest of such frames covers the encoded bytes in order and nothing that a decoder makes of them, so it is
the same in every container that carries the same bytes. ROS encodings: REP 118 and ``sensor_msgs/image_encodings``.

Shape legend: K frames asked for, H x W pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Array, ByteArray, IntArray, Kind
from worldgate.data.logs._image_head import stated_size
from worldgate.data.logs._limits import Limits
from worldgate.data.scaling import scale_into

COMPRESSED = frozenset({"png", "jpeg", "webp", "avif"})
VIDEO = frozenset({"h264", "h265", "av1"})
"""Formats whose images need those before them; no single one is decoded here."""

_END = {"png": b"IEND\xaeB`\x82", "jpeg": b"\xff\xd9"}
_TRAILER = 64
"""Cameras pad an image by a few bytes; its end mark stands within these last ones."""

_RAW: dict[str, tuple[str, int]] = {
    "rgb8": ("u1", 3),
    "bgr8": ("u1", 3),
    "8UC3": ("u1", 3),
    "rgba8": ("u1", 4),
    "bgra8": ("u1", 4),
    "8UC4": ("u1", 4),
    "mono8": ("u1", 1),
    "8UC1": ("u1", 1),
    "mono16": ("u2", 1),
    "16UC1": ("u2", 1),
    "32SC1": ("i4", 1),
    "32FC1": ("f4", 1),
    "32FC3": ("f4", 3),
    "yuyv": ("u1", 2),
    "yuv422_yuy2": ("u1", 2),
    "uyvy": ("u1", 2),
    "yuv422": ("u1", 2),
}
"""Encoding to element type and channels."""

_TO_RGB = {
    "bgr8": cv2.COLOR_BGR2RGB,
    "8UC3": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "8UC4": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
    "8UC1": cv2.COLOR_GRAY2RGB,
    "yuyv": cv2.COLOR_YUV2RGB_YUY2,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
}

_MILLIMETRES = frozenset({"16UC1", "mono16"})
"""Depth in these encodings is in millimetres (REP 118)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """One image as it stands in the container."""

    data: bytes
    format: str
    """``png``, ``jpeg``, ``webp``, or a raw encoding such as ``rgb8`` and ``32FC1``."""
    height: int = 0
    """Pixels; raw encodings only, as the next three."""
    width: int = 0
    step: int = 0
    """Bytes of a row; 0 means rows are packed."""
    bigendian: bool = False


def kind_of(encoded: Encoded) -> Kind:
    """Colour, depth or normals, by the raw encoding; compressed images are colour."""
    if encoded.format in {"32FC1", "16UC1"}:
        return Kind.DEPTH
    if encoded.format in {"32SC1"}:
        return Kind.SEGMENTATION
    return Kind.NORMALS if encoded.format == "32FC3" else Kind.IMAGE


def decode(encoded: Encoded, kind: Kind, dtype: str = "") -> Array:
    """Decode one image to the form its kind has in :class:`~worldgate.core.streams.Kind`.

    Raises:
        LogUnreadable: bytes that are no such image.
    """
    pixels = _decompress(encoded, kind) if encoded.format in COMPRESSED else _raw(encoded)
    if kind is Kind.DEPTH:
        metres = pixels.astype(np.float32)
        return metres / np.float32(1000) if pixels.dtype == np.uint16 else metres
    if kind is Kind.IMAGE and encoded.format not in COMPRESSED:
        return _rgb(pixels, encoded.format)
    return pixels.astype(dtype, copy=False) if dtype else pixels


def decode_into(encoded: Encoded, out: ByteArray) -> None:
    """Decode a colour image into ``out`` (H, W, 3), at its size.

    A JPEG that is at least twice as large is decoded at half, quarter or eighth size, which its cosine transform gives
    for less work than the whole, and then averaged over areas.

    Raises:
        LogUnreadable: bytes that are no such image.
    """
    reduced = 1
    size = stated_size(encoded.data) if encoded.format == "jpeg" else None
    if size is not None:
        room = min(size[0] // out.shape[0], size[1] // out.shape[1])
        reduced = max(part for part in _REDUCED if part <= max(room, 1))
    pixels = decode(encoded, Kind.IMAGE) if reduced == 1 else _decompress(encoded, Kind.IMAGE, _REDUCED[reduced])
    scale_into(pixels if reduced == 1 else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), out, Kind.IMAGE)


_REDUCED = {1: 0, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
"""Part of the size that OpenCV decodes a JPEG at, to its flag; the channels are then blue first."""


def _decompress(encoded: Encoded, kind: Kind, reduced: int = 0) -> Array:
    end = _END.get(encoded.format)
    if end is not None and end not in encoded.data[-_TRAILER:]:
        # OpenCV would fill what is missing with grey and say nothing.
        raise LogUnreadable("an image that is cut off", got=f"{len(encoded.data)} bytes of {encoded.format}")
    size, most = stated_size(encoded.data), Limits.from_environment().pixels
    if size is None:
        raise LogUnreadable("an image that does not decode", got=f"{len(encoded.data)} bytes of {encoded.format}")
    if size[0] * size[1] > most:
        raise LogUnreadable(f"an image larger than the limit pixels={most}", got=f"{size[1]}x{size[0]}")
    buffer = np.frombuffer(encoded.data, dtype=np.uint8)
    flag = reduced or (cv2.IMREAD_COLOR_RGB if kind is Kind.IMAGE else cv2.IMREAD_UNCHANGED)
    try:
        pixels = cv2.imdecode(buffer, flag) if len(buffer) else None
    except cv2.error as error:
        raise LogUnreadable("an image that does not decode", got=str(error.err)[:80]) from error
    if pixels is None:
        raise LogUnreadable("an image that does not decode", got=f"{len(buffer)} bytes of {encoded.format}")
    return pixels


def _raw(encoded: Encoded) -> Array:
    if encoded.format not in _RAW:
        known = ", ".join(sorted(_RAW))
        raise LogUnreadable("an image encoding that is not read", got=encoded.format[:40], hint=f"one of {known}")
    element, channels = _RAW[encoded.format]
    dtype = np.dtype(element).newbyteorder(">" if encoded.bigendian else "<")
    packed = encoded.width * channels * dtype.itemsize
    step = packed if encoded.height == 1 else encoded.step or packed
    if packed <= 0 or step < packed or len(encoded.data) < step * (encoded.height - 1) + packed or encoded.height <= 0:
        got = f"{encoded.width}x{encoded.height} {encoded.format}, step {step}, {len(encoded.data)} bytes"
        raise LogUnreadable("an image whose size and bytes disagree", got=got)
    if channels == 2 and encoded.width % 2:
        raise LogUnreadable("two pixels of such an image share a colour", got=f"{encoded.width} pixels in a row")
    rows = np.frombuffer(encoded.data.ljust(step * encoded.height, b"\0")[: step * encoded.height], dtype=np.uint8)
    pixels = rows.reshape(encoded.height, step)[:, :packed].copy().view(dtype).astype(element)
    shape = (encoded.height, encoded.width, channels)
    return pixels.reshape(shape if channels > 1 else shape[:2])


def _rgb(pixels: Array, encoding: str) -> Array:
    if encoding == "rgb8":
        return pixels
    if encoding in _TO_RGB:
        return np.asarray(cv2.cvtColor(pixels, _TO_RGB[encoding]))
    raise LogUnreadable("an encoding that is not a colour image", got=encoding)


def encode(pixels: Array, format: str, quality: int = 95) -> bytes:
    """Compress (H, W, 3) uint8 RGB, or (H, W) uint8/uint16, to PNG or JPEG."""
    parameters: list[int] = []
    if format == "jpeg":
        parameters = [cv2.IMWRITE_JPEG_QUALITY, quality]
    elif format == "png":
        parameters = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    ordered: Any = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    ok, data = cv2.imencode(".jpg" if format == "jpeg" else ".png", ordered, parameters)
    assert ok, format
    return data.tobytes()


def raw(pixels: Array, encoding: str) -> Encoded:
    """Wrap an array as a raw little-endian image of this encoding."""
    element, _ = _RAW[encoding]
    little = np.ascontiguousarray(pixels, dtype=np.dtype(element).newbyteorder("<"))
    height, width = little.shape[:2]
    step = little.nbytes // height
    return Encoded(data=little.tobytes(), format=encoding, height=height, width=width, step=step)


def digest(images: Iterable[Encoded]) -> str:
    """SHA-256 over encoded images in order: each one's header line (raw ones name their layout), length and bytes."""
    h = hashlib.sha256()
    for image in images:
        layout = "" if image.format in COMPRESSED else f"{image.format} {image.height} {image.width} {image.step}"
        layout += " big" if image.bigendian else ""
        h.update(f"{layout}\n{len(image.data)}\n".encode())
        h.update(image.data)
    return h.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedFrames:
    """Frames over encoded images that are fetched when asked for; fulfils :class:`worldgate.core.streams.Frames`."""

    fetch: Callable[[IntArray], Iterable[Encoded]]
    """Encoded images of these indices, in this order."""
    count: int
    kind: Kind = Kind.IMAGE
    dtype: str = ""
    """Element type to return, where the container knows better than the image (segmentation ids)."""
    where: str = ""

    def __len__(self) -> int:
        return self.count

    def encoded(self, indices: IntArray) -> Iterable[Encoded]:
        """The encoded images, so that a writer can pass them on unchanged."""
        return self.fetch(indices)

    def read(self, indices: IntArray) -> Array:
        """Decode the frames of these indices.

        Raises:
            LogUnreadable: an image that does not decode, or one whose size differs from the others.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        assert len(wanted) == 0 or (wanted.min() >= 0 and wanted.max() < self.count), self.where
        out: Array | None = None
        for row, image in enumerate(self.fetch(wanted)):
            try:
                pixels = decode(image, self.kind, self.dtype)
            except LogUnreadable as error:
                raise LogUnreadable(error.what, got=error.got, where=f"{self.where}:frame {wanted[row]}") from error
            if out is None:
                out = np.empty((len(wanted), *pixels.shape), dtype=pixels.dtype)
            if pixels.shape != out.shape[1:]:
                raise LogUnreadable(
                    "frames of one stream differ in size", got=f"{pixels.shape} after {out.shape[1:]}", where=self.where
                )
            out[row] = pixels
        return np.empty((0,), dtype=np.uint8) if out is None else out

    def read_into(self, indices: IntArray, out: ByteArray) -> None:
        """Decode the colour images of these indices, in this order, into ``out`` (K, H, W, 3), scaled to its size.

        Raises:
            LogUnreadable: an image that does not decode.
        """
        for row, image in enumerate(self.fetch(np.asarray(indices, dtype=np.int64))):
            try:
                decode_into(image, out[row])
            except LogUnreadable as error:
                raise LogUnreadable(error.what, got=error.got, where=f"{self.where}:frame {indices[row]}") from error

    def content_digest(self) -> str:
        """SHA-256 over the encoded images, in order."""
        return digest(self.fetch(np.arange(self.count, dtype=np.int64)))

    def slice(self, keep: IntArray) -> EncodedFrames:
        """Only the frames of these indices, renumbered from 0."""
        fetch = self.fetch
        return EncodedFrames(
            fetch=lambda indices: fetch(keep[indices]),
            count=len(keep),
            kind=self.kind,
            dtype=self.dtype,
            where=self.where,
        )
