"""Counts that do not agree: a writer is killed before its last messages, an index is written by another program."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from worldgate.core.streams import Log
from worldgate.data.injectors._wrap import Fault, Injected, camera, injected, numbers, taken

CARD = {"line": "the number of messages is not the one that is declared", "inputs": "any stream"}

_SWEEP = (1.0, 3.0, 10.0)
FAULTS = (
    Fault(name="fewer", line="messages that are declared are not there", unit="messages", least=1.0, sweep=_SWEEP),
    Fault(name="more", line="there are more messages than declared", unit="messages", least=1.0, sweep=_SWEEP),
    Fault(name="camera", line="frames that are declared are not there", unit="frames", least=1.0, sweep=_SWEEP),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How far the counts lie apart."""

    variant: str = "fewer"
    magnitude: float = 1.0
    """Messages."""
    stream: str = ""
    """The stream; empty: the joint states, or a camera by the seed."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log whose declared count stays while its last messages go, or the other way round."""
    held = (camera if config.variant == "camera" else numbers)(log, config.stream, seed)
    off, count = max(1, round(config.magnitude)), len(held)
    if config.variant == "more":
        return injected(log, [replace(held, info=replace(held.info, count=count - off))])
    declared = replace(held, info=replace(held.info, count=count))
    return injected(log, [taken(declared, np.arange(count - off))])
