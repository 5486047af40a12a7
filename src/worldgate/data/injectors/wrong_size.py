"""Pictures of another size than declared: a camera falls back to its default mode, a script swaps width and height."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from worldgate.core.streams import Log
from worldgate.data.injectors._wrap import Fault, Injected, camera, injected, pictures, with_pictures

CARD = {"line": "pictures are not of the declared size", "inputs": "a camera"}

FAULTS = (
    Fault(
        name="smaller",
        line="pictures are so many times smaller than declared",
        unit="times",
        least=1.25,
        sweep=(1.25, 2.0),
    ),
    Fault(
        name="swapped", line="width and height are declared the wrong way round", unit="times", least=1.0, sweep=(1.0,)
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How far off the size is."""

    variant: str = "smaller"
    magnitude: float = 2.0
    """Declared width over true width."""
    stream: str = ""
    """The camera; empty: one by the seed."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with that camera's pictures of another size than its stream says, as H.264."""
    held = camera(log, config.stream, seed)
    pixels = pictures(held)
    height, width = pixels.shape[1:3]
    shape: tuple[int, ...] = (height, width, 3)
    if config.variant == "swapped":
        # A square picture has no wrong way round: it is cut to three quarters first.
        pixels = pixels[:, : height * 3 // 4 // 2 * 2]
        shape = (width, pixels.shape[1], 3)
    else:
        size = (round(width / config.magnitude) // 2 * 2, round(height / config.magnitude) // 2 * 2)
        pixels = np.stack([cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in pixels]).astype(np.uint8)
    changed = with_pictures(held, pixels, "h264")
    return injected(log, [replace(changed, info=replace(held.info, shape=shape))])
