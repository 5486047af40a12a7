"""How far classes of pixels are from the true ones: ``1 - mIoU``, the mean over the classes that the truth shows.

Of each class, pixels that both call so over pixels that either calls so; every class counts alike, however small. Said
as an error, so that skill and gates read it as they read any other; mIoU is one less it.

Source: Everingham et al., IJCV 111 (2015), section 3.2.3 (intersection over union of classes).

Shape legend: K steps ahead, H x W pixels.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from worldgate.core.streams import Array
from worldgate.evidence.measured import Measured

CARD = {
    "line": "1 - mIoU of class ids at each step ahead",
    "inputs": "pictures of class ids (K, H, W)",
    "source": "Everingham et al., IJCV 111 (2015)",
}
UNIT = "1"
BETTER: Literal["lower", "higher"] = "lower"


def measure(predicted_KHW: Array, real_KHW: Array, last_HW: Array) -> Measured:
    """Error at each step; windows count alike, ``last_HW`` is not needed."""
    error = np.array([_error(said, true) for said, true in zip(predicted_KHW, real_KHW, strict=True)])
    return Measured(error, np.ones(len(error)))


def _error(said_HW: Array, true_HW: Array) -> float:
    shares = []
    for one in np.unique(true_HW):
        said, true = said_HW == one, true_HW == one
        shares.append(np.logical_and(said, true).sum() / np.logical_or(said, true).sum())
    return 1.0 - float(np.mean(shares))
