"""Mean squared error of whole frames, on intensities from 0 to 1: 0.01 is 20 dB of PSNR.

Of a static camera most pixels never change, so a copy of the last frame does well here; read it beside
``video_moving``.

Shape legend: K steps ahead, H x W pixels, 3 colours.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from worldgate.core.streams import ByteArray
from worldgate.evidence.measured import Measured

CARD = {
    "line": "mean squared error of whole frames at each step ahead, on intensities from 0 to 1",
    "inputs": "frames (K, H, W, 3) uint8",
    "source": "definition",
}
UNIT = "1"
BETTER: Literal["lower", "higher"] = "lower"


def measure(predicted_KHWC: ByteArray, real_KHWC: ByteArray, last_HWC: ByteArray) -> Measured:
    """Error at each step; every pixel counts, ``last_HWC`` is not needed."""
    square = ((predicted_KHWC.astype(np.float64) - real_KHWC) / 255.0) ** 2
    error = square.mean(axis=(1, 2, 3))
    return Measured(error, np.full(len(error), float(square[0].size)))
