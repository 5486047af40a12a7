"""Uneven stamps: a busy computer stamps messages when it gets to them, not when they were measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from worldgate.core.streams import Log
from worldgate.data.injectors._wrap import Fault, Injected, injected, numbers, period_ns

CARD = {"line": "steps between messages stray from the period", "inputs": "any stream of numbers"}

FAULTS = (
    Fault(
        name="gaussian",
        line="each stamp strays by itself",
        unit="periods (sd)",
        least=0.3,
        sweep=(0.05, 0.1, 0.2, 0.3, 0.5),
    ),
    Fault(
        name="late",
        line="one message in five is stamped late, by up to so much, never past its follower",
        unit="periods",
        least=0.8,
        sweep=(0.1, 0.2, 0.4, 0.8),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How stamps stray."""

    variant: str = "gaussian"
    magnitude: float = 0.3
    """Periods."""
    stream: str = ""
    """The stream; empty: the joint states."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with these stamps; they stay ascending, so that nothing else is wrong with them."""
    held, draw = numbers(log, config.stream, seed), np.random.default_rng(seed)
    period, count = period_ns(held), len(held)
    if config.variant == "gaussian":
        moved = held.times_ns + np.rint(draw.normal(0, config.magnitude * period, count)).astype(np.int64)
        times = np.sort(moved)
        times = np.maximum.accumulate(times - np.arange(count)) + np.arange(count)
    else:
        late = draw.random(count) < 0.2
        delay = np.rint(draw.uniform(0.5, 1.0, count) * config.magnitude * period).astype(np.int64)
        room = np.append(np.diff(held.times_ns), period) - 1
        times = held.times_ns + np.where(late, np.minimum(delay, np.maximum(room, 0)), 0)
    return injected(log, [replace(held, times_ns=times)])
