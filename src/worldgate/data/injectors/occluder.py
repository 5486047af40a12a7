"""Something stands before the lens: a cloth, a cable tie, tape, dirt, a hand that stays."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from worldgate.core.streams import ByteArray, FloatArray, Log, Stream
from worldgate.data.injectors._wrap import Fault, Injected, Spans, film, span_of

CARD = {"line": "part of the picture is covered from a moment on", "inputs": "a camera"}

_SWEEP = (0.05, 0.1, 0.2, 0.4, 0.6)
FAULTS = (
    Fault(name="cloth", line="a dark cloth falls over one side", unit="share of the picture", least=0.2, sweep=_SWEEP),
    Fault(name="tape", line="bright tape in a corner", unit="share of the picture", least=0.2, sweep=_SWEEP),
    Fault(
        name="dirt",
        line="a smear of grease: a round patch without detail that lets the light through",
        unit="share of the picture",
        least=0.2,
        sweep=_SWEEP,
    ),
)


_OTHER = 8
"""Grey levels by which a pixel must differ for anybody to see it through noise and codec."""
_SEEN = 0.1
"""Least share of the picture that must differ so, half of the least that must be found."""
_COARSE = (5, 3)
"""Pixels that are left of what grease lets through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How much is covered."""

    variant: str = "cloth"
    magnitude: float = 0.2
    """Share of the picture's area."""
    stream: str = ""
    """The camera; empty: one by the seed."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with that before one camera from a third of the log to its end, with sensor noise, as H.264.

    Grease over what has no detail, or a cloth over what is as dark, leaves no trace: the pixels are what they were.
    """
    draw = np.random.default_rng(seed)

    def change(pixels: ByteArray, held: Stream) -> tuple[ByteArray, Spans]:
        height, width = pixels.shape[1:3]
        cover = _cover(config.variant, config.magnitude, height, width, draw)[..., None]
        rows = np.arange(len(held)) >= len(held) // 3
        for row in np.flatnonzero(rows):
            if config.variant == "dirt":
                over = cv2.resize(cv2.resize(pixels[row], _COARSE, interpolation=cv2.INTER_AREA), (width, height)) + 0.0
            else:
                over = np.full(pixels[row].shape, 30.0 if config.variant == "cloth" else 215.0)
            over += draw.normal(0, 1.0, over.shape)
            pixels[row] = np.clip(pixels[row] * (1 - cover) + over * cover, 0, 255)
        return pixels, span_of(held, rows)

    return film(log, config.stream, seed, "h264", change, _shows)


def _shows(before: ByteArray, after: ByteArray) -> bool:
    """Whether enough of the picture differs in half of the covered frames; by one pixel in sixteen, all colours."""
    thin = (slice(len(before) // 3, None), slice(None, None, 4), slice(None, None, 4))
    apart = np.abs(after[thin].astype(np.int16) - before[thin]).mean(axis=3)
    return bool(np.median((apart > _OTHER).mean(axis=(1, 2))) >= _SEEN)


def _cover(name: str, share: float, height: int, width: int, draw: np.random.Generator) -> FloatArray:
    """(H, W) 1 where it is covered, with the soft edge of what is near the lens."""
    y, x = np.mgrid[:height, :width]
    if name == "cloth":
        side = x if draw.random() < 0.5 else width - 1 - x
        cover = side < share * width
    elif name == "tape":
        cover = (x < np.sqrt(share) * width) & (y < np.sqrt(share) * height)
    else:
        middle = draw.uniform(0.4, 0.6, 2) * (height, width)
        cover = (y - middle[0]) ** 2 + (x - middle[1]) ** 2 < share * height * width / np.pi
    soft: FloatArray = cv2.GaussianBlur(cover.astype(np.float64), (0, 0), 0.01 * width)
    return soft
