"""Contradictions: what a log says of itself against what it holds.

Declared rates against the stamps, shapes, channel names and units against the values, declared totals against
counts, the robot's name against its number of joints, success against what the episode's own rewards and events say.
A container that disagrees with itself across episodes is found by its reader and handed on by ``counts``; this check
holds one log against its own facts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from worldgate.core.streams import IMAGE_LIKE, NUMERIC, Finding, Kind, Log, Stream, StreamInfo
from worldgate.core.times import SECOND
from worldgate.data.checks._signals import robot_streams
from worldgate.data.checks._spans import columns, sampled

CARD = {
    "line": "metadata that contradicts content: rates, shapes, totals, durations, robots, success",
    "inputs": "facts, and every stream",
}

_JOINTS: Mapping[str, int] = {
    "franka": 7, "panda": 7, "fr3": 7, "ur3": 6, "ur5": 6, "ur10": 6, "ur16": 6, "xarm6": 6, "xarm7": 7, "iiwa": 7,
    "gen3": 7, "widowx": 5, "viperx": 6, "so100": 5, "so101": 5, "koch": 5, "aloha": 12, "kinova": 6, "sawyer": 7,
}  # fmt: skip
"""Joints of an arm by a word in the robot's name; fewer channels than this are not that robot."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How exactly metadata must hold."""

    rate: float = 0.08
    """Greatest distance of the median rate from the declared one, as a share of it."""
    duration: float = 0.05
    """Greatest distance of the length from the declared one, as a share of it."""
    joints: Mapping[str, int] = field(default_factory=dict)
    """More robots: a word of the name -> least number of channels of its state."""
    success: tuple[str, ...] = ("success",)
    """Facts that say how an episode ended."""
    streams: tuple[str, ...] = ()
    """Only these; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find contradictions; the value is what was measured, the limit what was declared."""
    streams = list(sampled(log, config.streams))
    numbers = [s for s in streams if s.info.kind is not Kind.IMAGE]
    alone = [f for s in numbers for f in (*_rate(s, config), *_shape(s), *_names(s))]
    return (*alone, *_totals(log, streams, config), *_robot(log, config), *_success(log, config))


def _finding(stream: str, said: str, value: float, limit: float, unit: str) -> Finding:
    return Finding(check="contradictions", stream=stream, message=said, value=value, limit=limit, unit=unit)


def _rate(stream: Stream, config: Config) -> Iterator[Finding]:
    """Only where nearly every step is off: lost messages leave the median alone, and are for other checks."""
    declared, steps = stream.info.rate_hz, np.diff(np.sort(stream.times_ns))
    steps = steps[steps > 0]
    if declared <= 0 or len(steps) < 8:
        return
    measured = SECOND / float(np.median(steps))
    mean = (len(stream) - 1) * SECOND / max(int(np.ptp(stream.times_ns)), 1)
    if abs(measured - declared) > config.rate * declared and abs(mean - declared) > config.rate * declared:
        said = f"declares {declared:g} Hz, its stamps say {measured:.2f} Hz"
        yield _finding(stream.info.name, said, measured, declared, "Hz")


def _shape(stream: Stream) -> Iterator[Finding]:
    info = stream.info
    if not len(stream) or not info.shape:
        return
    if isinstance(stream.values, np.ndarray):
        held = stream.values.shape[1:]
    else:
        held = stream.frames.read(np.zeros(1, np.int64)).shape[1:]
    if info.kind in NUMERIC and int(np.prod(held)) == int(np.prod(info.shape)):
        return
    if tuple(held) != tuple(info.shape):
        at = next((n for n, (a, b) in enumerate(zip(held, info.shape, strict=False)) if a != b), 0)
        said = f"declares messages of shape {_text(info.shape)}, and holds {_text(held)}"
        yield _finding(info.name, said, float(held[at]) if held else 0.0, float(info.shape[at]), "numbers")


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape) or "one number"


def _names(stream: Stream) -> Iterator[Finding]:
    info = stream.info
    if info.kind not in NUMERIC or not len(stream):
        return
    width = columns(stream).shape[1]
    units = len(info.unit.split(",")) if info.unit else 0
    for count, what in ((len(info.names), "names"), (units if units > 1 else 0, "units")):
        if count and count != width:
            yield _finding(info.name, f"has {count} {what} for {width} channels", float(width), float(count), what)
    if len(set(info.names)) != len(info.names):
        twice = sorted({name for name in info.names if info.names.count(name) > 1})
        said = f"has several channels named {', '.join(twice[:4])}"
        yield _finding(info.name, said, float(len(set(info.names))), float(len(info.names)), "names")


def _totals(log: Log, streams: list[Stream], config: Config) -> Iterator[Finding]:
    held = [s for s in streams if len(s) > 1]
    if not held:
        return
    first, last = min(int(s.times_ns.min()) for s in held), max(int(s.times_ns.max()) for s in held)
    length = (last - first) / SECOND
    for key in ("duration_s", "duration", "length_s"):
        declared = _number(log.facts.get(key))
        slack = config.duration * declared + 0.25
        if declared and abs(length - declared) > slack:
            said = f"the log says {key} = {declared:g} and lasts {length:.2f} s"
            yield _finding(_main(log), said, length, declared, "s")
    counts = {len(s) for s in streams}
    for key in ("num_frames", "frames", "length", "episode_length", "num_steps", "num_samples"):
        declared = _number(log.facts.get(key))
        if declared and not any(abs(count - declared) <= 1 for count in counts):
            nearest = min(counts, key=lambda n: abs(n - declared))
            said = f"the log says {key} = {declared:g}, and its streams hold {nearest}"
            yield _finding(_main(log), said, float(nearest), declared, "messages")
    yield from _fps(log, held, config)


def _fps(log: Log, held: list[Stream], config: Config) -> Iterator[Finding]:
    declared = _number(log.facts.get("fps"))
    periods = [float(np.median(np.diff(np.sort(s.times_ns)))) for s in held]
    rates = [SECOND / period for period in periods if period > 0]
    if declared and rates and min(abs(rate - declared) for rate in rates) > config.rate * declared:
        nearest = min(rates, key=lambda rate: abs(rate - declared))
        yield _finding(_main(log), f"the log says fps = {declared:g}, no stream runs so", nearest, declared, "Hz")


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else 0.0


def _main(log: Log) -> str:
    names = robot_streams(log)
    return names[0] if names else next((info.name for info in log.streams()), "")


def _robot(log: Log, config: Config) -> Iterator[Finding]:
    said = str(log.facts.get("robot", "")).lower()
    known = {**_JOINTS, **config.joints}
    words = [word for word in known if word in said]
    infos = [i for i in log.streams() if i.kind is Kind.VECTOR and "state" in i.name and "environment" not in i.name]
    widths = {info.name: info.shape[0] for info in infos if info.shape}
    if words and widths:
        least = known[max(words, key=len)]
        name, width = max(widths.items(), key=lambda item: item[1])
        if width < least:
            yield _finding(
                name, f"{log.facts['robot']} has {least} joints, its state {width} numbers", float(width), float(least),
                "channels",
            )  # fmt: skip
    declared = _number(log.facts.get("dof"))
    if declared and widths and max(widths.values()) < declared:
        name, width = max(widths.items(), key=lambda item: item[1])
        yield _finding(
            name, f"the log says dof = {declared:g}, its state has {width}", float(width), declared, "channels"
        )


def _success(log: Log, config: Config) -> Iterator[Finding]:
    """Success that neither a reward nor an event of the log confirms, where it has any that could."""
    stated = next((log.facts[key] for key in config.success if isinstance(log.facts.get(key), bool)), None)
    if stated is None:
        return
    for info in log.streams():
        if info.kind in IMAGE_LIKE:
            continue
        ended = _outcome(log, info)
        if ended is not None and ended is not stated:
            said = (
                f"the log says success = {str(stated).lower()}, {info.name} ends in {'success' if ended else 'failure'}"
            )
            yield _finding(info.name, said, float(ended), float(stated), "success")


def _outcome(log: Log, info: StreamInfo) -> bool | None:
    """How a stream says that the episode ended; None where it says nothing of that."""
    leaf = info.name.rpartition(".")[2].lower()
    if info.kind in NUMERIC and leaf in {"success", "is_success"}:
        values = columns(log.read(info.name))
        return bool(values.any()) if len(values) else None
    if info.kind is not Kind.EVENT:
        return None
    words = [_word(str(text)) for text in log.read(info.name).array]
    ends = [word for word in words if word in {"success", "failure", "failed", "abort", "aborted"}]
    return ends[-1] == "success" if ends else None


def _word(text: str) -> str:
    try:
        body = json.loads(text)
    except ValueError:
        return text.strip().lower()
    return str(body.get("event", body.get("type", ""))).lower() if isinstance(body, dict) else str(body).lower()
