"""Peak signal-to-noise ratio of whole frames, in dB: reported, never ranked by and never a gate.

Shape legend: K steps ahead, H x W pixels, 3 colours.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from worldgate.core.streams import ByteArray
from worldgate.evidence.measured import Measured

CARD = {
    "line": "peak signal-to-noise ratio of whole frames at each step ahead; reported, never gated",
    "inputs": "frames (K, H, W, 3) uint8",
    "source": "definition; equal frames count as 100 dB",
}
UNIT = "dB"
BETTER: Literal["lower", "higher"] = "higher"
CEILING = 100.0
"""dB given to frames that are equal, where the ratio has no value."""


def measure(predicted_KHWC: ByteArray, real_KHWC: ByteArray, last_HWC: ByteArray) -> Measured:
    """Ratio at each step, in dB; windows are averaged in dB."""
    error = (((predicted_KHWC.astype(np.float64) - real_KHWC) / 255.0) ** 2).mean(axis=(1, 2, 3))
    ratio = -10.0 * np.log10(np.maximum(error, 10.0 ** (-CEILING / 10.0)))
    return Measured(ratio, np.ones(len(ratio)))
