"""Something stands before the lens: a cloth, a cable tie, tape, dirt, a hand that stays, a drop of water.

A drop is a lens of its own, far too near to be in focus: within it the whole scene stands upside down and small, drawn
soft, and darker towards the rim, where light is turned away. (Roser and Geiger, Video-based raindrop detection for
improved image registration, 2009; von Bernuth et al., Simulating photo-realistic snow and fog, 2019, render it so.)
"""

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
    Fault(
        name="drop",
        line="a drop of water that stays: the scene in it upside down, small and soft",
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
_SOFT = 0.03
"""Standard deviation of a drop's picture, share of the width: it is some millimetres from the glass."""
_RIM = 0.35
"""Share of the light that is missing at a drop's rim."""


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
            over = _over(config.variant, pixels[row], cover[..., 0])
            over += draw.normal(0, 1.0, over.shape)
            pixels[row] = np.clip(pixels[row] * (1 - cover) + over * cover, 0, 255)
        return pixels, span_of(held, rows)

    return film(log, config.stream, seed, "h264", change, _shows)


def _shows(before: ByteArray, after: ByteArray) -> bool:
    """Whether enough of the picture differs in half of the covered frames; by one pixel in sixteen, all colours."""
    thin = (slice(len(before) // 3, None), slice(None, None, 4), slice(None, None, 4))
    apart = np.abs(after[thin].astype(np.int16) - before[thin]).mean(axis=3)
    return bool(np.median((apart > _OTHER).mean(axis=(1, 2))) >= _SEEN)


def _over(name: str, picture: ByteArray, cover: FloatArray) -> FloatArray:
    """(H, W, 3) what is seen where it is covered."""
    height, width = cover.shape
    if name == "dirt":
        return cv2.resize(cv2.resize(picture, _COARSE, interpolation=cv2.INTER_AREA), (width, height)) + 0.0
    if name == "drop":
        return _dropped(picture, cover)
    return np.full(picture.shape, 30.0 if name == "cloth" else 215.0)


def _dropped(picture: ByteArray, cover: FloatArray) -> FloatArray:
    """(H, W, 3) the scene as a drop shows it, within its bounds; elsewhere the picture as it is."""
    rows, cols = (np.flatnonzero((cover > 0.01).any(axis=axis)) for axis in (1, 0))
    inside = (slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1))
    size = (int(cols[-1] - cols[0]) + 1, int(rows[-1] - rows[0]) + 1)
    scene = cv2.resize(picture[::-1, ::-1], size, interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(scene.astype(np.float64), (0, 0), _SOFT * cover.shape[1])
    y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    out = picture.astype(np.float64)
    out[inside] = soft * (1 - _RIM * np.minimum(x**2 + y**2, 1.0) ** 2)[..., None]
    return out


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
