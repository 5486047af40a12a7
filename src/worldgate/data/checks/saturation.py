"""Saturation: a signal cut flat at its greatest or least value, because the sensor or converter could not show more.

Two kinds of evidence. A continuous signal hardly ever shows the same number twice, and its greatest least of all:
one that shows it many times over, while the values inside its range are all different, was cut there. Where values
repeat anyway, a flat top counts that is entered and left at speed: the signal is cut where it was still rising. A
robot that comes to rest at the end of its travel slows down first, and a switch has but two values; neither counts.
Slowing down takes a robot about a tenth of a second. Where messages come too rarely to show it, every stop looks like a
cut, and only edges sharper than anything else that the channel does are believed.
Where the contract gives a channel's ends, staying at them is enough.

Shape legend: N messages, D channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from worldgate.core.streams import BoolArray, Finding, FloatArray, IntArray, Kind, Log
from worldgate.core.times import SECOND
from worldgate.data.checks._signals import Series, body_streams, name_of, rests, runs, series
from worldgate.data.checks._spans import merge, period_ns

CARD = {
    "line": "signals cut flat at their greatest or least value",
    "inputs": "measured streams of numbers",
}

_DIFFERENT = 0.8
"""Share of different values among those inside the range for a signal to be continuous."""
_OFTEN = 5
"""Times that the end must be shown then, at least."""
_REACH = 4
"""Messages before and after a stay by which its edges are judged."""
_STOPS_NS = SECOND // 10
"""A robot takes about so long to stop or to set off: what is sampled more finely shows it."""
_EVEN = 0.6
"""Speed at an edge, as a share of that before or behind; an even stop from the same speed covers a third of the way."""
_RESOLVED = 3
"""Steps of the converter that the way at an edge must cover."""
_SHARPER = 1.3
"""Times that an edge bends more than the channel does elsewhere."""
_TWO_VALUED = 0.8
"""A channel whose two commonest values are this share of all is a switch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What a cut signal looks like."""

    least: float = 0.005
    """Share of the messages that must lie at the end."""
    run: int = 3
    """Messages in a row at the end, at least; runs count that are entered and left at speed."""
    steep: float = 0.3
    """Speed at which a flat top is entered and left, as a share of the channel's high speed."""
    ends: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Stream -> least and greatest value that its channels can show."""
    commands: bool = False
    """Look at commands too, which controllers clip on purpose."""
    streams: tuple[str, ...] = ()
    """Only these; empty: the measured ones of the robot itself, without their grippers and switches."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find cut signals; the value is the share of messages at the end."""
    commands = [info.name for info in log.streams() if info.kind is Kind.ACTION] if config.commands else []
    wanted = config.streams or (*body_streams(log), *commands)
    return tuple(f for s in series(log, wanted, least=20) for f in _stream(s, config)) if wanted else ()


def _stream(found: Series, config: Config) -> Iterator[Finding]:
    ends = config.ends.get(found.info.name)
    width = min(found.values.shape[1], 3) if found.info.kind is Kind.POSE else found.values.shape[1]
    for channel in range(width):
        good = np.isfinite(found.values[:, channel])
        times, line = found.times_ns[good], found.values[good, channel]
        resting = rests(found.info, channel) and not (config.streams or ends)
        if len(line) < 20 or line.min() == line.max() or resting:
            continue
        for end, side in ((float(line.max()), "greatest"), (float(line.min()), "least")):
            told = ends is not None and (end >= ends[1] if side == "greatest" else end <= ends[0])
            at: BoolArray = np.asarray(line == end)
            step = period_ns(found.info, times) or SECOND
            flat = runs(at) if told or _crowded(line, at, config) else _cut(line, at, step, config)
            share = sum(b - a for a, b in flat) / len(line)
            if flat and share >= config.least and (told or not _switch(line)):
                yield _finding(
                    found, times, flat, share, name_of(found.info, channel), f"{side} value {end:.6g}", config
                )


def _crowded(line: FloatArray, at: BoolArray, config: Config) -> bool:
    """Whether the end is shown far oftener than any other value of a signal that hardly repeats.

    A joint may rest at both ends of its travel; where both are shown often, this one must be reached or left at speed.
    """
    _, counts = np.unique(line[(line > line.min()) & (line < line.max())], return_counts=True)  # both ends may be cut
    if len(counts) < 20 or len(counts) < _DIFFERENT * counts.sum():
        return False
    opposite = int(((line == line.min()) | (line == line.max())).sum() - at.sum())
    often = int(at.sum()) >= max(_OFTEN, 3 * int(counts.max()) + 2)
    return often and (int(at.sum()) >= 3 * opposite + 2 or _at_speed(line, at, config))


def _at_speed(line: FloatArray, at: BoolArray, config: Config) -> bool:
    """Whether any stay at the end begins or ends with a step that is no slowing down."""
    steps = np.abs(np.diff(line))
    steep = config.steep * float(np.quantile(steps[steps > 0], 0.9))
    edges = [place for a, b in _runs(at, config.run) for place in (a - 1, b - 1) if 0 <= place < len(steps)]
    return any(steps[place] > steep for place in edges)


def _runs(at: BoolArray, least: int) -> list[tuple[int, int]]:
    return [(a, b) for a, b in runs(at) if b - a >= least]


def _cut(line: FloatArray, at: BoolArray, period_ns: int, config: Config) -> list[tuple[int, int]]:
    """Flat tops with sharp edges. A stay at either end of the log has one edge, and one at both ends of it none."""
    if period_ns * _REACH <= _STOPS_NS:
        return _unslowed(line, at, config)
    best: list[tuple[int, int]] = []
    for reach in (1, 2, _REACH):
        bent = _bent(line, reach)
        elsewhere = np.ones(len(line), np.bool_)
        for first, end in runs(at):
            elsewhere[max(first - reach, 0) : end + reach] = False
        usual = float(bent[elsewhere].max(initial=0.0))
        edges = [(stay, _edges(*stay, len(line))) for stay in _runs(at, config.run)]
        sharp = [stay for stay, ends in edges if ends and min(bent[x] for x, _ in ends) > _SHARPER * usual > 0]
        best = max(best, sharp, key=len)
    return best


def _unslowed(line: FloatArray, at: BoolArray, config: Config) -> list[tuple[int, int]]:
    """Stays whose every edge is as fast as what lies before or behind it, longer than any such stay elsewhere."""
    steps = np.abs(np.diff(line))
    moving = steps[steps > 0]
    if len(moving) < 8:
        return []
    step, high = (float(q) for q in np.quantile(moving, (0.05, 0.9)))
    least = max(_RESOLVED * step, _REACH * config.steep * high)
    inside = (line > line.min()) & (line < line.max())
    others = [(a, b + 1) for a, b in runs((steps == 0.0) & inside[1:])]
    usual = max((b - a for a, b in others if _fast(line, a, b, least)), default=0)
    # A recorder that waits for its first message shows one value, too; a converter shows all of its values again.
    stays = _runs(at, max(config.run, 2 * usual + 2))
    known = stays if _repeats(line[inside]) else [(a, b) for a, b in stays if a > 0 and b < len(line)]
    return [(a, b) for a, b in known if _fast(line, a, b, least)]


def _repeats(inside: FloatArray) -> bool:
    """Whether most values are shown more than once, and not only held."""
    shown = inside[np.concatenate([[True], np.diff(inside) != 0])[: len(inside)]]
    return len(np.unique(shown)) < _DIFFERENT * len(shown)


def _fast(line: FloatArray, first: int, end: int, least: float) -> bool:
    """Whether a stay is entered and left without slowing down, as far as the log shows it."""
    told = []
    for edge, way in _edges(first, end, len(line)):
        near, far = edge + way * _REACH, edge + 2 * way * _REACH
        if 0 <= far < len(line):
            close, beyond = abs(line[near] - line[edge]), abs(line[far] - line[near])
            told.append(close >= max(least, _EVEN * beyond))
    return bool(told) and all(told)


def _edges(first: int, end: int, count: int) -> list[tuple[int, int]]:
    """The first and last message of a stay with the way that leads out of it, where the log goes on there."""
    return [(place, way) for place, way, told in ((first, -1, first > 0), (end - 1, 1, end < count)) if told]


def _bent(line: FloatArray, reach: int) -> FloatArray:
    """(N,) size of the second difference over so many messages to both sides; 0 where there are not so many."""
    out = np.zeros(len(line))
    if len(line) > 2 * reach:
        out[reach:-reach] = np.abs(line[2 * reach :] - 2 * line[reach:-reach] + line[: -2 * reach])
    return out


def _switch(line: FloatArray) -> bool:
    """Two values make up most of it, or it rests nearly always."""
    _, counts = np.unique(line, return_counts=True)
    two = np.sort(counts)[-2:].sum() / len(line)
    return bool(two > _TWO_VALUED or np.mean(np.diff(line) == 0.0) > _TWO_VALUED)


def _finding(
    found: Series, times: IntArray, flat: list[tuple[int, int]], share: float, name: str, said: str, config: Config
) -> Finding:
    length = period_ns(found.info, found.times_ns) or 1
    starts, ends = np.asarray(flat, np.int64).T
    return Finding(
        check="saturation",
        stream=found.info.name,
        message=f"{name} is cut at its {said} in {len(flat)} places, {share:.1%} of the messages",
        value=share,
        limit=config.least,
        unit="share of messages",
        spans_ns=merge(times[starts], times[ends - 1] + length),
    )
