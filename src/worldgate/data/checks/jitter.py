"""Jitter: how far the steps between messages stray from the expected period.

The value is the 99th percentile of ``|step - period|`` as a share of the period, so one late message among hundreds is
left to the ``gaps`` check while a clock that wanders all the time is found here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Finding, Log, Stream
from worldgate.data.checks._spans import merge, period_ns, sampled

CARD = {
    "line": "steps between messages that stray from the expected period",
    "inputs": "every sampled stream",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How much a clock may wander."""

    most: float = 0.5
    """Greatest 99th percentile of the deviation, as a share of the period."""
    streams: tuple[str, ...] = ()
    """Only these; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find wandering clocks; the value is a share of the period."""
    return tuple(f for s in sampled(log, config.streams) for f in _jitter(s, config))


def _jitter(stream: Stream, config: Config) -> tuple[Finding, ...]:
    times = np.sort(stream.times_ns)
    period = period_ns(stream.info, times)
    if len(times) < 3 or period == 0:
        return ()
    stray = np.abs(np.diff(times) - period) / period
    value = float(np.quantile(stray, 0.99, method="inverted_cdf"))
    if value <= config.most:
        return ()
    wide = stray > config.most
    message = f"99 % of steps stray by up to {value:.0%} of the period of {period / 1e6:.3f} ms"
    return (
        Finding(
            check="jitter",
            stream=stream.info.name,
            message=message,
            value=value,
            limit=config.most,
            unit="period",
            spans_ns=merge(times[:-1][wide], times[1:][wide]),
        ),
    )
