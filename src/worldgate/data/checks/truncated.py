"""Truncated: an episode that was cut off before it ended.

Three kinds of evidence, each on its own. The log says how long it is, and ends earlier. The log marks ends (an
event, a column ``is_last``, ``is_terminal`` or ``done``), and has no mark at its own. Nothing marks ends and the
robot still moves at speed in the last instants: a person or a program that ends an episode lets the robot come to
rest, or says how it went.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import NUMERIC, Finding, IntArray, Kind, Log
from worldgate.core.times import SECOND
from worldgate.data.checks._motion import Motion, motion_of
from worldgate.data.checks._signals import Only, robot_streams
from worldgate.data.checks._spans import columns

CARD = {
    "line": "episodes that end before their declared or marked end, or while the robot moves at speed",
    "inputs": "facts, events and columns that mark ends, and streams that tell where the robot is",
    "source": "RLDS marks its last step is_last; https://github.com/google-research/rlds",
}

_COLUMNS = ("is_last", "is_terminal", "done", "next.done", "terminated", "truncated")
_SPANS = 2_000
"""Spans before the end that tell how fast the robot usually is."""
_DURATIONS = ("duration_s", "duration", "length_s")


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What an end looks like."""

    event: str = ""
    """Word that an event or text near the end must hold; empty: none is asked for."""
    within_s: float = 2.0
    """How near the end."""
    short: float = 0.04
    """Share of its declared duration by which a log may be shorter."""
    speed: float = 1.5
    """Greatest speed at the end, as a share of the robot's own high speed (its 90th percentile while it moves).

    Many teleoperated episodes end in an ordinary motion; a contract that knows its robots rest can lower it.
    """
    last_s: float = 0.3
    """The end, for that."""
    streams: tuple[str, ...] = ()
    """Streams that tell of the robot's motion; empty: those whose names say so."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find cut ends; the value is a duration in s, a count of marks, or a share of the robot's high speed."""
    span = _span(log)
    if span is None:
        return ()
    declared = next((float(log.facts[key]) for key in _DURATIONS if _number(log.facts.get(key))), 0.0)
    found = [*_short(log, span, declared, config), *_unmarked(log, span, config)]
    if found or declared or _marks(log, span) or config.event:
        return tuple(found)
    return tuple(_moving(log, span, config))


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _span(log: Log) -> tuple[int, int] | None:
    """First and last stamp of all sampled streams."""
    times = [log.read(i.name).times_ns for i in log.streams() if i.kind not in {Kind.EVENT, Kind.TEXT}]
    held = [t for t in times if len(t)]
    return (min(int(t.min()) for t in held), max(int(t.max()) for t in held)) if held else None


def _short(log: Log, span: tuple[int, int], declared: float, config: Config) -> Iterator[Finding]:
    length = (span[1] - span[0]) / SECOND
    if declared and length < declared * (1 - config.short) - config.last_s:
        said = f"ends after {length:.2f} s of a declared duration of {declared:.2f} s"
        yield _finding(_main(log), said, length, declared, "s", (span[1], span[1] + 1))


def _unmarked(log: Log, span: tuple[int, int], config: Config) -> Iterator[Finding]:
    near = span[1] - round(config.within_s * SECOND)
    if config.event and not any(config.event in text for at, text in _texts(log) if at >= near):
        said = f"no {config.event!r} among the events of the last {config.within_s:g} s"
        yield _finding(_main(log), said, 0.0, 1.0, "events", (near, span[1] + 1))
    ends = [info.name for info in log.streams() if _leaf(info.name) == "is_last" and info.kind in NUMERIC]
    for name in ends:
        stream = log.read(name)
        if len(stream) and not columns(stream)[-1].any():
            said = f"{name} does not mark the last of {len(stream)} steps"
            yield _finding(name, said, 0.0, 1.0, "marks", (int(stream.times_ns[-1]), span[1] + 1))


def _marks(log: Log, span: tuple[int, int]) -> bool:
    """Whether a column marks the end that the log has."""
    for info in log.streams():
        if _leaf(info.name) in _COLUMNS and info.kind in NUMERIC:
            stream = log.read(info.name)
            if len(stream) and columns(stream)[-1].any():
                return True
    return any(_ends(text) for at, text in _texts(log) if at >= span[1] - 2 * SECOND)


def _leaf(name: str) -> str:
    return name.removeprefix("observation.").removeprefix("steps.")


def _texts(log: Log) -> Iterator[tuple[int, str]]:
    for info in log.streams():
        if info.kind in {Kind.EVENT, Kind.TEXT}:
            stream = log.read(info.name)
            yield from zip(stream.times_ns.tolist(), (str(text) for text in stream.array), strict=True)


def _ends(text: str) -> bool:
    """Whether an event says that the episode is over; ``{"event": "end"}`` of a contact is not that."""
    try:
        body = json.loads(text)
    except ValueError:
        body = text
    word = str(body.get("event", body.get("type", ""))) if isinstance(body, dict) else str(body)
    return word.lower() in {"success", "failure", "done", "terminated", "episode_end", "stop", "finished", "timeout"}


def _moving(log: Log, span: tuple[int, int], config: Config) -> Iterator[Finding]:
    names = config.streams or robot_streams(log)
    motion = motion_of(Only(log, names)) if names else None
    if motion is None or not motion.channels or span[1] - span[0] < 10 * config.last_s * SECOND:
        return
    ends = np.sort([times[-1] for times, _, _ in motion.channels])
    last = round(max(config.last_s, 3.0 / max(motion.rate_hz, 1.0)) * SECOND)
    speeds = _speeds(motion, span[0], int(ends[-1]), last)
    moving = speeds[speeds > 0]
    if len(moving) < 4 or speeds[-1] <= config.speed * np.quantile(moving, 0.9):
        return
    share = float(speeds[-1] / np.quantile(moving, 0.9))
    said = f"the robot still moves at {share:.0%} of its high speed, and nothing marks an end"
    yield _finding(
        _main(log), said, share, config.speed, "share of its high speed", (int(ends[-1]) - last, span[1] + 1)
    )


def _speeds(motion: Motion, start: int, end: int, last: int) -> IntArray:
    """(T,) way of the fastest channel in consecutive spans, the last of which ends with the log."""
    edges = np.arange(end, max(start, end - _SPANS * last), -last, dtype=np.int64)[::-1]
    return np.asarray(motion.travelled(edges[:-1], edges[1:]))


def _main(log: Log) -> str:
    """The stream that the finding is told of."""
    names = robot_streams(log)
    return names[0] if names else next((info.name for info in log.streams()), "")


def _finding(stream: str, said: str, value: float, limit: float, unit: str, span: tuple[int, int]) -> Finding:
    return Finding(
        check="truncated", stream=stream, message=said, value=value, limit=limit, unit=unit, spans_ns=(span,)
    )
