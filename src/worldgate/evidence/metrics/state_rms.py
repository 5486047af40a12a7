"""Error of predicted numbers by horizon: root mean square over the channels that share a unit.

``e_h = sqrt(mean_c (x^_{t+h,c} - x_{t+h,c})^2)``, in the channels' own unit, so that radians never add to metres. The
caller has wrapped the differences of angles that turn around.

Shape legend: K steps ahead, D channels of one unit.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from worldgate.core.streams import FloatArray
from worldgate.evidence.measured import Measured

CARD = {
    "line": "root mean square error of the channels that share a unit, at each step ahead",
    "inputs": "states (K, D) in one unit",
    "source": "governance of the gap, W1: e_h against hold-last and constant velocity",
}
UNIT = ""
BETTER: Literal["lower", "higher"] = "lower"


def measure(predicted_KD: FloatArray, real_KD: FloatArray, last_D: FloatArray) -> Measured:
    """Error at each step, in the signal's unit; ``last_D`` is not needed."""
    square = (np.asarray(predicted_KD, np.float64) - np.asarray(real_KD, np.float64)) ** 2
    return Measured(np.sqrt(square.mean(axis=1)), np.ones(len(square)))
