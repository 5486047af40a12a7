"""Peak signal-to-noise ratio where something happens, in dB: of the error that ``video_moving`` measures.

Windows are pooled by their error, not in dB, so one window in which hardly a pixel moves cannot rule the mean. Each
future counts by itself: the mean of several blurred futures is not what anyone will see.

Shape legend: K steps ahead, H x W pixels, 3 colours.
"""

from __future__ import annotations

from worldgate.evidence.evaluation.measures import Setup
from worldgate.evidence.evaluation.regions import Moving

CARD = {
    "line": "peak signal-to-noise ratio where the real video moves, at each step ahead",
    "inputs": "frames",
    "source": "definition; threshold 16 of 255 grey levels",
}


def build(setup: Setup) -> Moving:
    """For every colour camera.

    Raises:
        NotMeasured: the model gives no colour pictures.
    """
    return Moving(setup, "moving_psnr", unit="dB", better="higher", reduction="decibel")
