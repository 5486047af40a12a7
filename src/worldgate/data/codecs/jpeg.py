"""JPEG at quality 90, a picture a frame: a tenth of the raw bytes, each frame decoded alone, straight into the batch.

By simplejpeg where it is installed (the extra ``jpeg``), else by OpenCV. Both are libjpeg-turbo and decode to the same
pixels; simplejpeg writes into the batch itself and is faster on small pictures.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from worldgate.core.errors import Tampered
from worldgate.core.streams import Array, ByteArray, IntArray
from worldgate.data.codecs._file import ClipFile, runs

try:
    import simplejpeg
except ModuleNotFoundError:  # OpenCV does the same, a little slower
    simplejpeg = None

CARD = {
    "line": "JPEG at quality 90, a picture a frame: a tenth of the bytes, some 3,000 frames/s a core at 256 px",
    "inputs": "images of any size",
    "source": "https://libjpeg-turbo.org",
}

LOSSY = 30.0
GROUPED = False

QUALITY = 90


def encode(frames: Iterable[Array], group: int) -> Iterator[bytes]:
    """One JPEG a frame, chroma at half resolution."""
    for frame in frames:
        pixels = np.ascontiguousarray(frame)
        if simplejpeg is not None:
            yield simplejpeg.encode_jpeg(pixels, quality=QUALITY, colorspace="RGB", colorsubsampling="420")
            continue
        ok, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        assert ok
        yield data.tobytes()


def reader(file: ClipFile) -> JpegReader:
    """Random access."""
    return JpegReader(file)


class JpegReader:
    """Reads the bytes of consecutive rows at once, and decodes each into its place."""

    def __init__(self, file: ClipFile) -> None:
        self._file = file

    def into(self, rows: IntArray, out: Array) -> None:
        for start, stop in runs(rows):
            entries = self._file.table[rows[start:stop]]
            low, high = int(entries["at"].min()), int((entries["at"] + entries["size"]).max())
            held = memoryview(os.pread(self._file.descriptor, high - low, low))
            for place, entry in zip(range(start, stop), entries, strict=True):
                at = int(entry["at"]) - low
                data = held[at : at + int(entry["size"])]
                self._file.check(int(rows[place]), np.frombuffer(data, np.uint8))
                self._decode(data, out[place])

    def _decode(self, data: memoryview, out: ByteArray) -> None:
        if simplejpeg is not None:
            simplejpeg.decode_jpeg(data, colorspace="RGB", buffer=out)
            return
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        if pixels is None or pixels.shape != out.shape:
            raise Tampered("a picture that does not decode", where=self._file.path)
        out[:] = pixels

    def close(self) -> None:
        self._file.close()
