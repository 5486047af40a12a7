"""Frames of a camera that never reach the recorder, or reach it twice: a full USB bus, a slow encoder."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from worldgate.core.streams import Log
from worldgate.data.injectors._wrap import Fault, Injected, camera, counted, injected, span_of, taken

CARD = {"line": "camera frames lost one by one or in a burst, or written twice", "inputs": "any camera"}

FAULTS = (
    Fault(name="random", line="each frame is lost by itself", unit="share", least=0.05, sweep=(0.01, 0.02, 0.05, 0.2)),
    Fault(name="burst", line="frames in a row are lost once", unit="frames", least=5.0, sweep=(1.0, 2.0, 5.0, 10.0)),
    Fault(
        name="doubled",
        line="frames are written twice under one stamp",
        unit="frames",
        least=3.0,
        sweep=(1.0, 3.0, 10.0),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How many frames, and how."""

    variant: str = "random"
    magnitude: float = 0.05
    """Share of all frames, or frames."""
    stream: str = ""
    """The camera; empty: one by the seed."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log without these frames, or with them twice."""
    held, draw = camera(log, config.stream, seed), np.random.default_rng(seed)
    count = len(held)
    number = config.magnitude * count if config.variant == "random" else config.magnitude
    number = min(max(1, round(number)), count // 2)
    if config.variant == "burst":
        rows = int(draw.integers(1, count - 1 - number)) + np.arange(number)
    else:
        rows = np.sort(draw.choice(np.arange(1, count - 1), size=number, replace=False))
    if config.variant == "doubled":
        twice = np.sort(np.concatenate([np.arange(count), rows]))
        changed = taken(held, twice)
    else:
        changed = taken(held, np.setdiff1d(np.arange(count), rows))
    return injected(log, [replace(counted(changed))], spans=span_of(held, rows))
