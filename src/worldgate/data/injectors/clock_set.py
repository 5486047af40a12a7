"""A clock is set while it is recorded by: network time arrives late, a battery is empty, a summer-time script runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from worldgate.core.streams import Log
from worldgate.core.times import SECOND
from worldgate.data.injectors._wrap import Fault, Injected, injected, numbers

CARD = {"line": "a sensor's clock leaps, or starts again at 1970", "inputs": "any stream of numbers"}

_SWEEP = (0.05, 0.2, 1.0, 60.0, 3600.0)
FAULTS = (
    Fault(name="forward", line="the clock is set forward on the way", unit="s", least=1.0, sweep=_SWEEP),
    Fault(name="back", line="the clock is set back on the way", unit="s", least=1.0, sweep=_SWEEP),
    Fault(
        name="reset", line="the device restarts, its clock begins at 1970", unit="restarts", least=1.0, sweep=(1.0, 2.0)
    ),
    Fault(
        name="hours", line="the device keeps local time, the recorder UTC", unit="h", least=1.0, sweep=(0.5, 1.0, 8.0)
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is done to the clock."""

    variant: str = "forward"
    magnitude: float = 1.0
    """Seconds, restarts, or hours."""
    stream: str = ""
    """The stream; empty: the joint states."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with stamps of that clock; when the recorder wrote each message stays as it was."""
    held, draw = numbers(log, config.stream, seed), np.random.default_rng(seed)
    wrote = held.times_ns if held.log_times_ns is None else held.log_times_ns
    times, count = held.times_ns.copy(), len(held)
    at = round(count * float(draw.uniform(0.3, 0.7)))
    if config.variant == "hours":
        at, times = 0, times + round(config.magnitude * 3600) * SECOND
    elif config.variant == "reset":
        edges = np.linspace(at, count, round(config.magnitude) + 1).astype(int)
        for start, end in pairwise(edges.tolist()):
            times[start:end] -= times[start] - 8 * SECOND
    else:
        times[at:] += (1 if config.variant == "forward" else -1) * round(config.magnitude * SECOND)
    info = replace(held.info, clock="header")
    return injected(log, [replace(held, info=info, times_ns=times, log_times_ns=wrote)])
