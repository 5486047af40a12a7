"""Signals cut flat: an amplifier or converter whose range is smaller than what it measures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import FloatArray, Log
from worldgate.data.injectors._wrap import Fault, Injected, injected, liveliest, numbers, span_of, with_values

CARD = {"line": "values cut flat at a greatest or least one", "inputs": "any stream of numbers"}

_REACH = (1, 2, 4, 8)
"""Messages over which a bend is looked at."""
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
    """The log with the channel of most motion cut.

    Behind a coarse converter a cut has a trace only where the record bends more sharply than the signal does anywhere:
    else the robot came to rest there and set off again, and the record would be the same.
    """
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
    true = values[:, channel].copy()
    cut = np.clip(true, *np.quantile(true, [low, high]))
    values[:, channel] = cut
    trace = config.variant != "coarse" or any(_bend(cut, reach) > _bend(true, reach) for reach in _REACH)
    return injected(log, [with_values(held, values)], spans=span_of(held, cut != true), trace=trace)


def _bend(line: FloatArray, reach: int) -> float:
    """Greatest second difference over so many messages to both sides."""
    return float(np.abs(line[2 * reach :] - 2 * line[reach:-reach] + line[: -2 * reach]).max(initial=0.0))
