"""Messages that never reach the recorder: a network that drops, a queue that overflows, a bus that batches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from worldgate.core.streams import IntArray, Log
from worldgate.data.injectors._wrap import Fault, Injected, counted, injected, numbers, span_of, taken

CARD = {"line": "messages lost one by one or in bursts, or handed over in batches", "inputs": "any stream of numbers"}

FAULTS = (
    Fault(
        name="random", line="each message is lost by itself", unit="share", least=0.05, sweep=(0.003, 0.01, 0.05, 0.2)
    ),
    Fault(name="bursts", line="messages are lost in bursts of five", unit="share", least=0.05, sweep=(0.01, 0.05, 0.2)),
    Fault(
        name="batched",
        line="messages arrive in batches that bear one stamp",
        unit="messages a batch",
        least=4.0,
        sweep=(2.0, 4.0, 8.0),
    ),
)

_BURST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How many messages, and how."""

    variant: str = "random"
    magnitude: float = 0.05
    """Share of all messages, or messages a batch."""
    stream: str = ""
    """The stream; empty: the joint states."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log without these messages; at least one is lost. First and last stay, so that the span is the same."""
    held, draw = numbers(log, config.stream, seed), np.random.default_rng(seed)
    count = len(held)
    if config.variant == "batched":
        size = max(1, round(config.magnitude))
        last = np.minimum(np.arange(count) // size * size + size - 1, count - 1)
        return injected(log, [replace(held, times_ns=held.times_ns[last])])
    lost = np.zeros(count, dtype=np.bool_)
    inner = np.arange(1, count - 1 - _BURST)
    wanted = max(1, round(config.magnitude * count))
    if config.variant == "random":
        lost[draw.choice(inner, size=min(wanted, len(inner)), replace=False)] = True
    else:
        starts: IntArray = draw.choice(inner[::_BURST], size=max(1, round(wanted / _BURST)), replace=False)
        lost[(starts[:, None] + np.arange(_BURST)).ravel()] = True
    return injected(log, [counted(taken(held, np.flatnonzero(~lost)))], spans=span_of(held, lost))
