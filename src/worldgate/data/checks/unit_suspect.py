"""Unit suspect: numbers that cannot be in the unit that the log declares.

Angles declared in rad that turn further than joints do are degrees; places in m that lie or move as if the arm were
a hundred metres long are millimetres; a gripper declared a ratio that leaves 0 to 1 is in something else; an
accelerometer at rest shows 9.8 m/s^2, not 1. And a command against the state it commands: a slope of 57.3 or 1000
between two channels of the same declared unit says that one of them lies, however small both are.

Shape legend: N messages, D channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import NUMERIC, Finding, FloatArray, Log
from worldgate.core.times import SECOND
from worldgate.data.checks._signals import Series, name_of, series, unit_of
from worldgate.data.clocks.pairs import Pair, pairs, signals

CARD = {
    "line": "numbers that do not fit their declared unit: degrees in rad, mm in m, g in m/s^2, grippers beyond 1",
    "inputs": "streams of numbers with units, and commands beside their states",
}

_DEGREES = 180.0 / math.pi
_TURNS = ("wheel", "heading", "continuous", "spin", "odom", "course", "track")
"""Channels that may turn for ever."""
_SCENE = ("lidar", "radar", "scan", "depth", "distance", "range")
"""Streams of many things at once: their numbers leap from one thing to the next."""
_FAR = ("gps", "gnss", "odom", "ecef", "altitude", "camera.pose", "map", "local_position", "fix")
"""Streams whose places may lie anywhere."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What a robot's numbers can be."""

    turn: float = 9.0
    """Greatest angle of a joint in rad: nearly one and a half turns."""
    reach: float = 20.0
    """Greatest distance in m of a channel that belongs to an arm."""
    speed: float = 100.0
    """Greatest speed in m/s of anything that has wheels or wings."""
    ratio: float = 0.1
    """How far from 57.3 or 1000 the slope between command and state may be, as a share of it."""
    streams: tuple[str, ...] = ()
    """Only these; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find numbers that do not fit their unit; the value is the number, in the declared unit, or a slope."""
    alone = [f for s in series(log, config.streams) for f in _stream(s, config)]
    return (*alone, *(f for pair in pairs(log) for f in _pair(log, pair, config)))


def _stream(found: Series, config: Config) -> Iterator[Finding]:
    for channel in range(found.values.shape[1]):
        line = found.values[:, channel]
        line = line[np.isfinite(line)]
        if len(line) < 3:
            continue
        unit, name = unit_of(found.info, channel), name_of(found.info, channel).lower()
        whole = f"{found.info.name.lower()}.{name}"
        most = float(np.quantile(np.abs(line), 0.99))
        if unit == "rad" and most > config.turn and not any(word in whole for word in _TURNS):
            yield _finding(found, channel, "are rad no joint turns: degrees?", most, config.turn, unit)
        elif unit == "deg" and 0.02 < most <= math.pi + 0.01 and np.ptp(line) > 0.02 and _all_small(found, unit):
            yield _finding(found, channel, "are few deg for all of a robot's joints: rad?", most, math.pi, unit)
        elif unit == "m":
            yield from _metres(found, channel, line, whole, most, config)
        elif "gripper" in name and unit in {"1", "m", "rad"}:
            yield from _gripper(found, channel, line, unit)
    yield from _gravity(found)


def _all_small(found: Series, unit: str) -> bool:
    """Whether every channel in degrees stays within what would be half a turn in rad, and there are several."""
    same = [c for c in range(found.values.shape[1]) if unit_of(found.info, c) == unit]
    return len(same) >= 3 and float(np.nanmax(np.abs(found.values[:, same]))) <= math.pi + 0.01


def _metres(
    found: Series, channel: int, line: FloatArray, whole: str, most: float, config: Config
) -> Iterator[Finding]:
    if "gripper" in whole and line.max() > 0.5 and line.min() >= -0.05 and line.max() <= 1.05:
        yield _finding(found, channel, "m is no gripper: a ratio?", most, 0.5, "m")
        return
    if any(word in whole for word in _SCENE):
        return
    usual = float(np.median(np.diff(found.times_ns))) / SECOND
    fast = float(np.quantile(np.abs(np.diff(line)), 0.9)) / usual if usual > 0 else 0.0
    if fast > config.speed:
        yield _finding(found, channel, "m/s: millimetres?", fast, config.speed, "m/s")
    elif most > config.reach and not any(word in whole for word in _FAR) and np.ptp(line) > 0.05 * most:
        yield _finding(found, channel, "m is no arm: millimetres?", most, config.reach, "m")


def _gripper(found: Series, channel: int, line: FloatArray, unit: str) -> Iterator[Finding]:
    least, most = float(line.min()), float(line.max())
    if unit == "1" and (most > 1.2 or least < -1.2):
        worst = most if most > 1.2 else least
        yield _finding(found, channel, "is no share of an opening: percent, steps or metres?", worst, 1.0, unit)


def _gravity(found: Series) -> Iterator[Finding]:
    """Three axes of acceleration whose size is about one at rest are in g."""
    units = [unit_of(found.info, c) for c in range(found.values.shape[1])]
    axes = [c for c, unit in enumerate(units) if unit == "m/s^2"]
    if len(axes) == 3:
        size = float(np.nanmedian(np.linalg.norm(found.values[:, axes], axis=1)))
        if 0.9 < size < 1.1:
            yield _finding(found, axes[0], "m/s^2 is one in g, over all three axes", size, 9.81, "m/s^2")


def _pair(log: Log, pair: Pair, config: Config) -> Iterator[Finding]:
    if not pair.named or pair.state.kind not in NUMERIC:
        return
    (times, command), (seen, state) = signals(log, pair)
    if len(times) < 8 or len(seen) < 8:
        return
    for number, (own, other) in enumerate(pair.channels):
        unit = unit_of(pair.state, other)
        if unit not in {"rad", "deg", "m", "mm"}:
            continue
        a, b = (np.quantile(x[:, number], [0.02, 0.98]) for x in (command, state))
        if min(a[1] - a[0], b[1] - b[0]) <= 1e-9:
            continue
        slope = float((b[1] - b[0]) / (a[1] - a[0]))
        factor = _DEGREES if unit in {"rad", "deg"} else 1000.0
        for wanted, said in ((factor, "the state is larger"), (1.0 / factor, "the command is larger")):
            if abs(math.log(slope / wanted)) < config.ratio * math.log(factor):
                yield Finding(
                    check="unit_suspect",
                    stream=pair.state.name,
                    message=(
                        f"{name_of(pair.state, other)} and {pair.action.name} {name_of(pair.action, own)} are both "
                        f"declared in {unit}, but {said} by {max(slope, 1 / slope):.4g}"
                    ),
                    value=slope,
                    limit=1.0,
                    unit="slope",
                )


def _finding(found: Series, channel: int, said: str, value: float, limit: float, unit: str) -> Finding:
    return Finding(
        check="unit_suspect",
        stream=found.info.name,
        message=f"{name_of(found.info, channel)}: {value:.4g} {said}",
        value=value,
        limit=limit,
        unit=unit,
    )
