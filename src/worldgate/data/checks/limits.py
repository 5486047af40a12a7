"""Limits: joints beyond their range, faster or harder accelerated than they can be.

The numbers are the contract's own, a channel each, or those of a URDF whose text stands in the contract, so that a
contract's identity covers them. A URDF's radians and metres are turned into the stream's declared unit. Speeds are
taken over a short window rather than from message to message, because stamps that jitter make single steps look
fast, and in the order in which messages were recorded, because a clock that was set back puts messages between each
other that do not follow each other.

Source: http://wiki.ros.org/urdf/XML/joint, elements ``limit``; only names and numbers are read, and a document with
a document type is refused before it is parsed, because entities are how a small file becomes a large one.

Shape legend: N messages, D channels, W messages in a window.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

import numpy as np

from worldgate.core.errors import ConfigError
from worldgate.core.streams import BoolArray, Finding, FloatArray, Log
from worldgate.core.times import SECOND
from worldgate.core.units import UNITS
from worldgate.data.checks._signals import Series, name_of, series, unit_of
from worldgate.data.checks._spans import marked, period_ns

CARD = {
    "line": "joints beyond their range, speed or acceleration, by the contract's numbers or a URDF",
    "inputs": "streams of numbers whose channels have limits",
    "source": "http://wiki.ros.org/urdf/XML/joint",
}

_MOST_XML = 4 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """Of one channel, in the stream's unit; what is not given is not looked at."""

    lower: float | None = None
    """Least value."""
    upper: float | None = None
    """Greatest value."""
    velocity: float | None = None
    """Greatest rate of change a second, either way."""
    acceleration: float | None = None
    """Greatest rate of change of that a second, either way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What a robot can do."""

    channels: Mapping[str, Mapping[str, Limit]] = field(default_factory=dict)
    """Stream -> name of a channel, or its number -> limits."""
    urdf: str = ""
    """Text of a URDF; its joints limit all channels of their name."""
    joints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Stream -> names of its channels as the URDF has them, where the stream's own names are others."""
    margin: float = 0.005
    """Share of a range by which a channel may stand beyond it: encoders, and controllers that overshoot."""
    over: float = 0.05
    """Share by which speed and acceleration may be exceeded."""
    window_s: float = 0.05
    """Time over which they are taken."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find channels beyond their limits; values in the stream's unit, a second and a second squared.

    Raises:
        ConfigError: a URDF that cannot be read, or a channel that the stream does not have.
    """
    joints = read_urdf(config.urdf) if config.urdf else {}
    if not (joints or config.channels):
        return ()
    return tuple(f for s in series(log) for f in _stream(s, joints, config))


def read_urdf(text: str) -> dict[str, Limit]:
    """Limits of a URDF's joints, in rad, m and seconds; joints without limits are left out.

    Raises:
        ConfigError: not XML, a document type or entity in it, or a limit that is no number.
    """
    where = "checks.limits.params.urdf"
    if len(text) > _MOST_XML or "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ConfigError("a URDF has no document type and is below 4 MiB", got=f"{len(text)} characters", where=where)
    try:
        root = ElementTree.fromstring(text)
        found = {joint.get("name", ""): _limit(joint) for joint in root.iter("joint")}
    except (ElementTree.ParseError, ValueError) as error:
        raise ConfigError("not a URDF", got=error, where=where) from error
    limits = {name: limit for name, limit in found.items() if limit is not None}
    if not limits:
        raise ConfigError("a URDF without limited joints", where=where)
    return limits


def _limit(joint: ElementTree.Element) -> Limit | None:
    """Of one joint element; a continuous joint has no range."""
    element = joint.find("limit")
    if element is None or joint.get("type") in {"fixed", "floating", "planar"}:
        return None
    numbers = {key: float(element.get(key, "nan")) for key in ("lower", "upper", "velocity")}
    if joint.get("type") == "continuous":
        numbers["lower"] = numbers["upper"] = math.nan
    known = {key: value if math.isfinite(value) else None for key, value in numbers.items()}
    return Limit(lower=known["lower"], upper=known["upper"], velocity=known["velocity"])


def _stream(found: Series, joints: Mapping[str, Limit], config: Config) -> Iterator[Finding]:
    info = found.info
    width = found.values.shape[1]
    names = config.joints.get(info.name, info.names)
    limits = {n: _in_unit(joints[name], unit_of(info, n)) for n, name in enumerate(names[:width]) if name in joints}
    for name, limit in config.channels.get(info.name, {}).items():
        number = info.names.index(name) if name in info.names else int(name) if name.isdecimal() else width
        if number >= width:
            got = f"{name}, of {', '.join(info.names) or width}"
            raise ConfigError("no such channel", got=got, where=f"checks.limits.params.channels.{info.name}")
        limits[number] = limit
    for number, limit in sorted(limits.items()):
        yield from _channel(found, number, limit, config)


def _in_unit(limit: Limit, unit: str) -> Limit:
    """A URDF's limit in the stream's unit; an unknown unit is taken to be the URDF's own."""
    factor = UNITS[unit].factor if unit in UNITS and UNITS[unit].dimension in {"angle", "length"} else 1.0
    if unit in UNITS and UNITS[unit].dimension not in {"angle", "length"}:
        return Limit()
    parts = {key: getattr(limit, key) for key in ("lower", "upper", "velocity")}
    return Limit(**{key: None if value is None else value / factor for key, value in parts.items()})


def _channel(found: Series, number: int, limit: Limit, config: Config) -> Iterator[Finding]:
    values = found.values[:, number]
    unit = unit_of(found.info, number) or "1"
    ends = [end for end in (limit.lower, limit.upper) if end is not None]
    margin = config.margin * (ends[1] - ends[0] if len(ends) == 2 else abs(ends[0]) if ends else 0.0)
    if limit.lower is not None:
        yield from _beyond(found, number, "is below its range", -values, -(limit.lower - margin), unit, sign=-1.0)
    if limit.upper is not None:
        yield from _beyond(found, number, "is above its range", values, limit.upper + margin, unit)
    stream = found.stream
    order = np.argsort(stream.times_ns, kind="stable")
    recorded = (stream.times_ns - stream.times_ns[0]) / SECOND
    seconds, speed = _rate(recorded, values[np.argsort(order)], config.window_s)
    if limit.velocity is not None:
        top = limit.velocity * (1 + config.over)
        yield from _beyond(found, number, "moves too fast", _whole(np.abs(speed), len(values))[order], top, f"{unit}/s")
    if limit.acceleration is not None:
        _, hard = _rate(seconds, speed, config.window_s)
        top = limit.acceleration * (1 + config.over)
        yield from _beyond(
            found, number, "accelerates too hard", _whole(np.abs(hard), len(values))[order], top, f"{unit}/s^2"
        )


def _rate(seconds: FloatArray, values: FloatArray, window_s: float) -> tuple[FloatArray, FloatArray]:
    """Middles and rates of change over about ``window_s``; none where there are too few messages."""
    steps = np.diff(seconds)
    usual = float(np.median(steps)) if len(steps) else 0.0
    wide = max(1, round(window_s / usual)) if usual > 0 else 1
    if len(values) <= wide:
        return np.zeros(0), np.zeros(0)
    length = seconds[wide:] - seconds[:-wide]
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = (values[wide:] - values[:-wide]) / np.where(length > 0.5 * wide * usual, length, np.nan)
    return (seconds[wide:] + seconds[:-wide]) / 2, rate


def _whole(values: FloatArray, count: int) -> FloatArray:
    """(N,) of the messages in whose middle the values lie; NaN at both ends."""
    before = (count - len(values)) // 2
    return np.concatenate([np.full(before, np.nan), values, np.full(count - len(values) - before, np.nan)])


def _beyond(
    found: Series, number: int, what: str, values: FloatArray, top: float, unit: str, *, sign: float = 1.0
) -> Iterator[Finding]:
    mark: BoolArray = np.asarray(values > top)
    if not mark.any():
        return
    worst = float(np.nanmax(values))
    yield Finding(
        check="limits",
        stream=found.info.name,
        message=f"{name_of(found.info, number)} {what}: {sign * worst:.4g} {unit}, in {int(mark.sum())} messages",
        value=sign * worst,
        limit=sign * top,
        unit=unit,
        spans_ns=marked(found.times_ns, mark, period_ns(found.info, found.times_ns)),
    )
