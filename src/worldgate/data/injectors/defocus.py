"""Pictures that lose their detail: a lens out of focus, a camera that shakes, a fingerprint on the glass.

Sizes are shares of the picture's width, so that 640 and 64 pixels mean the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from worldgate.core.streams import ByteArray, Log, Stream
from worldgate.data.injectors._wrap import Fault, Injected, Spans, film, span_of, stretch

CARD = {"line": "blurred pictures for half of the log or all of it", "inputs": "a camera"}

_SWEEP = (0.25, 0.5, 1.0, 2.0, 4.0)
FAULTS = (
    Fault(
        name="lens",
        line="out of focus for half of the log: a Gaussian of this standard deviation",
        unit="% of the width",
        least=2.0,
        sweep=_SWEEP,
    ),
    Fault(
        name="shake",
        line="smeared along a line for half of the log",
        unit="% of the width",
        least=8.0,
        sweep=(1.0, 2.0, 4.0, 8.0),
    ),
    Fault(
        name="always",
        line="out of focus from the first picture to the last",
        unit="% of the width",
        least=4.0,
        sweep=(1.0, 2.0, 4.0, 8.0),
    ),
    Fault(
        name="drifts",
        line="a focus ring that works loose: from sharp in the first third of the log to so much in the last",
        unit="% of the width",
        least=4.0,
        sweep=(1.0, 2.0, 4.0, 8.0),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How blurred."""

    variant: str = "lens"
    magnitude: float = 2.0
    """Percent of the picture's width: standard deviation, or length of the smear."""
    stream: str = ""
    """The camera; empty: one by the seed."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with that camera blurred, with the sensor's noise after the lens, as H.264."""
    draw = np.random.default_rng(seed)

    def change(pixels: ByteArray, held: Stream) -> tuple[ByteArray, Spans]:
        size = config.magnitude / 100 * pixels.shape[2]
        rows = np.ones(len(held), dtype=np.bool_)
        course = np.ones(len(held))
        if config.variant == "drifts":
            course = np.clip(3 * np.linspace(0, 1, len(held)) - 1, 0, 1)
            rows = course > 0
        elif config.variant != "always":
            seconds = float(held.times_ns[-1] - held.times_ns[0]) / 2e9
            rows = stretch(held, seconds, seed, where=(0.05, 0.95))
        for row in np.flatnonzero(rows):
            soft = (
                _smeared(pixels[row], size)
                if config.variant == "shake"
                else cv2.GaussianBlur(pixels[row], (0, 0), size * course[row])
            )
            pixels[row] = np.clip(soft + draw.normal(0, 1.0, soft.shape), 0, 255)
        return pixels, span_of(held, rows)

    return film(log, config.stream, seed, "h264", change)


def _smeared(picture: ByteArray, length: float) -> ByteArray:
    kernel = np.zeros((2 * round(length / 2) + 1,) * 2, dtype=np.float32)
    kernel[np.arange(len(kernel)), np.arange(len(kernel))] = 1.0
    smeared: ByteArray = cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)  # type: ignore[assignment]
    return smeared
