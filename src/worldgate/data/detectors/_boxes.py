"""What the detectors share: grey pictures of a size that a detector can work at, and boxes clipped to the picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np

from worldgate.core.streams import ByteArray, FloatArray, IntArray

Detect: TypeAlias = Callable[[ByteArray], IntArray]
"""An (H, W, 3) uint8 RGB picture to (K, 4) boxes ``x0, y0, x1, y1`` in pixels, half-open."""


def grey(image: ByteArray, least: int) -> tuple[ByteArray, float]:
    """An (H, W) picture whose shorter side is ``least`` pixels at least, and how much it was enlarged."""
    scale = max(1.0, least / min(image.shape[:2]))
    plain = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if scale > 1.0:
        plain = cv2.resize(plain, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return np.asarray(plain, np.uint8), scale


def clipped(boxes_K4: FloatArray, shape: tuple[int, ...]) -> IntArray:
    """Boxes rounded outward and cut to a picture of (H, W, ...); those that lie outside are dropped."""
    rows = np.asarray(boxes_K4, np.float64).reshape(-1, 4)
    height, width = shape[:2]
    low, high = np.floor(rows[:, :2]), np.ceil(rows[:, 2:])
    out = np.concatenate([np.maximum(low, 0), np.minimum(high, (width, height))], axis=1).astype(np.int64)
    return np.asarray(out[(out[:, 0] < out[:, 2]) & (out[:, 1] < out[:, 3])])
