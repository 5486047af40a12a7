"""Orientations that are none: a mean of quaternions that was never normalised, a solver that changes its sign."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Kind, Log
from worldgate.data.injectors._wrap import Fault, Injected, injected, pick, span_of, with_values

CARD = {"line": "quaternions of the wrong length, or whose sign flips", "inputs": "a pose stream"}

FAULTS = (
    Fault(
        name="length",
        line="quaternions are too short by so much",
        unit="1",
        least=0.05,
        sweep=(0.0005, 0.005, 0.05, 0.3),
    ),
    Fault(name="flips", line="single quaternions have the other sign", unit="messages", least=1.0, sweep=(1.0, 5.0)),
    Fault(
        name="zeros", line="single quaternions are all zero: never filled", unit="messages", least=1.0, sweep=(1.0, 5.0)
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is wrong, and how much."""

    variant: str = "length"
    magnitude: float = 0.05
    """Missing length, or messages."""
    stream: str = ""
    """The stream; empty: the first of poses."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with these orientations."""
    held, draw = pick(log, (Kind.POSE,), config.stream, seed), np.random.default_rng(seed)
    values, count = np.array(held.array, dtype=np.float64), len(held)
    if config.variant == "length":
        rows = np.arange(count)
        values[:, 3:7] *= 1.0 - config.magnitude
    else:
        rows = np.sort(
            draw.choice(np.arange(1, count - 1), size=min(max(1, round(config.magnitude)), count - 2), replace=False)
        )
        values[rows, 3:7] *= -1.0 if config.variant == "flips" else 0.0
    return injected(log, [with_values(held, values)], spans=span_of(held, rows))
