"""Clock step: clocks that were set while they ran, that started at 1970, that drift, or that disagree by hours.

Where a stream carries its own and the recorder's stamps, both are told apart: a stamp that leaps while messages
arrive evenly is a set clock; messages that come late while their stamps run on are only late. Where the recorder was
set, every stream shows the same step at the same time, and it is told once. Without the recorder's stamps only a
clock that runs backwards, or leaps by more than a day, is sure to have been set.

The numbers that mend what is found: ``worldgate data align``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Finding, Log, Stream
from worldgate.core.times import SECOND, format_ns
from worldgate.data.checks._spans import merge, sampled
from worldgate.data.clocks.estimate import StreamClock, clock_of

CARD = {
    "line": "clocks that were set, reset to 1970, drift, or differ by hours",
    "inputs": "every sampled stream, its own stamps against the recorder's",
    "source": "moving sums: Eichinger and Kirch, Bernoulli 2018; drift: Moon et al., INFOCOM 1999",
}

_UTC_FROM_NS = 946_684_800 * SECOND
"""The year 2000: a wall clock before it was never set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What a clock may do."""

    step_ms: float = 15.0
    """Greatest step."""
    drift_ppm: float = 300.0
    """Greatest drift against the recorder; an ordinary crystal keeps 100."""
    drift_ms: float = 5.0
    """A drift counts only where it makes more than this over the log."""
    apart_s: float = 60.0
    """Greatest distance of a stream's stamps from the recorder's."""
    streams: tuple[str, ...] = ()
    """Only these; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find clocks that cannot be trusted; values in ms, ppm, s, or years from 1970."""
    streams = [s for s in sampled(log, config.streams) if len(s)]
    found = []
    for stream in streams:
        clock = clock_of(stream)
        found += [*_steps(stream, clock, config), *_drift(stream, clock, config), *_apart(stream, clock, config)]
    return (*found, *_unset(streams), *_recorder(streams))


def _steps(stream: Stream, clock: StreamClock, config: Config) -> Iterator[Finding]:
    steps = [step for step in clock.steps if abs(step.offset_ns) - step.error_ns > config.step_ms * 1e6]
    if not steps:
        return
    worst = max(steps, key=lambda step: abs(step.offset_ns))
    at = np.asarray([step.message for step in steps], np.int64)
    stamps = stream.times_ns if stream.log_times_ns is None else stream.log_times_ns
    size = -worst.offset_ns / 1e6
    verb = "was set" if len(steps) == 1 else f"was set {len(steps)} times, the furthest"
    yield Finding(
        check="clock_step",
        stream=stream.info.name,
        message=f"the {stream.info.clock} clock {verb} by {size:+.4g} ms at message {worst.message}",
        value=abs(size),
        limit=config.step_ms,
        unit="ms",
        spans_ns=merge(np.minimum(stamps[at - 1], stamps[at]), np.maximum(stamps[at - 1], stamps[at]) + 1),
    )


def _drift(stream: Stream, clock: StreamClock, config: Config) -> Iterator[Finding]:
    line = clock.line
    if line is None:
        return
    span = int(stream.times_ns.max() - stream.times_ns.min())
    sure = abs(line.drift_ppm) - line.drift_error_ppm
    if sure > config.drift_ppm and sure * 1e-6 * span > config.drift_ms * 1e6:
        yield Finding(
            check="clock_step",
            stream=stream.info.name,
            message=(
                f"the {stream.info.clock} clock runs {'slow' if line.drift_ppm > 0 else 'fast'} against the recorder's "
                f"by {abs(line.drift_ppm):.0f} ± {line.drift_error_ppm:.0f} ppm, "
                f"{clock.drift_ns(span) / 1e6:.1f} ms over the log"
            ),
            value=abs(line.drift_ppm),
            limit=config.drift_ppm,
            unit="ppm",
        )


def _apart(stream: Stream, clock: StreamClock, config: Config) -> Iterator[Finding]:
    if stream.log_times_ns is None or clock.steps:
        return
    apart = float(np.median(stream.log_times_ns - stream.times_ns)) / SECOND
    if abs(apart) > config.apart_s:
        yield Finding(
            check="clock_step",
            stream=stream.info.name,
            message=f"the {stream.info.clock} clock stands {-apart:+.0f} s from the recorder's",
            value=abs(apart),
            limit=config.apart_s,
            unit="s",
        )


def _unset(streams: list[Stream]) -> Iterator[Finding]:
    """Stamps of 1970 beside stamps of today; a log whose clocks all count from their own zero is left alone."""
    newest = max((int(s.times_ns.max()) for s in streams), default=0)
    if newest < _UTC_FROM_NS:
        return
    for stream in streams:
        old = stream.times_ns < _UTC_FROM_NS
        if old.any():
            first = max(int(stream.times_ns[old].min()), 0)
            said = f"{int(old.sum())} of {len(stream)} stamps are of {format_ns(first)[:10]}, others of today"
            yield Finding(
                check="clock_step",
                stream=stream.info.name,
                message=said,
                value=first / SECOND / 86_400 / 365.25 + 1970.0,
                limit=2000.0,
                unit="year",
                spans_ns=merge(stream.times_ns[old], stream.times_ns[old] + 1),
            )


def _recorder(streams: list[Stream]) -> Iterator[Finding]:
    """The recorder's own stamps running backwards."""
    for stream in streams:
        if stream.log_times_ns is None:
            continue
        back = np.flatnonzero(np.diff(stream.log_times_ns) < 0)
        if len(back):
            before, after = stream.log_times_ns[back], stream.log_times_ns[back + 1]
            worst = float((before - after).max()) / 1e6
            yield Finding(
                check="clock_step",
                stream=stream.info.name,
                message=f"the recorder's stamps run backwards {len(back)} times, by up to {worst:.1f} ms",
                value=worst,
                limit=0.0,
                unit="ms",
                spans_ns=merge(after, before + 1),
            )
