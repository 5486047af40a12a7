"""A camera that shows nothing: its light or power fails, its shutter stays shut, its decoder gives an empty buffer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import ByteArray, Log, Stream
from worldgate.data.injectors._wrap import Fault, Injected, Spans, film, span_of, stretch

CARD = {"line": "pictures of one colour for a while", "inputs": "a camera"}

_SWEEP = (0.1, 0.5, 1.0, 2.0)
FAULTS = (
    Fault(name="black", line="zeros with the sensor's dark noise", unit="s", least=1.0, sweep=_SWEEP),
    Fault(name="white", line="everything burnt out", unit="s", least=1.0, sweep=_SWEEP),
    Fault(name="green", line="an empty YUV buffer: even green", unit="s", least=1.0, sweep=_SWEEP),
)
_COLOUR = {"black": (2, 2, 2), "white": (255, 255, 255), "green": (0, 135, 0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """For how long, in which colour."""

    variant: str = "black"
    magnitude: float = 1.0
    """Seconds."""
    stream: str = ""
    """The camera; empty: one by the seed."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with that camera blank for a while, as H.264."""
    draw = np.random.default_rng(seed)

    def change(pixels: ByteArray, held: Stream) -> tuple[ByteArray, Spans]:
        rows = stretch(held, config.magnitude, seed)
        noise = draw.normal(0, 1.0 if config.variant == "black" else 0.0, pixels[rows].shape)
        pixels[rows] = np.clip(np.array(_COLOUR[config.variant]) + noise, 0, 255).astype(np.uint8)
        return pixels, span_of(held, rows)

    return film(log, config.stream, seed, "h264", change)
