"""Pictures that a lossy codec keeps: a bright spot that moves over a slope of colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def film(length: int = 30, height: int = 48, width: int = 64, seed: int = 0) -> NDArray[np.uint8]:
    """(T, H, W, 3) RGB; the spot goes once around, and no two frames are alike."""
    y, x = np.mgrid[:height, :width]
    turn = 2 * np.pi * (np.arange(length)[:, None, None] / 23.7 + seed / 7.3)
    away = np.hypot(
        x - width * (0.5 + 0.35 * np.cos(turn)), (y - height * (0.5 + 0.35 * np.sin(turn))) * width / height
    )
    spot = 150 * np.exp(-((away / (0.12 * width)) ** 2))
    slope = np.stack([40 + 60 * x / width, 40 + 60 * y / height, 90 - 30 * x / width], -1)
    return np.clip(slope + spot[..., None] * np.array([1.0, 0.8, 0.6]), 0, 255).astype(np.uint8)
