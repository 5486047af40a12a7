"""The encoder that needs no model: where a grey picture is light and dark, in its 12 x 12 lowest DCT coefficients.

The numbers that perceptual hashing (pHash) rounds to bits, kept as they are; the mean, the exposure, is left out.

Shape legend: N pictures, H x W pixels.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from worldgate.core.digest import sha256
from worldgate.core.streams import ByteArray, FloatArray

_SIDE: Final = 32
_LOW: Final = 12


class PixelEncoder:
    """Pictures to (143,) vectors; implements :class:`worldgate.core.encoders.Encoder`."""

    name = "pixels"

    @property
    def digest(self) -> str:
        """Of its two sizes: there are no weights."""
        return sha256(f"pixels/1 {_SIDE} {_LOW} {cv2.__version__}".encode())

    def encode(self, images_NHW3: ByteArray) -> FloatArray:
        """(N, H, W, 3) uint8 RGB to (N, 143) float32."""
        out = np.empty((len(images_NHW3), _LOW**2 - 1), dtype=np.float32)
        for place, image in zip(out, images_NHW3, strict=True):
            small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
            grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
            place[:] = cv2.dct(grey)[:_LOW, :_LOW].ravel()[1:]
        return out
