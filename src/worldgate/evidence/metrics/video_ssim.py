"""Structural similarity of whole frames in grey: reported, never ranked by and never a gate.

Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03, as in the paper. Wang, Bovik, Sheikh and Simoncelli, IEEE
Transactions on Image Processing 13 (2004).

Shape legend: K steps ahead, H x W pixels, 3 colours.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter

from worldgate.core.streams import ByteArray, FloatArray
from worldgate.evidence.measured import Measured

CARD = {
    "line": "structural similarity of whole frames at each step ahead; reported, never gated",
    "inputs": "frames (K, H, W, 3) uint8",
    "source": "Wang et al., IEEE TIP 13 (2004)",
}
UNIT = "1"
BETTER: Literal["lower", "higher"] = "higher"
_GREY = np.array([0.299, 0.587, 0.114])


def measure(predicted_KHWC: ByteArray, real_KHWC: ByteArray, last_HWC: ByteArray) -> Measured:
    """Similarity at each step, from -1 to 1."""
    pairs = zip(predicted_KHWC, real_KHWC, strict=True)
    values = np.array([_similarity((a / 255.0) @ _GREY, (b / 255.0) @ _GREY) for a, b in pairs])
    return Measured(values, np.ones(len(values)))


def _similarity(a_HW: FloatArray, b_HW: FloatArray) -> float:
    def smooth(image_HW: FloatArray) -> FloatArray:
        out: FloatArray = gaussian_filter(image_HW, 1.5, truncate=3.5)
        return out

    mean_a, mean_b = smooth(a_HW), smooth(b_HW)
    var_a, var_b = smooth(a_HW * a_HW) - mean_a**2, smooth(b_HW * b_HW) - mean_b**2
    both = smooth(a_HW * b_HW) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return float((top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())
