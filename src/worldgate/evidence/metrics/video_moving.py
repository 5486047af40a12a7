"""Mean squared error of frames where something happens, on intensities from 0 to 1.

A pixel belongs to the moving region at step h if the real video differs there from the last known frame by more than
``THRESHOLD`` in some colour at any step up to h: what has moved away and what has come count alike. The region
depends on the real video alone, so nobody who is measured can change it. It favours whoever predicts some change over
a plain copy, which is why ``video_mse`` stands beside it.

Shape legend: K steps ahead, H x W pixels, 3 colours.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from worldgate.core.streams import BoolArray, ByteArray
from worldgate.evidence.measured import Measured

CARD = {
    "line": "mean squared error where the real video moves, at each step ahead, on intensities from 0 to 1",
    "inputs": "frames (K, H, W, 3) uint8 and the last known frame",
    "source": "definition; threshold 16 of 255 grey levels",
}
UNIT = "1"
BETTER: Literal["lower", "higher"] = "lower"
THRESHOLD = 16
"""Grey levels of 255: above camera noise and compression, below any object."""


def region(real_KHWC: ByteArray, last_HWC: ByteArray) -> BoolArray:
    """(K, H, W) pixels that have changed by step h."""
    changed = np.abs(real_KHWC.astype(np.int16) - last_HWC).max(axis=3) > THRESHOLD
    return np.logical_or.accumulate(changed, axis=0)


def measure(predicted_KHWC: ByteArray, real_KHWC: ByteArray, last_HWC: ByteArray) -> Measured:
    """Error at each step over the moving region; weight 0 where nothing has moved yet."""
    mask_KHW = region(real_KHWC, last_HWC)
    square = (((predicted_KHWC.astype(np.float64) - real_KHWC) / 255.0) ** 2).mean(axis=3)
    count = mask_KHW.sum(axis=(1, 2)).astype(np.float64)
    total = (square * mask_KHW).sum(axis=(1, 2))
    return Measured(np.divide(total, count, out=np.zeros_like(total), where=count > 0), count)
