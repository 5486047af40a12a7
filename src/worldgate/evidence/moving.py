"""Where something happens in a video: the pixels in which it differs from the last known frame.

A pixel belongs to the moving region at step h if the real video differs there from the last known frame by more than
``THRESHOLD`` in some colour at any step up to h: what has moved away and what has come count alike. The region
depends on the real video alone, so nobody who is measured can change it.

Shape legend: K steps ahead, H x W pixels, 3 colours.
"""

from __future__ import annotations

import numpy as np

from worldgate.core.streams import BoolArray, ByteArray, FloatArray

THRESHOLD = 16
"""Grey levels of 255: above camera noise and compression, below any object."""


def region(real_KHWC: ByteArray, last_HWC: ByteArray, before_HW: BoolArray | None = None) -> BoolArray:
    """(K, H, W) pixels that have changed by step h; ``before_HW`` had already changed before the first."""
    changed = np.abs(real_KHWC.astype(np.int16) - last_HWC).max(axis=3) > THRESHOLD
    if before_HW is not None:
        changed[0] |= before_HW
    return np.logical_or.accumulate(changed, axis=0)


def squares(predicted_KHWC: ByteArray, real_KHWC: ByteArray, mask_KHW: BoolArray) -> tuple[FloatArray, FloatArray]:
    """(K,) summed squared error over the region, mean over colours, on intensities from 0 to 1; and its pixels."""
    square = (((predicted_KHWC.astype(np.float64) - real_KHWC) / 255.0) ** 2).mean(axis=3)
    return (square * mask_KHW).sum(axis=(1, 2)), mask_KHW.sum(axis=(1, 2)).astype(np.float64)
