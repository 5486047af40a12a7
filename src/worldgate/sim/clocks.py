"""Clocks: when each sensor measures, what its own clock says then, and when the recorder gets the message.

Three times are kept apart. A sensor measures at a true instant, not quite evenly spaced; it stamps that with its own
clock (``publish_time``: offset, drift, a little noise); the message reaches the recorder later (``log_time``). Each
sensor draws from a stream of its own, so no setting of one shifts another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import BoolArray, FloatArray, IntArray
from worldgate.core.times import SECOND
from worldgate.sim.scenario import random_stream


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockConfig:
    """How one sensor keeps time."""

    rate_hz: float
    """How often it measures."""
    jitter_s: float
    """Standard deviation of the instant of measurement around an even grid."""
    transport_s: float
    """Mean delay until the recorder has the message."""
    drift_ppm: float = 0.0
    """Drift of the sensor's own clock beyond the few parts per million of an ordinary crystal."""
    offset_s: float = 0.0
    """Error of the sensor's own clock beyond the tenths of a millisecond of an ordinary synchronisation."""
    dropped: float = 0.0
    """Fraction of messages that never arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beats:
    """The messages of one sensor during a run: K of them."""

    true_s: FloatArray
    """(K,) instants of measurement, s from the start of the run, rising."""
    stamp_ns: IntArray
    """(K,) the sensor's own stamps, ns from the start of the run."""
    log_ns: IntArray
    """(K,) arrival at the recorder, ns from the start of the run, rising."""
    kept: BoolArray
    """(K,) false where the message was lost on the way."""


def beats(name: str, config: ClockConfig, *, seed: int, duration_s: float) -> Beats:
    """When a sensor measures during a run; the same for every attribute but those of its own clock."""
    draw = random_stream(seed, f"clock:{name}")
    period = 1.0 / config.rate_hz
    phase, crystal_ppm, sync_s = draw.uniform(0.0, period), draw.normal(0.0, 15.0), draw.normal(0.0, 0.0002)
    count = max(0, math.floor((duration_s - phase) / period) + 1)
    limit = 0.4 * period
    true = phase + period * np.arange(count) + np.clip(draw.normal(0.0, config.jitter_s, count), -limit, limit)
    delay = config.transport_s * (0.6 + draw.gamma(2.0, 0.2, count))
    noise = draw.normal(0.0, 20e-6, count)
    true = np.maximum(true, 0.0)
    stamp = true * (1.0 + (crystal_ppm + config.drift_ppm) * 1e-6) + sync_s + config.offset_s + noise
    log = np.maximum.accumulate(true + delay) if count else true
    kept = random_stream(seed, f"drop:{name}").random(count) >= config.dropped
    return Beats(true_s=true, stamp_ns=_ns(stamp), log_ns=_ns(log), kept=kept)


def _ns(seconds: FloatArray) -> IntArray:
    return np.asarray(np.round(seconds * SECOND), np.int64)
