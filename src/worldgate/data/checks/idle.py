"""Idle: spans at the start and the end in which the robot does nothing, and logs that hardly move at all.

The robot is at rest in a short window when no channel of its measured state covers more than a share of its range
there, beyond its own noise. What stands still first and last teaches a model that nothing happens; how much of it is
too much is the contract's word.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import BoolArray, Finding, IntArray, Log
from worldgate.core.times import SECOND
from worldgate.data.checks._motion import Motion, motion_of
from worldgate.data.checks._signals import Only, robot_streams, runs, series
from worldgate.data.checks._spans import merge

CARD = {
    "line": "nothing moves at the start, at the end, or for most of the log",
    "inputs": "streams that tell where the robot is",
}


_WINDOWS = 8_000
"""Windows at most, in a log of an hour; in longer ones they grow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How much rest is too much."""

    head_s: float = 3.0
    """Longest rest at the start."""
    tail_s: float = 3.0
    """Longest rest at the end."""
    fraction: float = 0.7
    """Greatest share of the log at rest."""
    still: float = 0.015
    """Share of a channel's range within a window up to which it rests."""
    window_s: float = 0.5
    """Length of the window."""
    least_s: float = 2.0
    """Shorter logs are left alone."""
    streams: tuple[str, ...] = ()
    """Streams that tell of the robot's motion; empty: those whose names say so."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find rest; values in s, or a share of the log."""
    names = config.streams or robot_streams(log)
    held = [s.times_ns for s in series(log, names)] if names else []
    if not held:
        return ()
    motion = motion_of(Only(log, names))
    spans = [times for times, _, _ in motion.channels] or held
    start, end = min(int(t[0]) for t in spans), max(int(t[-1]) for t in spans)
    if end - start < config.least_s * SECOND:
        return ()
    edges, rests = _rests(motion, start, end, config)
    return tuple(_findings(names[0], edges, rests, config))


def _rests(motion: Motion, start: int, end: int, config: Config) -> tuple[IntArray, BoolArray]:
    """(T + 1,) edges of even pieces of the log, and (T,) whether the robot rests in each.

    A piece rests when any window that covers it does, so a window that only touches motion does not shorten a rest.
    """
    whole = min(_WINDOWS, max(1, round((end - start) / (config.window_s * SECOND))))
    edges = np.linspace(start, end + 1, 4 * whole + 1).astype(np.int64)
    if not motion.channels:
        return edges, np.ones(4 * whole, bool)
    rests = np.zeros(4 * whole, bool)
    for piece in range(4 * whole - 3):
        span = (int(edges[piece]), int(edges[piece + 4]))
        if _heard(motion, span) and not motion.during(span, config.still):
            rests[piece : piece + 4] = True
    return edges, rests


def _heard(motion: Motion, span: tuple[int, int]) -> bool:
    """Whether every stream spoke in a span: where one is silent, or on another clock, nothing is known of rest."""
    return all(np.diff(np.searchsorted(times, span))[0] > 0 for times, _, _ in motion.channels)


def _findings(stream: str, edges: IntArray, rests: BoolArray, config: Config) -> Iterator[Finding]:
    spans = runs(rests)
    share = float(rests.mean())
    if share > config.fraction:
        said = "nothing moves" if rests.all() else f"nothing moves in {share:.0%} of the log"
        starts, ends = np.asarray(spans, np.int64).T
        yield _finding(stream, said, share, config.fraction, "share of the log", merge(edges[starts], edges[ends]))
        if rests.all():
            return
    if not spans:
        return
    for (first, last), at_end, limit, where in (
        (spans[0], False, config.head_s, "start"),
        (spans[-1], True, config.tail_s, "end"),
    ):
        length = int(edges[last] - edges[first]) / SECOND
        if length > limit and (last == len(rests) if at_end else first == 0):
            span = ((int(edges[first]), int(edges[last])),)
            yield _finding(stream, f"nothing moves for {length:.1f} s at the {where}", length, limit, "s", span)


def _finding(
    stream: str, said: str, value: float, limit: float, unit: str, spans: tuple[tuple[int, int], ...]
) -> Finding:
    return Finding(check="idle", stream=stream, message=said, value=value, limit=limit, unit=unit, spans_ns=spans)
