"""One sensor's clock is not the recorder's: it runs fast, was never set to the network's time, or lags behind."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from worldgate.core.streams import Log
from worldgate.core.times import SECOND
from worldgate.data.injectors._wrap import Fault, Injected, injected, numbers

CARD = {"line": "one sensor's clock drifts or stands off from the others", "inputs": "any stream of numbers"}

FAULTS = (
    Fault(
        name="drift",
        line="a crystal far out of specification",
        unit="ppm",
        least=20_000.0,
        sweep=(200.0, 2_000.0, 20_000.0, 50_000.0),
    ),
    Fault(
        name="ahead",
        line="stamps lie in the future of the recorder's own",
        unit="s",
        least=0.5,
        sweep=(0.02, 0.1, 0.5, 2.0),
    ),
    Fault(
        name="behind",
        line="stamps lie behind the recorder's own: a queue before the recorder",
        unit="s",
        least=0.5,
        sweep=(0.02, 0.1, 0.5, 2.0),
    ),
    Fault(
        name="warming",
        line="a crystal that warms up: stamps run ahead more and more at first, and stay ahead by so much",
        unit="s",
        least=0.2,
        sweep=(0.01, 0.05, 0.2, 1.0),
    ),
)

_WARM = 0.15
"""Share of the log after which two thirds of the way to the final offset are made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How the clock is wrong."""

    variant: str = "drift"
    magnitude: float = 20_000.0
    """Parts per million, or seconds."""
    stream: str = ""
    """The stream; empty: the joint states."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with the sensor's stamps on the wrong clock; when the recorder wrote each message stays as it was."""
    held = numbers(log, config.stream, seed)
    wrote = held.times_ns if held.log_times_ns is None else held.log_times_ns
    if config.variant == "drift":
        since = held.times_ns - held.times_ns[0]
        times = held.times_ns + np.rint(since * (config.magnitude * 1e-6)).astype(np.int64)
    elif config.variant == "warming":
        since = (held.times_ns - held.times_ns[0]) / max(int(held.times_ns[-1] - held.times_ns[0]), 1)
        offset = config.magnitude * (1 - np.exp(-since / _WARM))
        times = held.times_ns + np.rint(offset * SECOND).astype(np.int64)
    else:
        sign = 1 if config.variant == "ahead" else -1
        times = held.times_ns + sign * round(config.magnitude * SECOND)
    info = replace(held.info, clock="header")
    return injected(log, [replace(held, info=info, times_ns=times, log_times_ns=wrote)])
