"""Jump: a state or command that leaps further between two messages than the robot can move.

Where a greatest rate is given for a stream, every faster step is a jump. Elsewhere a step is a jump when it is many
times the channel's own large steps; across a gap it may have moved for as many periods as are missing. Channels that
rest most of the time (grippers, switches) have no such scale and are left to an explicit rate. Angles that wrap by one
turn are unwrapped first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from worldgate.core.streams import NUMERIC, BoolArray, Finding, FloatArray, IntArray, Kind, Log, Stream
from worldgate.core.times import SECOND
from worldgate.data.checks._spans import columns, merge, sampled

CARD = {
    "line": "states and actions that leap further than the robot can move",
    "inputs": "every stream of numbers",
}

_RESTING = 0.5
"""Channels whose steps are zero more often than this have no scale of their own."""
_MOVES = 0.2
"""Share of a channel's large steps from which on it moves."""
_PAUSES = 0.05
"""Share of them below which it hardly does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What a leap is."""

    rates: Mapping[str, float] = field(default_factory=dict)
    """Stream -> greatest rate of change of any channel, in the stream's unit a second."""
    times: float = 20.0
    """Elsewhere: this many times the 95th percentile of the channel's steps."""
    streams: tuple[str, ...] = ()
    """Only these; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find leaps; the value is a rate in the stream's unit a second, or a multiple of the usual step."""
    streams = (s for s in sampled(log, config.streams) if s.info.kind in NUMERIC and len(s) > 3)
    return tuple(f for s in streams for f in _jump(s, config))


def _jump(stream: Stream, config: Config) -> tuple[Finding, ...]:
    order = np.argsort(stream.times_ns, kind="stable")
    times = stream.times_ns[order]
    values = columns(stream)[order]
    values = np.where(np.isfinite(values), values, np.nan)  # the finite check reports these
    limit = config.rates.get(stream.info.name)
    if stream.info.kind is Kind.POSE:
        values = values[:, :3]
    steps = np.nan_to_num(np.abs(_unwrapped(np.diff(values, axis=0), values)))
    if limit is None:
        steps = steps / _periods(times)[:, None]
        size, unit, limit = steps / _scale(steps), "usual steps", config.times
    else:
        seconds = np.maximum(np.diff(times), 1)[:, None] / SECOND
        size, unit = steps / seconds, f"{stream.info.unit.split(',')[0] or '1'}/s"
    leaps: BoolArray = size > limit
    if not leaps.any():
        return ()
    row, channel = np.unravel_index(int(size.argmax()), size.shape)
    name = stream.info.names[channel] if channel < len(stream.info.names) else str(channel)
    at = leaps.any(axis=1)
    return (
        Finding(
            check="jump",
            stream=stream.info.name,
            message=f"{int(at.sum())} leaps, the greatest of {size[row, channel]:.3g} {unit} in {name}",
            value=float(size[row, channel]),
            limit=limit,
            unit=unit,
            spans_ns=merge(times[:-1][at], times[1:][at]),
        ),
    )


def _periods(times: IntArray) -> FloatArray:
    """(N - 1,) how many usual periods lie between two messages, at least one."""
    between = np.diff(times)
    usual = float(np.median(between[between > 0])) if (between > 0).any() else 1.0
    return np.maximum(between / usual, 1.0)


def _unwrapped(steps: FloatArray, values: FloatArray) -> FloatArray:
    """Steps of about one turn in a channel that stays within one turn are the angle wrapping."""
    reach, leap = (np.nan_to_num(np.abs(a)).max(axis=0) for a in (values, steps))
    angle = (reach < np.pi + 0.01) & (leap > 1.6 * np.pi)
    return np.where(angle, (steps + np.pi) % (2 * np.pi) - np.pi, steps)


def _scale(steps: FloatArray) -> FloatArray:
    """(D,) a channel's large but usual step while it moves; infinite where it mostly rests."""
    large = np.quantile(steps, 0.95, axis=0)
    for channel in np.flatnonzero(np.median(steps, axis=0) < _PAUSES * large):
        line = steps[:, channel]  # a robot that pauses for most of the log is no slower for it
        large[channel] = np.quantile(line[line > _MOVES * large[channel]], 0.95)
    resting = np.mean(steps == 0.0, axis=0) > _RESTING
    return np.where(resting | (large <= 0), np.inf, large)
