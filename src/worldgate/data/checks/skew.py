"""Skew: how far apart in time the streams are that a row of an episode would hold together, and clocks that drift.

For each message of the reference stream the nearest message of every other stream is found; the value is the 99th
percentile of that distance. Where a stream carries both its own and the recorder's stamps, the change of their
difference over the log shows a sensor clock that runs fast or slow, which nearest messages alone can hide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import IMAGE_LIKE, Finding, IntArray, Log, Stream
from worldgate.data.checks._spans import marked, merge, period_ns, sampled

CARD = {
    "line": "streams whose messages lie apart in time, and sensor clocks that drift against the recorder's",
    "inputs": "every sampled stream, against a reference",
}

_ENDS = 10
"""The first and last tenth of a log are compared for drift."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How far apart streams may be."""

    reference: str = ""
    """Stream whose messages the others are held against; empty: the first camera, else the slowest stream."""
    most_ms: float = 50.0
    """Greatest 99th percentile of the distance to the nearest message."""
    periods: float = 0.75
    """A slow stream may be this share of its own period away whatever ``most_ms`` says; half cannot be avoided."""
    drift_ms: float = 20.0
    """Greatest change of a sensor's clock against the recorder's over the log."""
    streams: tuple[str, ...] = ()
    """Only these; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find streams apart in time and drifting clocks; values in ms."""
    wanted = (*config.streams, config.reference) if config.streams and config.reference else config.streams
    streams = [s for s in sampled(log, wanted) if len(s)]
    found = [f for s in streams for f in _drift(s, config)]
    reference = _reference(streams, config.reference)
    if reference is not None:
        found += [f for s in streams if s is not reference for f in _skew(reference, s, config)]
    return tuple(found)


def _reference(streams: list[Stream], wanted: str) -> Stream | None:
    cameras = [s for s in streams if s.info.kind in IMAGE_LIKE]
    named = [s for s in streams if s.info.name == wanted]
    if named or cameras:
        return (named or cameras)[0]
    return min(streams, key=len, default=None)


def _skew(reference: Stream, stream: Stream, config: Config) -> tuple[Finding, ...]:
    rows, times = np.sort(reference.times_ns), np.sort(stream.times_ns)
    running = (rows >= times[0]) & (rows <= times[-1])  # the ends are for the gaps check
    rows = rows[running] if running.any() else rows
    distance_ms = nearest_ns(rows, times) / 1e6
    value = float(np.quantile(distance_ms, 0.99, method="inverted_cdf"))
    limit = max(config.most_ms, config.periods * period_ns(stream.info, times) / 1e6)
    if value <= limit:
        return ()
    usual = float(np.quantile(distance_ms, 0.95, method="inverted_cdf"))
    message = (
        f"nearest message to {reference.info.name}: 95 % within {usual:.1f} ms, 99 % within {value:.1f} ms, "
        f"at most {distance_ms.max():.1f} ms"
    )
    return (
        Finding(
            check="skew",
            stream=stream.info.name,
            message=message,
            value=value,
            limit=limit,
            unit="ms",
            spans_ns=marked(rows, distance_ms > limit, period_ns(reference.info, rows)),
        ),
    )


def nearest_ns(rows: IntArray, times: IntArray) -> IntArray:
    """(T,) distance of each row to the nearest of (N >= 1,) sorted times."""
    after = np.searchsorted(times, rows)
    right = np.abs(times[np.minimum(after, len(times) - 1)] - rows)
    left = np.abs(rows - times[np.maximum(after - 1, 0)])
    return np.asarray(np.minimum(left, right))


def _drift(stream: Stream, config: Config) -> tuple[Finding, ...]:
    count = len(stream) // _ENDS
    if stream.log_times_ns is None or count == 0:
        return ()
    delay = stream.log_times_ns - stream.times_ns
    first, last = float(np.median(delay[:count])), float(np.median(delay[-count:]))
    value = abs(last - first) / 1e6
    if value <= config.drift_ms:
        return ()
    late = np.abs(delay - first) / 1e6 > config.drift_ms
    times = stream.times_ns
    return (
        Finding(
            check="skew",
            stream=stream.info.name,
            message=f"the {stream.info.clock} clock drifts {(last - first) / 1e6:+.1f} ms against the recorder's",
            value=value,
            limit=config.drift_ms,
            unit="ms",
            spans_ns=merge(times[late], times[late] + 1),
        ),
    )
