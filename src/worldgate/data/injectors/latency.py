"""States that come too late, too early or later and later: buffering, a wrong extrapolation, a queue that fills."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Kind, Log
from worldgate.core.times import SECOND
from worldgate.data.injectors._wrap import Fault, Injected, injected, numbers, pick, with_values

CARD = {"line": "states that follow their commands later, earlier or later and later", "inputs": "states and actions"}

_SWEEP = (0.05, 0.1, 0.2, 0.4, 0.8)
FAULTS = (
    Fault(name="late", line="states are so much older than their stamps say", unit="s", least=0.4, sweep=_SWEEP),
    Fault(name="early", line="states are so much younger than their stamps say", unit="s", least=0.8, sweep=_SWEEP),
    Fault(
        name="growing", line="states grow older from nothing to so much at the end", unit="s", least=0.8, sweep=_SWEEP
    ),
    Fault(
        name="stepped",
        line="a driver restarts with a deeper buffer: states are so much older from the middle on",
        unit="s",
        least=0.4,
        sweep=_SWEEP,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How late."""

    variant: str = "late"
    magnitude: float = 0.4
    """Seconds."""
    stream: str = ""
    """The stream; empty: the joint states."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with every state stream's values moved in time under its stamps: all come by one driver."""
    pick(log, (Kind.ACTION,), "", seed)
    first = numbers(log, config.stream, seed)
    start, end = int(first.times_ns[0]), int(first.times_ns[-1])
    names = [i.name for i in log.streams() if i.kind is Kind.VECTOR and i.name.startswith(first.info.name)]
    hurt = []
    for held in map(log.read, names):
        share = (held.times_ns - start) / max(end - start, 1)
        course = {
            "late": np.ones(len(held)),
            "early": -np.ones(len(held)),
            "growing": share,
            "stepped": np.where(share > 0.5, 1.0, 0.0),
        }
        seconds = course[config.variant] * config.magnitude
        wanted = held.times_ns - np.asarray(np.rint(seconds * SECOND), dtype=np.int64)
        rows = np.clip(np.searchsorted(held.times_ns, wanted, side="right") - 1, 0, len(held) - 1)
        hurt.append(with_values(held, held.array[rows]))
    return injected(log, hurt)
