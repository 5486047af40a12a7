"""Light that a camera does not manage: exposure set by hand, an automatic that hunts, a lamp that goes out or flickers.

Exposure acts on light, so pictures are brought to linear light (gamma 2.2) and back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import ByteArray, FloatArray, Log, Stream
from worldgate.data.injectors._wrap import Fault, Injected, Spans, film

CARD = {"line": "pictures too bright or dark, or whose brightness leaps, drifts or flickers", "inputs": "a camera"}

_SWEEP = (0.25, 0.5, 1.0, 2.0, 3.0)
FAULTS = (
    Fault(name="over", line="overexposed from start to end", unit="stops", least=3.0, sweep=_SWEEP),
    Fault(name="under", line="underexposed from start to end", unit="stops", least=5.0, sweep=(1.0, 3.0, 5.0, 7.0)),
    Fault(name="leap", line="the exposure leaps once and stays", unit="stops", least=1.0, sweep=_SWEEP),
    Fault(name="hunt", line="the automatic hunts up and down every second", unit="stops", least=1.0, sweep=_SWEEP),
    Fault(
        name="dusk", line="the light goes slowly, by so much at the end", unit="stops", least=6.0, sweep=(1.0, 3.0, 6.0)
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How far the exposure is off."""

    variant: str = "over"
    magnitude: float = 2.0
    """Stops: each doubles or halves the light."""
    stream: str = ""
    """The camera; empty: one by the seed."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with that light on one camera, as H.264."""

    def change(pixels: ByteArray, held: Stream) -> tuple[ByteArray, Spans]:
        seconds = (held.times_ns - held.times_ns[0]) / 1e9
        stops = config.magnitude * _course(config.variant, seconds, seed)
        for row, stop in enumerate(stops):
            table = np.clip(255 * (np.arange(256) / 255) * 2 ** (stop / 2.2), 0, 255).astype(np.uint8)
            pixels[row] = table[pixels[row]]
        return pixels, ()

    return film(log, config.stream, seed, "h264", change)


def _course(name: str, seconds: FloatArray, seed: int) -> FloatArray:
    """(N,) the exposure over time, 1 at its greatest."""
    draw = np.random.default_rng(seed)
    share = seconds / max(float(seconds[-1]), 1e-9)
    if name == "leap":
        return np.where(share > draw.uniform(0.3, 0.7), draw.choice([-1.0, 1.0]), 0.0)
    if name == "hunt":
        return np.where(np.floor(seconds) % 2 == 1, -1.0, 0.0)
    return {"over": np.ones_like(share), "under": -np.ones_like(share), "dusk": -share}[name]
