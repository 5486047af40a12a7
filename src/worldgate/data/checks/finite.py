"""Finite: NaN and infinity among the numbers of a stream, channel by channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import NUMERIC, BoolArray, Finding, Log, Stream
from worldgate.data.checks._spans import columns, marked, period_ns, sampled

CARD = {
    "line": "NaN and infinity",
    "inputs": "every stream of numbers",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How many numbers may be missing."""

    most: int = 0
    """Messages with a number that is not finite."""
    streams: tuple[str, ...] = ()
    """Only these; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find messages with NaN or infinity; the value is their count."""
    streams = (s for s in sampled(log, config.streams) if s.info.kind in NUMERIC)
    return tuple(f for s in streams for f in _finite(s, config))


def _finite(stream: Stream, config: Config) -> tuple[Finding, ...]:
    broken = ~np.isfinite(columns(stream))
    rows: BoolArray = np.asarray(broken.any(axis=1))
    count = int(rows.sum())
    if count <= config.most:
        return ()
    channels = np.flatnonzero(broken.any(axis=0))
    names = [stream.info.names[c] if c < len(stream.info.names) else str(c) for c in channels[:6]]
    more = ", ..." if len(channels) > 6 else ""
    return (
        Finding(
            check="finite",
            stream=stream.info.name,
            message=f"{count} of {len(stream)} messages are not finite, in {', '.join(names)}{more}",
            value=float(count),
            limit=float(config.most),
            unit="messages",
            spans_ns=marked(stream.times_ns, rows, period_ns(stream.info, np.sort(stream.times_ns))),
        ),
    )
