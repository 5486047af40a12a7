"""Skew: how far apart in time the streams are that a row of an episode would hold together, and clocks that drift.

For each message of the reference stream the nearest message of every other stream is found; the value is the 99th
percentile of that distance. Where a stream carries both its own and the recorder's stamps, the change of their
difference over the log shows a sensor clock that runs fast or slow, which nearest messages alone can hide, and so does
a clock that is wrong by a constant: no message is written before it is stamped, and none much later than those of the
other streams. The difference is taken against that of the log's other streams, because a whole robot on a clock of its
own is still one with itself.
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

_OWN_CLOCK_MS = 60_000.0
"""A usual delay beyond this is another clock and no delay."""
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
    ahead_ms: float = 50.0
    """By how much stamps may lie ahead of the recorder's, more than those of other streams do."""
    late_ms: float = 300.0
    """By how much they may lie behind: messages queue, and large ones take time to encode."""
    streams: tuple[str, ...] = ()
    """Only these; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find streams apart in time and drifting clocks; values in ms."""
    wanted = (*config.streams, config.reference) if config.streams and config.reference else config.streams
    streams = [s for s in sampled(log, wanted) if len(s)]
    found = [f for s in streams for f in _drift(s, config)]
    found += _offsets(streams, config)
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


def _offsets(streams: list[Stream], config: Config) -> list[Finding]:
    """Clocks that are wrong by a constant, against the other streams of the log that carry both stamps."""
    delays = {s.info.name: _delay_ms(s) for s in streams if s.log_times_ns is not None}
    found = []
    for stream in (s for s in streams if s.info.name in delays):
        others = [delay for name, delay in delays.items() if name != stream.info.name]
        shared = float(np.median(others)) if others else 0.0
        # A log on a clock of its own has that in all delays; on the recorder's, one slow stream makes no other early.
        early, late = (shared, shared) if abs(shared) > _OWN_CLOCK_MS else (min(0.0, shared), max(0.0, shared))
        delay = delays[stream.info.name]
        for offset, limit, where in (
            (early - delay, config.ahead_ms, "ahead of"),
            (delay - late, config.late_ms, "behind"),
        ):
            if offset > limit:
                said = f"its stamps lie {offset:.1f} ms {where} the recorder's"
                said += ", against those of other streams" if others else ""
                found.append(
                    Finding(check="skew", stream=stream.info.name, message=said, value=offset, limit=limit, unit="ms")
                )
    return found


def _delay_ms(stream: Stream) -> float:
    """Usual time from a message's own stamp to the recorder's."""
    assert stream.log_times_ns is not None
    return float(np.median(stream.log_times_ns - stream.times_ns)) / 1e6
