"""Stamps that do not ascend: two threads write one topic, or a driver hands a buffer out twice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from worldgate.core.streams import Log
from worldgate.data.injectors._wrap import Fault, Injected, injected, numbers, period_ns, span_of

CARD = {"line": "stamps that run backwards, repeat or swap", "inputs": "any stream of numbers"}

FAULTS = (
    Fault(
        name="backwards",
        line="one stamp lies before its predecessor's",
        unit="periods",
        least=1.0,
        sweep=(0.1, 0.5, 1.0, 10.0),
    ),
    Fault(
        name="repeated",
        line="messages bear their predecessor's stamp",
        unit="messages",
        least=3.0,
        sweep=(1.0, 3.0, 10.0),
    ),
    Fault(
        name="swapped",
        line="pairs of neighbours are written in the wrong order",
        unit="pairs",
        least=1.0,
        sweep=(1.0, 5.0),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Which stamps, and by how much."""

    variant: str = "backwards"
    magnitude: float = 1.0
    """Periods before the predecessor, messages, or pairs."""
    stream: str = ""
    """The stream; empty: the joint states."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with these stamps."""
    held, draw = numbers(log, config.stream, seed), np.random.default_rng(seed)
    times, count = held.times_ns.copy(), len(held)
    places = 1 if config.variant == "backwards" else max(1, round(config.magnitude))
    rows = np.sort(draw.choice(np.arange(2, count - 2, 3), size=min(places, (count - 4) // 3), replace=False))
    if config.variant == "backwards":
        times[rows] = times[rows - 1] - round(config.magnitude * period_ns(held))
    elif config.variant == "repeated":
        times[rows] = times[rows - 1]
    else:
        times[rows], times[rows - 1] = times[rows - 1].copy(), times[rows].copy()
    return injected(log, [replace(held, times_ns=times)], spans=span_of(held, rows))
