"""The word burned into pixels, so that an imagined picture says so wherever it is copied to.

Shape legend: H x W pixels, any leading dimensions.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from worldgate.core.streams import ByteArray, FloatArray, Origin

_INK = np.array([255.0, 214.0, 10.0])
_SHADE = 0.35
_DETAIL = 8


def burn(frames: ByteArray, origin: Origin = Origin.IMAGINED) -> ByteArray:
    """Write the origin's word along the lower edge of every picture: (..., H, W, 3) uint8 to a new array."""
    mask_HW1, band_HW1 = _stencil(origin.value, frames.shape[-3], frames.shape[-2])
    shaded = frames * (1 - _SHADE * band_HW1)
    return np.asarray(np.rint(shaded * (1 - mask_HW1) + _INK * mask_HW1), np.uint8)


@cache
def _stencil(word: str, height: int, width: int) -> tuple[FloatArray, FloatArray]:
    """Coverage of the letters and of the shaded band behind them, each (H, W, 1) from 0 to 1."""
    face, thick = cv2.FONT_HERSHEY_SIMPLEX, 5
    (wide, high), base = cv2.getTextSize(word, face, 2.0, thick)
    fit = 0.8 * width * _DETAIL / wide
    scale = 2.0 * min(fit, 0.14 * height * _DETAIL / high if height > 128 else fit)
    (wide, high), base = cv2.getTextSize(word, face, scale, thick)
    sheet = np.zeros((height * _DETAIL, width * _DETAIL), np.uint8)
    line = max(1, round(thick * scale / 2 * 1.6))
    at = (2 * _DETAIL, height * _DETAIL - base - _DETAIL // 2)
    cv2.putText(sheet, word, at, face, scale, 255, line, cv2.LINE_AA)
    letters = cv2.resize(sheet, (width, height), interpolation=cv2.INTER_AREA) / 255.0
    top = max(0, height - (high + 2 * base) // _DETAIL - 1)
    band = np.zeros((height, width))
    band[top:] = 1.0
    return np.minimum(1.0, 1.6 * letters)[..., None], band[..., None]
