"""A channel that no longer follows: a broken wire, an encoder without power, a driver that repeats its last value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Log
from worldgate.data.injectors._wrap import Fault, Injected, injected, liveliest, numbers, with_values

CARD = {"line": "one channel stands still while others go on", "inputs": "any stream of numbers"}

_SWEEP = (0.05, 0.1, 0.25, 0.5, 1.0)
FAULTS = (
    Fault(
        name="zero",
        line="a wire breaks: the value is zero to the end",
        unit="share of the log",
        least=0.5,
        sweep=_SWEEP,
    ),
    Fault(name="last", line="the last value is repeated to the end", unit="share of the log", least=0.5, sweep=_SWEEP),
    Fault(
        name="rail",
        line="the value sticks at the greatest it had, to the end",
        unit="share of the log",
        least=0.5,
        sweep=_SWEEP,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How the channel sticks, and for how long."""

    variant: str = "zero"
    magnitude: float = 0.5
    """Share of the log, from its end."""
    stream: str = ""
    """The stream; empty: the joint states."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with the channel of most motion stuck."""
    held = numbers(log, config.stream, seed)
    values, count = np.array(held.array, dtype=np.float64), len(held)
    channel, at = liveliest(held), min(round(count * (1.0 - config.magnitude)), count - 1)
    stuck = {"zero": 0.0, "last": values[at, channel], "rail": values[:, channel].max()}[config.variant]
    values[at:, channel] = stuck
    spans = ((int(held.times_ns[at]), int(held.times_ns[-1]) + 1),)
    return injected(log, [with_values(held, values)], spans=spans)
