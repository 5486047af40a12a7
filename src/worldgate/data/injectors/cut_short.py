"""A recording that ends before the episode does: a full disk, a kill, a protective stop that ends the script."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Log
from worldgate.core.times import SECOND
from worldgate.data.injectors._wrap import Fault, Injected, choose, counted, injected, motion, taken

CARD = {"line": "every stream ends early, while the robot moves", "inputs": "every stream"}

_SWEEP = (0.1, 0.2, 0.3, 0.5)
FAULTS = (
    Fault(name="clean", line="everything ends at one instant", unit="share of the log", least=0.3, sweep=_SWEEP),
    Fault(
        name="ragged",
        line="each stream ends within half a second as its buffer was written",
        unit="share of the log",
        least=0.3,
        sweep=_SWEEP,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How much is missing."""

    variant: str = "clean"
    magnitude: float = 0.3
    """Share of the log that is missing at its end, at least; it ends at the fastest moment of the second before."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log without its end; what it states of itself was written at its start and stays."""
    draw = np.random.default_rng(seed)
    times, speed = motion(log)
    last = int(times[0] + (times[-1] - times[0]) * (1 - config.magnitude))
    near = np.flatnonzero((times <= last) & (times > last - SECOND))
    choose(near.tolist(), "motion before the end")
    end = int(times[near[np.argmax(speed[near])]])
    shorter = []
    for held in (log.read(i.name) for i in log.streams()):
        early = round(float(draw.uniform(0, 0.5)) * SECOND) if config.variant == "ragged" else 0
        shorter.append(counted(taken(held, np.flatnonzero(held.times_ns < end - early))))
    return injected(log, shorter, spans=((end, int(times[-1])),))
