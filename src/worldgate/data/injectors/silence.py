"""A sensor falls silent: its driver hangs, its cable comes loose, or it is started late or stopped early."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Log
from worldgate.core.times import SECOND
from worldgate.data.injectors._wrap import Fault, Injected, counted, injected, numbers, stretch, taken

CARD = {"line": "no messages for a while, in the middle or at either end", "inputs": "any stream of numbers"}

_SWEEP = (0.125, 0.25, 0.5, 1.0, 2.0)
FAULTS = (
    Fault(name="middle", line="a driver hangs and comes back", unit="s", least=1.0, sweep=_SWEEP),
    Fault(name="head", line="a sensor is started late", unit="s", least=1.0, sweep=_SWEEP),
    Fault(name="tail", line="a sensor stops early, the others go on", unit="s", least=1.0, sweep=_SWEEP),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Where the silence lies and how long it is."""

    variant: str = "middle"
    magnitude: float = 1.0
    """Seconds without a message."""
    stream: str = ""
    """The stream; empty: the joint states."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log without these messages."""
    held = numbers(log, config.stream, seed)
    times, length = held.times_ns, round(config.magnitude * SECOND)
    gone = {
        "middle": stretch(held, config.magnitude, seed),
        "head": times < times.min() + length,
        "tail": times > times.max() - length,
    }[config.variant]
    start, end = int(times[gone].min()), int(times[gone].max()) + 1
    return injected(log, [counted(taken(held, np.flatnonzero(~gone)))], spans=((start, end),))
