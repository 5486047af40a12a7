"""Single messages that are wrong: a flipped bit on a bus, a lost byte, a sensor that says zero once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Log
from worldgate.data.injectors._wrap import Fault, Injected, injected, liveliest, numbers, span_of, with_values

CARD = {"line": "a single message far off, the next one right again", "inputs": "any stream of numbers"}

FAULTS = (
    Fault(
        name="pulse",
        line="one value strays by so many times the channel's own range",
        unit="ranges",
        least=0.5,
        sweep=(0.05, 0.1, 0.2, 0.5, 2.0),
    ),
    Fault(
        name="bit",
        line="one bit of a float32's exponent is flipped: so many times too large",
        unit="doublings",
        least=2.0,
        sweep=(1.0, 2.0, 4.0, 8.0),
    ),
    Fault(
        name="zero", line="all channels of a message are zero, once each", unit="messages", least=1.0, sweep=(1.0, 3.0)
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What strays, and how far."""

    variant: str = "pulse"
    magnitude: float = 0.5
    """Ranges of the channel, doublings, or messages."""
    stream: str = ""
    """The stream; empty: the joint states."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with these values."""
    held, draw = numbers(log, config.stream, seed), np.random.default_rng(seed)
    values, count = np.array(held.array, dtype=np.float64), len(held)
    inner = np.arange(count // 10 + 1, count - count // 10 - 1)
    channel = liveliest(held)
    rows = np.array([int(draw.choice(inner))])
    if config.variant == "pulse":
        values[rows, channel] += config.magnitude * np.ptp(values[:, channel]) * draw.choice([-1.0, 1.0])
    elif config.variant == "bit":
        # Where the channel is far from zero: zero doubled is zero.
        rows = inner[np.argsort(-np.abs(values[inner, channel]), kind="stable")[: len(inner) // 2]]
        rows = np.array([int(draw.choice(rows))])
        values[rows, channel] *= 2.0**config.magnitude
    else:
        rows = np.sort(
            draw.choice(inner[::5], size=min(max(1, round(config.magnitude)), len(inner[::5])), replace=False)
        )
        values[rows] = 0.0
    return injected(log, [with_values(held, values)], spans=span_of(held, rows))
