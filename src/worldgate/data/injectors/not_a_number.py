"""Numbers that are none: a division by zero in a driver, a field that was never filled, an overrange."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Log
from worldgate.data.injectors._wrap import Fault, Injected, injected, numbers, span_of, with_values

CARD = {"line": "NaN or infinity among the numbers", "inputs": "any stream of numbers"}

FAULTS = (
    Fault(name="nan", line="single values are NaN", unit="values", least=1.0, sweep=(1.0, 10.0)),
    Fault(
        name="infinity", line="single values are infinite, of either sign", unit="values", least=1.0, sweep=(1.0, 10.0)
    ),
    Fault(name="rows", line="whole messages are NaN in a row", unit="messages", least=1.0, sweep=(1.0, 10.0)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How many."""

    variant: str = "nan"
    magnitude: float = 1.0
    """Values or messages."""
    stream: str = ""
    """The stream; empty: the joint states."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with these numbers."""
    held, draw = numbers(log, config.stream, seed), np.random.default_rng(seed)
    values = np.array(held.array, dtype=np.promote_types(held.array.dtype, np.float32))
    number = min(max(1, round(config.magnitude)), len(values))
    if config.variant == "rows":
        rows = int(draw.integers(0, len(values) - number + 1)) + np.arange(number)
        values[rows] = np.nan
    else:
        rows = np.sort(draw.choice(len(values), size=number, replace=False))
        wrong = np.nan if config.variant == "nan" else np.inf * draw.choice([-1.0, 1.0], size=number)
        values[rows, draw.integers(0, values.shape[1], size=number)] = wrong
    return injected(log, [with_values(held, values)], spans=span_of(held, rows))
