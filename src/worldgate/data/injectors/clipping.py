"""Signals cut flat: an amplifier or converter whose range is smaller than what it measures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Log
from worldgate.data.injectors._wrap import Fault, Injected, injected, liveliest, numbers, span_of, with_values

CARD = {"line": "values cut flat at a greatest or least one", "inputs": "any stream of numbers"}

_SWEEP = (0.01, 0.05, 0.15, 0.3)
FAULTS = (
    Fault(name="high", line="cut at the top", unit="share of messages", least=0.15, sweep=_SWEEP),
    Fault(name="low", line="cut at the bottom", unit="share of messages", least=0.15, sweep=_SWEEP),
    Fault(
        name="coarse",
        line="cut at the top of a converter of 8 bits, whose values repeat anyway",
        unit="share of messages",
        least=0.15,
        sweep=_SWEEP,
    ),
    Fault(name="both", line="cut at both ends", unit="share of messages", least=0.3, sweep=_SWEEP),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Where, and how many messages are cut."""

    variant: str = "high"
    magnitude: float = 0.15
    """Share of the messages whose value is cut."""
    stream: str = ""
    """The stream; empty: the joint states."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with the channel of most motion cut."""
    held = numbers(log, config.stream, seed)
    values, channel, share = np.array(held.array, dtype=np.float64), liveliest(held), config.magnitude
    low, high = {
        "high": (0.0, 1 - share),
        "low": (share, 1.0),
        "coarse": (0.0, 1 - share),
        "both": (share / 2, 1 - share / 2),
    }[config.variant]
    if config.variant == "coarse":
        step = np.ptp(values[:, channel]) / 255
        values[:, channel] = np.round(values[:, channel] / step) * step
    cut = np.clip(values[:, channel], *np.quantile(values[:, channel], [low, high]))
    spans = span_of(held, cut != values[:, channel])
    values[:, channel] = cut
    return injected(log, [with_values(held, values)], spans=spans)
