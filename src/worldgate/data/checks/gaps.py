"""Gaps: a stream that stops for longer than a few of its periods, in the middle or before the log's end.

The expected period is the declared rate's, else the median step. The time from the log's first message to the stream's
first, and from its last to the log's last, count as gaps too: a camera that died half way has no message to be late.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Finding, Log, Stream
from worldgate.core.times import SECOND
from worldgate.data.checks._spans import merge, period_ns, sampled

CARD = {
    "line": "no messages for longer than a few periods, in the middle or at either end of the log",
    "inputs": "every sampled stream",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """When a pause is a gap."""

    periods: float = 3.0
    """Pauses longer than this many periods are gaps."""
    least_s: float = 0.0
    """Pauses shorter than this never are."""
    streams: tuple[str, ...] = ()
    """Only these; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find pauses; the value is the longest, in s."""
    streams = list(sampled(log, config.streams))
    full = [s for s in streams if len(s)]
    start = min((int(s.times_ns.min()) for s in full), default=0)
    end = max((int(s.times_ns.max()) for s in full), default=0)
    return tuple(f for s in streams for f in _gaps(s, start, end, config))


def _gaps(stream: Stream, start: int, end: int, config: Config) -> tuple[Finding, ...]:
    name = stream.info.name
    if not len(stream):
        return (
            Finding(
                check="gaps",
                stream=name,
                message="holds no message at all",
                value=(end - start) / SECOND,
                limit=0.0,
                unit="s",
                spans_ns=((start, end + 1),),
            ),
        )
    times = np.sort(stream.times_ns)
    limit = max(round(config.periods * period_ns(stream.info, times)), round(config.least_s * SECOND))
    edges = np.concatenate([[start], times, [end]])
    steps = np.diff(edges)
    late = steps > limit
    if limit == 0 or not late.any():
        return ()
    worst = int(steps.max())
    return (
        Finding(
            check="gaps",
            stream=name,
            message=f"{int(late.sum())} pauses longer than {limit / SECOND:.3f} s, the longest {worst / SECOND:.3f} s",
            value=worst / SECOND,
            limit=limit / SECOND,
            unit="s",
            spans_ns=merge(edges[:-1][late], edges[1:][late]),
        ),
    )
