"""A fixed camera that no longer stands where it was calibrated: knocked, or slipping in its mount.

Pictures are cut to their middle first, so that a displaced camera sees what was outside before and no black edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from worldgate.core.streams import ByteArray, FloatArray, Log, Stream
from worldgate.data.injectors._wrap import Fault, Injected, Spans, film

CARD = {"line": "a fixed camera is shifted, turned or slips", "inputs": "a fixed camera"}

_SWEEP = (0.5, 1.0, 2.0, 4.0, 8.0)
FAULTS = (
    Fault(name="shift", line="knocked sideways once", unit="% of the width", least=4.0, sweep=_SWEEP),
    Fault(name="turn", line="turned about its axis once", unit="deg", least=4.0, sweep=_SWEEP),
    Fault(name="slip", line="slips slowly, by so much at the end", unit="% of the width", least=4.0, sweep=_SWEEP),
    Fault(
        name="sag",
        line="a clamp that gives way: the camera nods and turns a little, at once",
        unit="% of the width",
        least=4.0,
        sweep=_SWEEP,
    ),
)

_MARGIN = 0.12
_SAG_DEG = 1.5
"""By which a camera that nods turns, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How far the camera moves."""

    variant: str = "shift"
    magnitude: float = 4.0
    """Percent of the picture's width, or degrees."""
    stream: str = ""
    """The camera; empty: one by the seed. Give a fixed one: a camera on a wrist moves anyway."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with that camera displaced, as H.264."""
    draw = np.random.default_rng(seed)
    sign = float(draw.choice([-1.0, 1.0]))

    def change(pixels: ByteArray, held: Stream) -> tuple[ByteArray, Spans]:
        count, height, width = pixels.shape[:3]
        at = count // 2
        course = (
            np.clip((np.arange(count) - at // 2) / at, 0, 1) if config.variant == "slip" else np.arange(count) >= at
        )
        for row, share in enumerate(course):
            pose = _pose(config, sign * float(share), height, width)
            pixels[row] = cv2.warpAffine(
                pixels[row], pose, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
            )
        start = int(held.times_ns[at // 2 if config.variant == "slip" else at])
        return pixels, ((start, int(held.times_ns[-1]) + 1),)

    return film(log, config.stream, seed, "h264", change)


def _pose(config: Config, share: float, height: int, width: int) -> FloatArray:
    """(2, 3) enlargement of the picture's middle, and the displacement."""
    degrees = config.magnitude * share if config.variant == "turn" else 0.0
    if config.variant == "sag":
        degrees = _SAG_DEG * share
    pose: FloatArray = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1 / (1 - 2 * _MARGIN))  # type: ignore[assignment]
    if config.variant == "sag":
        pose[1, 2] -= config.magnitude / 100 * width * abs(share)
    elif config.variant != "turn":
        pose[0, 2] += config.magnitude / 100 * width * share
    return pose
