"""Dead channel: one number of many that never changes, or stops changing, while the rest of its stream goes on.

A measured channel carries noise: from one message to the next it hardly ever repeats to the last bit. So a channel
that repeats for long is *stuck* where its own live part hardly repeats, and *dead* from the first message where most
channels of its own unit and kind hardly repeat. A command that moves while the channel it commands does not is
evidence of its own. Commands, switches, grippers and counters rest by design and are left out, as is a whole stream
at rest.

Shape legend: N messages, D channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import BoolArray, Finding, FloatArray, Kind, Log
from worldgate.core.times import SECOND
from worldgate.data.checks._signals import Series, body_streams, name_of, rests, runs, series, unit_of
from worldgate.data.checks._spans import period_ns
from worldgate.data.clocks.pairs import pairs, signals

CARD = {
    "line": "a channel that never changes, or sticks at a value, while others go on",
    "inputs": "measured streams of several channels, and the commands of theirs",
}


_RUN = 10
"""Equal values in a row, at least: fewer may be chance where last bits are few."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """When a channel counts as dead."""

    least_s: float = 0.5
    """Shortest run of equal values that is stuck."""
    repeats: float = 0.1
    """Share of repeats up to which a channel is alive: noise moves its last bits."""
    peers: float = 0.5
    """Share of the channels of its unit that must be alive for one that never changes to be dead."""
    commanded: float = 0.05
    """Share of the range of the other commands that a command must move for its channel to be called dead."""
    streams: tuple[str, ...] = ()
    """Only these; empty: the measured ones of the robot itself."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find dead and stuck channels; the value is how long, in s."""
    wanted = config.streams or body_streams(log)
    found = [f for s in series(log, wanted, least=8) for f in _stream(s, config)] if wanted else []
    told = {(f.stream, f.message.partition(" ")[0]) for f in found}
    more = (f for f in _commanded(log, config) if (f.stream, f.message.partition(" ")[0]) not in told)
    return (*found, *more)


def _stream(found: Series, config: Config) -> Iterator[Finding]:
    times, keep = np.unique(found.times_ns, return_index=True)
    values = found.values[keep]
    if values.shape[1] < 2 or len(values) < 8:
        return
    same: BoolArray = np.asarray(values[1:] == values[:-1])
    whole = np.asarray(
        same.all(axis=1)
    )  # a message sent twice, or a robot at rest without noise, is no channel's fault
    for channel in range(values.shape[1]):
        name = name_of(found.info, channel)
        if rests(found.info, channel):
            continue
        own = same[:, channel]
        if own.all():
            if _alone(found, same, channel, config):
                yield _finding(found, f"{name} never changes from {values[0, channel]:.6g}", times[0], times[-1], 0.0)
            continue
        long = [(a, b) for a, b in runs(own) if b - a >= _RUN and times[b] - times[a] > config.least_s * SECOND]
        stuck = [(a, b) for a, b in long if not whole[a:b].all() and not _rest(found, values[:, channel], channel, a)]
        if not stuck:
            continue
        live = np.ones(len(own), bool)
        for a, b in stuck:
            live[a:b] = False
        others = np.delete(same, channel, axis=1)
        for a, b in stuck:
            moving = bool((others[a:b].mean(axis=0) <= config.repeats).any())
            if live.sum() >= 4 and own[live].mean() <= config.repeats and moving:
                said = f"{name} sticks at {values[a, channel]:.6g}"
                yield _finding(found, said, times[a], times[b], config.least_s)


def _rest(found: Series, line: FloatArray, channel: int, at: int) -> bool:
    """A channel of which nothing is known may be a gripper, which rests at either end of its range."""
    if found.info.names or unit_of(found.info, channel):
        return False
    low, high = float(np.nanmin(line)), float(np.nanmax(line))
    return bool(min(line[at] - low, high - line[at]) < 0.03 * (high - low))


def _alone(found: Series, same: BoolArray, channel: int, config: Config) -> bool:
    """Whether most channels of this one's unit and kind of name live."""
    unit, leaf = unit_of(found.info, channel), _kind(name_of(found.info, channel))
    peers = [
        c
        for c in range(same.shape[1])
        if c != channel and unit_of(found.info, c) == unit and _kind(name_of(found.info, c)) == leaf
    ]
    if len(peers) < 2 or found.info.kind is Kind.POSE or not (found.info.names or unit):
        return False  # what rolls on a floor has no height, and of a list without names nothing is known
    living = same[:, peers].mean(axis=0) <= config.repeats
    return float(living.mean()) > config.peers


def _kind(name: str) -> str:
    """``elbow.vel`` and ``wrist.vel`` are of a kind; ``object.x`` and ``goal.x`` belong to different things."""
    head, dot, leaf = name.partition(".")
    return f"{head}." if dot and leaf in {"x", "y", "z", "yaw", "roll", "pitch"} else leaf


def _commanded(log: Log, config: Config) -> Iterator[Finding]:
    """Channels that stay exactly where they are while their own command moves, and others follow theirs."""
    for pair in pairs(log):
        if config.streams and pair.state.name not in config.streams:
            continue
        (times, command), (seen, state) = signals(log, pair)
        if len(times) < 8 or len(seen) < 8 or not pair.named:
            continue
        reach, moved = np.ptp(command, axis=0), np.ptp(state, axis=0)
        alive = moved > 0
        for number, (_, channel) in enumerate(pair.channels):
            usual = _usual(reach, alive)
            if not alive[number] and alive.any() and reach[number] > config.commanded * usual:
                name = name_of(pair.state, channel)
                yield Finding(
                    check="dead_channel",
                    stream=pair.state.name,
                    message=f"{name} never changes while its command moves by {reach[number]:.4g}",
                    value=(int(seen[-1]) - int(seen[0])) / SECOND,
                    limit=0.0,
                    unit="s",
                    spans_ns=((int(seen[0]), int(seen[-1]) + 1),),
                )


def _usual(reach: FloatArray, alive: BoolArray) -> float:
    return float(np.median(reach[alive])) if alive.any() else 0.0


def _finding(found: Series, said: str, start: int, end: int, limit: float) -> Finding:
    length = max(int(end) - int(start), 1)
    stop = int(end) + (period_ns(found.info, found.times_ns) or 1)
    return Finding(
        check="dead_channel",
        stream=found.info.name,
        message=f"{said} for {length / SECOND:.2f} s while others of its stream go on",
        value=length / SECOND,
        limit=limit,
        unit="s",
        spans_ns=((int(start), stop),),
    )
