"""Absolute relative error of depth (AbsRel): ``|predicted - true| / true`` over pixels whose truth has a return.

No return is 0 m, in predictions too: a pixel that a model leaves out counts with an error of 1, so leaving out gains
nothing. What a model makes up where the truth has no return is not counted.

Source: Eigen, Puhrsch and Fergus, NeurIPS 2014, section 3.3 (AbsRel).

Shape legend: K steps ahead, H x W pixels.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from worldgate.core.streams import FloatArray
from worldgate.evidence.measured import Measured

CARD = {
    "line": "absolute relative error of depth at each step ahead",
    "inputs": "depth pictures (K, H, W) in metres, 0 where there is no return",
    "source": "Eigen, Puhrsch and Fergus, NeurIPS 2014",
}
UNIT = "1"
BETTER: Literal["lower", "higher"] = "lower"


def measure(predicted_KHW: FloatArray, real_KHW: FloatArray, last_HW: FloatArray) -> Measured:
    """Error at each step; weight is the number of pixels with a true return, ``last_HW`` is not needed."""
    real = np.asarray(real_KHW, np.float64)
    there = np.isfinite(real) & (real > 0)
    apart = np.abs(predicted_KHW - real)
    error = np.divide(apart, real, out=np.zeros_like(real), where=there).sum(axis=(1, 2))
    count = there.sum(axis=(1, 2)).astype(np.float64)
    return Measured(np.divide(error, count, out=np.zeros_like(error), where=count > 0), count)
