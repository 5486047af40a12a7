"""Joints beyond what the robot can do: a calibration that is off, a recording played too fast."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from worldgate.core.streams import Log
from worldgate.data.injectors._wrap import (
    Fault,
    Injected,
    choose,
    injected,
    numbers,
    rate_of,
    span_of,
    units,
    with_values,
)

CARD = {"line": "joint angles or speeds beyond the robot's own limits", "inputs": "states whose limits are given"}

FAULTS = (
    Fault(
        name="beyond",
        line="a calibration is off, so that the joint's far end lies beyond its limit",
        unit="rad",
        least=0.1,
        sweep=(0.005, 0.02, 0.1, 0.5),
    ),
    Fault(
        name="fast",
        line="a joint swings so many times faster than it can",
        unit="times",
        least=1.5,
        sweep=(1.05, 1.2, 1.5, 3.0),
    ),
    Fault(
        name="overshoot",
        line="a joint swings beyond its limit for a moment and comes back",
        unit="rad",
        least=0.1,
        sweep=(0.005, 0.02, 0.1, 0.5),
    ),
)

_RESOLVED = 12
"""Messages a swing has at least: with fewer, its greatest speed is in none of the differences between messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The robot's limits and how far they are exceeded."""

    variant: str = "beyond"
    magnitude: float = 0.1
    """Radians beyond the limit, or times the greatest speed."""
    stream: str = ""
    """The stream; empty: the joint states."""
    upper: tuple[float, ...] = field(default=())
    """Greatest angle of each of the first channels, rad; as the maker gives it."""
    speed: tuple[float, ...] = field(default=())
    """Greatest speed of each of the first channels, rad/s."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with one joint beyond its limit."""
    held = numbers(log, config.stream, seed)
    given = config.speed if config.variant == "fast" else config.upper
    joints = [c for c in range(len(given)) if units(held)[c] == "rad"]
    channel = choose(joints, "limits given")[seed % max(len(joints), 1)]
    values, seconds = np.array(held.array, dtype=np.float64), (held.times_ns - held.times_ns[0]) / 1e9
    if config.variant == "beyond":
        values[:, channel] += given[channel] + config.magnitude - values[:, channel].max()
        rows = values[:, channel] > given[channel]
    elif config.variant == "overshoot":
        length = max(1.0, _RESOLVED / rate_of(held))
        since = seconds - float(seconds[len(seconds) // 2])
        hump = np.where(np.abs(since) < length / 2, (1 + np.cos(2 * np.pi * since / length)) / 2, 0.0)
        values[:, channel] += hump * (given[channel] + config.magnitude - values[len(seconds) // 2, channel])
        rows = values[:, channel] > given[channel]
    else:
        # A swing whose greatest speed is the one wanted: amplitude is speed over 2 pi f.
        middle, length = float(seconds[len(seconds) // 2]), max(1.0, _RESOLVED / rate_of(held))
        rows = np.abs(seconds - middle) < length / 2
        turns = 2 * np.pi / length
        swing = config.magnitude * given[channel] / turns * np.sin(turns * (seconds - middle))
        still = values[np.argmax(rows), channel]
        values[rows, channel] = still + swing[rows]
        later = np.flatnonzero(rows)[-1] + 1
        values[later:, channel] += still - values[later : later + 1, channel].sum()
    return injected(log, [with_values(held, values)], spans=span_of(held, rows))
