"""Force: a sensor that reads a force where nothing is touched, or whose zero wanders during the log.

What touches nothing is quiet: the sensor's noise alone remains. So the quietest windows of each half of the log are
taken, and the least reading among them is the sensor's zero there. A tool that pushes bounces, and leaves its object
for a few hundredths of a second at a time: windows are short enough to lie between two touches. Only a robot that moves
is looked at: an arm that rests on something is quiet, too. A zero far from nought is a sensor that was not tared; two
zeros far apart are one that drifts (temperature, a cable, a tool that slipped). A robot that holds something all the
time has no such window, and its weight looks like a bias; that is for the contract's limit.

Shape legend: N messages, D = 3 axes, W windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from worldgate.core.streams import Finding, FloatArray, IntArray, Kind, Log
from worldgate.core.times import SECOND
from worldgate.data.checks._motion import Motion, motion_of
from worldgate.data.checks._signals import Only, Series, name_of, robot_streams, series, unit_of

CARD = {
    "line": "force sensors that are not at zero when nothing touches, or whose zero wanders",
    "inputs": "measured streams in N or N*m",
}

_QUIET = 0.25
"""Share of a half's windows that count as quiet."""
_BARE = 2.5
"""Times the sensor's own noise up to which a window holds nothing else; where there are some, these tell its zero."""
_WITHIN = 5
"""Messages of a window, at least."""
_FEWEST = 8
"""Windows of each half that must be there."""
_MOVES_S = 1.5
"""Time for which the robot must move in each half: while it brakes it may lean on something already."""
_ALIKE = 4.0
"""Times that the noise of one half may be that of the other."""
_STILL = 0.005
"""Share of its range that a channel covers within a window in which the robot moves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What a zero may be."""

    bias: float = 3.0
    """Greatest reading of an axis at rest, in the stream's unit."""
    drift: float = 1.0
    """Greatest change of it between the halves of the log, in the stream's unit."""
    noises: float = 4.0
    """And at least this many times the noise of a quiet window."""
    window_s: float = 0.05
    """Length of a window, or five messages where these take longer."""
    streams: tuple[str, ...] = ()
    """Only these; empty: all in N or N*m, or with force, wrench or torque in their names."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find biased and wandering zeros; the value is in the stream's unit."""
    chosen = [s for s in series(log, config.streams, least=40) if config.streams or _forces(s)]
    if not chosen:
        return ()
    names = robot_streams(log)
    motion = motion_of(Only(log, names)) if names else None
    return tuple(f for s in chosen for f in _stream(s, motion, config))


def _forces(found: Series) -> bool:
    if found.info.kind is Kind.ACTION:
        return False
    units = set(found.info.unit.split(","))
    named = any(word in found.info.name.lower() for word in ("force", "wrench"))
    return bool(units) and units <= {"N", "N*m"} if found.info.unit else named


def _stream(found: Series, motion: Motion | None, config: Config) -> Iterator[Finding]:
    middle = (int(found.times_ns[0]) + int(found.times_ns[-1])) // 2
    halves = []
    for keep in (found.times_ns < middle, found.times_ns >= middle):
        zero = _zero(found.times_ns[keep], found.values[keep], motion, config)
        if zero is None:
            return
        halves.append(zero)
    for axis in range(found.values.shape[1]):
        yield from _axis(found, axis, halves, config)


def _axis(
    found: Series, axis: int, halves: list[tuple[FloatArray, tuple[int, int], FloatArray]], config: Config
) -> Iterator[Finding]:
    """One axis by its zeros in both halves, or in the quieter one where the other is not as quiet."""
    (first, span, noise), (second, later, more) = ((zero[axis], at, noise[axis]) for zero, at, noise in halves)
    if max(noise, more) > _ALIKE * min(noise, more):
        # One sensor has one noise: where there is more, something touches.
        first, span, noise = second, later, more = min((first, span, noise), (second, later, more), key=lambda z: z[2])
    unit, name = unit_of(found.info, axis) or "N", name_of(found.info, axis)
    enough = config.noises * max(noise, more)
    if abs(second - first) > max(config.drift, enough):
        said = f"{name} reads {first:.3g} {unit} at rest early in the log and {second:.3g} {unit} late"
        yield _finding(found, said, abs(second - first), config.drift, unit, (span, later))
        return
    least = min(first, second, key=abs)
    if abs(least) > max(config.bias, enough):
        said = f"{name} reads {least:.3g} {unit} where nothing touches"
        yield _finding(found, said, abs(least), config.bias, unit, (span, later))


def _zero(
    times: IntArray, values: FloatArray, motion: Motion | None, config: Config
) -> tuple[FloatArray, tuple[int, int], FloatArray] | None:
    """(D,) reading in the quietest windows, where it is least in size; their first span; (D,) noise in them."""
    count = int((times[-1] - times[0]) / (config.window_s * SECOND)) if len(times) > 1 else 0
    count = min(count, len(times) // _WITHIN)
    if count < _FEWEST:
        return None
    edges = np.linspace(0, len(times), count + 1).astype(np.int64)
    windows = [(a, b) for a, b in pairwise(edges.tolist()) if b - a >= 3 and np.isfinite(values[a:b]).all()]
    windows = _free(windows, times, motion)
    if len(windows) < _FEWEST or sum(times[b - 1] - times[a] for a, b in windows) < _MOVES_S * SECOND:
        return None
    level = np.asarray([np.median(values[a:b], axis=0) for a, b in windows])
    noise = np.asarray([values[a:b].std(axis=0) for a, b in windows])
    worst = noise.max(axis=1)
    quiet = np.argsort(worst, kind="stable")[: max(3, round(_QUIET * len(windows)))]
    bare = quiet[worst[quiet] <= _BARE * np.quantile(worst, 0.2)]
    quiet = bare if len(bare) >= 3 else quiet  # a touch may pull as hard as the zero is off
    size = np.linalg.norm(level[quiet], axis=1)
    least = quiet[np.argsort(size, kind="stable")[: max(1, len(quiet) // 3)]]
    start, end = windows[int(least[0])]
    span = (int(times[start]), int(times[end - 1]) + 1)
    return np.median(level[least], axis=0), span, np.median(noise[quiet], axis=0)


def _free(windows: list[tuple[int, int]], times: IntArray, motion: Motion | None) -> list[tuple[int, int]]:
    """Windows in which the robot moves, all where nothing is known of that: at rest it may lean on something."""
    if motion is None or not motion.channels:
        return windows
    return [(a, b) for a, b in windows if motion.during((int(times[a]), int(times[b - 1]) + 1), _STILL)]


def _finding(
    found: Series, said: str, value: float, limit: float, unit: str, spans: tuple[tuple[int, int], tuple[int, int]]
) -> Finding:
    return Finding(
        check="force",
        stream=found.info.name,
        message=said,
        value=float(value),
        limit=limit,
        unit=unit,
        spans_ns=tuple(sorted(set(spans))),
    )
