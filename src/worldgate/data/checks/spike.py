"""Spike: a single message, or a few, that leaves a smooth signal and comes back: a bit error, a glitch of an encoder.

A message that lies beyond both its neighbours on the same side is held against the channel's own large but usual
steps: a robot that turns round leaves and comes back too, but no further than it moves (Hampel's identifier, with
steps instead of values, so that motion does not count). Signals that peak by themselves, such as forces, torques,
speeds and ranges, are left out unless they are named; a leap that stays is for the ``jump`` check.

Shape legend: N messages, D channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import BoolArray, Finding, FloatArray, Kind, Log
from worldgate.data.checks._signals import Series, name_of, positions, robot_streams, series
from worldgate.data.checks._spans import marked, period_ns

CARD = {
    "line": "single messages that leave a smooth signal and come back",
    "inputs": "streams of places and angles of the robot",
    "source": "Hampel, The influence curve and its role in robust estimation, JASA 1974",
}

_WIDEST = 3
"""Messages a spike may last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What a spike is."""

    times: float = 3.0
    """How many times the channel's large but usual steps (their 95th percentile) a spike stands out by."""
    least: float = 0.02
    """And at least this share of the channel's own range without its spikes."""
    streams: tuple[str, ...] = ()
    """Only these, with all their channels; empty: those that tell where the robot is."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find spikes; the value is how many times the usual step the greatest one is."""
    wanted = config.streams or robot_streams(log)
    return tuple(f for s in series(log, wanted, least=12) for f in _spikes(s, config)) if wanted else ()


def _spikes(found: Series, config: Config) -> tuple[Finding, ...]:
    values = found.values[:, :3] if found.info.kind is Kind.POSE else found.values
    looked = np.ones(values.shape[1], bool) if config.streams else positions(found.info)[: values.shape[1]]
    size, mark = np.zeros(values.shape), np.zeros(values.shape, bool)
    for channel in np.flatnonzero(looked):
        size[:, channel], mark[:, channel] = _channel(values[:, channel], config)
    if not mark.any():
        return ()
    row, channel = np.unravel_index(int(np.where(mark, size, 0.0).argmax()), size.shape)
    return (
        Finding(
            check="spike",
            stream=found.info.name,
            message=(
                f"{int(mark.any(axis=1).sum())} messages stand out and come back, the greatest in "
                f"{name_of(found.info, int(channel))} by {size[row, channel]:.3g} times its usual steps"
            ),
            value=float(size[row, channel]),
            limit=config.times,
            unit="usual steps",
            spans_ns=marked(found.times_ns, np.asarray(mark.any(axis=1)), period_ns(found.info, found.times_ns)),
        ),
    )


def _channel(values: FloatArray, config: Config) -> tuple[FloatArray, BoolArray]:
    """(N,) how far each message stands out, and which are spikes."""
    good = np.flatnonzero(np.isfinite(values))
    size, mark = np.zeros(len(values)), np.zeros(len(values), bool)
    if len(good) < 12:
        return size, mark
    line = values[good]
    if np.ptp(line) < 2 * np.pi + 0.1 and np.abs(line).max() < np.pi + 0.01:
        line = np.unwrap(line)
    low, high = np.quantile(line, [0.01, 0.99])
    reach = float(high - low)
    if np.mean(np.diff(line) == 0.0) > 0.5:
        return size, mark  # a switch leaves and comes back by design
    for wide in range(1, _WIDEST + 1):
        bend = _bend(line, wide)
        steps = np.abs(line[wide:] - line[:-wide])
        scale = max(float(np.quantile(steps, 0.95)), 3.0 * float(np.median(steps)), 1e-12)
        out = (bend > config.times * scale) & (bend > config.least * reach)
        for peak in np.flatnonzero(out):
            at = good[peak : peak + 1]
            size[at], mark[at] = np.maximum(size[at], bend[peak] / scale), True
    return size, mark


def _bend(line: FloatArray, wide: int) -> FloatArray:
    """(N,) distance beyond both neighbours ``wide`` away, when both lie on the same side; else 0."""
    bend = np.zeros(len(line))
    before, here, after = line[: -2 * wide], line[wide:-wide], line[2 * wide :]
    left, right = here - before, here - after
    bend[wide:-wide] = np.where(left * right > 0, np.minimum(np.abs(left), np.abs(right)), 0.0)
    return bend
