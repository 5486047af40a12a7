"""Stamps: time that runs backwards or stands still from one message to the next, in recorded order.

Alignment handles both deterministically, but a clock that jumps back has been reset or steered, and its stream's timing
is no evidence. Containers may store messages out of order; those are counted too, because readers keep recorded order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Finding, IntArray, Log, Stream
from worldgate.data.checks._spans import merge, sampled

CARD = {
    "line": "stamps that run backwards or repeat",
    "inputs": "every sampled stream",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How many bad stamps pass."""

    backwards: int = 0
    """Steps back in time allowed."""
    repeated: int = 0
    """Repeated stamps allowed."""
    streams: tuple[str, ...] = ()
    """Only these; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find bad stamps; the value is their count."""
    return tuple(f for s in sampled(log, config.streams) for f in _stamps(s, config))


def _stamps(stream: Stream, config: Config) -> list[Finding]:
    times = stream.times_ns
    steps = np.diff(times)
    found = []
    for what, where, limit in (
        ("run backwards", np.flatnonzero(steps < 0), config.backwards),
        ("repeat", np.flatnonzero(steps == 0), config.repeated),
    ):
        if len(where) > limit:
            found.append(_finding(stream, what, where, limit))
    return found


def _finding(stream: Stream, what: str, where: IntArray, limit: int) -> Finding:
    before, after = stream.times_ns[where], stream.times_ns[where + 1]
    worst = int((before - after).max())
    size = f", by up to {worst / 1e6:.3f} ms" if worst > 0 else ""
    return Finding(
        check="stamps",
        stream=stream.info.name,
        message=f"{len(where)} of {len(stream)} stamps {what}{size}",
        value=float(len(where)),
        limit=float(limit),
        unit="stamps",
        spans_ns=merge(np.minimum(before, after), np.maximum(before, after) + 1),
    )
