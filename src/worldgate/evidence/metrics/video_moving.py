"""Mean squared error of frames where something happens, on intensities from 0 to 1.

The moving region is that of :mod:`worldgate.evidence.moving`. It favours whoever predicts some change over a plain
copy, which is why ``video_mse`` stands beside it.

Shape legend: K steps ahead, H x W pixels, 3 colours.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from worldgate.core.streams import ByteArray
from worldgate.evidence.evaluation.measures import Setup
from worldgate.evidence.evaluation.regions import Moving
from worldgate.evidence.measured import Measured
from worldgate.evidence.moving import region, squares

CARD = {
    "line": "mean squared error where the real video moves, at each step ahead, on intensities from 0 to 1",
    "inputs": "frames (K, H, W, 3) uint8 and the last known frame",
    "source": "definition; threshold 16 of 255 grey levels",
}
UNIT = "1"
BETTER: Literal["lower", "higher"] = "lower"


def measure(predicted_KHWC: ByteArray, real_KHWC: ByteArray, last_HWC: ByteArray) -> Measured:
    """Error at each step over the moving region; weight 0 where nothing has moved yet."""
    total, count = squares(predicted_KHWC, real_KHWC, region(real_KHWC, last_HWC))
    return Measured(np.divide(total, count, out=np.zeros_like(total), where=count > 0), count)


def build(setup: Setup) -> Moving:
    """For every colour camera of an evaluation.

    Raises:
        NotMeasured: the model gives no colour pictures.
    """
    return Moving(setup, "moving", unit=UNIT, better=BETTER, reduction="mean")
