"""Nothing happens: the operator reads a message before starting, or forgets to stop recording."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from worldgate.core.streams import IMAGE_LIKE, NUMERIC, Array, Frames, IntArray, Kind, Log, Stream
from worldgate.core.times import SECOND
from worldgate.data.injectors._wrap import (
    Fault,
    Injected,
    Pictures,
    choose,
    counted,
    injected,
    motion,
    period_ns,
    pictures,
    rate_of,
    units,
)

CARD = {"line": "seconds before the start or after the end in which nothing moves", "inputs": "every stream"}

_SWEEP = (1.0, 2.0, 5.0, 10.0)
FAULTS = (
    Fault(name="tail", line="recording goes on after the end", unit="s", least=5.0, sweep=_SWEEP),
    Fault(name="head", line="recording starts before anybody does", unit="s", least=5.0, sweep=_SWEEP),
    Fault(
        name="pause",
        line="the operator is called away in the middle, for so many times the rest",
        unit="times",
        least=4.0,
        sweep=(1.0, 4.0),
    ),
)

_GREY = 1.0
"""Noise of a camera, grey levels."""
_BRAKING_S = 0.3
"""In which a speed falls to nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Where, and for how long."""

    variant: str = "tail"
    magnitude: float = 5.0
    """Seconds, or times the length of the log."""


def inject(log: Log, config: Config, seed: int) -> Injected:
    """The log with every sensor going on over a scene at rest: with its own noise, and cameras with theirs."""
    draw = np.random.default_rng(seed)
    held = [log.read(i.name) for i in log.streams() if i.kind in NUMERIC or i.kind in IMAGE_LIKE]
    choose(held, "stream")
    start, end = min(int(s.times_ns[0]) for s in held), max(int(s.times_ns[-1]) for s in held)
    seconds = config.magnitude * ((end - start) / SECOND if config.variant == "pause" else 1.0)
    at = {"tail": end + 1, "head": start, "pause": _slowest(log)}[config.variant]
    longer = [_held(s, at, round(seconds * SECOND), draw) for s in held]
    rest = [log.read(i.name) for i in log.streams() if i.name not in {s.info.name for s in held}]
    longer += [replace(s, times_ns=_later(s.times_ns, at, round(seconds * SECOND))) for s in rest]
    stated = {"duration_s": float(log.facts["duration_s"]) + seconds} if "duration_s" in log.facts else {}
    return injected(log, longer, spans=((at, at + round(seconds * SECOND)),), stated=stated)


def _slowest(log: Log) -> int:
    """When the robot moves least in the middle third: it comes to rest before somebody walks away."""
    times, speed = motion(log)
    third = len(times) // 3
    return int(times[third + int(np.argmin(speed[third : 2 * third + 1]))])


def _later(times: IntArray, at: int, length: int) -> IntArray:
    return np.where(times >= at, times + length, times)


def _held(stream: Stream, at: int, length: int, draw: np.random.Generator) -> Stream:
    """The stream with its value at an instant held from there on for so long."""
    period = period_ns(stream)
    row = min(int(np.searchsorted(stream.times_ns, at)), len(stream) - 1)
    begin = int(stream.times_ns[row]) if stream.times_ns[row] >= at else int(stream.times_ns[-1]) + period
    more = begin + np.arange(max(1, length // period), dtype=np.int64) * period
    place = int(np.searchsorted(stream.times_ns, at))
    moved = np.where(stream.times_ns >= at, stream.times_ns + len(more) * period, stream.times_ns)
    times = np.insert(moved, place, more)
    logged = stream.log_times_ns
    if logged is not None:
        delays = draw.choice(logged - stream.times_ns, size=len(more))
        logged = np.insert(logged + (moved - stream.times_ns), place, np.maximum.accumulate(more + delays))
        logged[place:] = np.maximum.accumulate(logged[place:])  # a recorder writes in the order of arrival
    longer = replace(stream, times_ns=times, log_times_ns=logged, values=_rest(stream, row, place, len(more), draw))
    return counted(longer)


def _rest(stream: Stream, row: int, place: int, count: int, draw: np.random.Generator) -> Array | Frames:
    if stream.info.kind is Kind.IMAGE:
        pixels = pictures(stream)
        once = np.rint(draw.normal(0, _GREY, pixels[row].shape)).astype(np.int16)
        places = draw.integers(0, pixels.shape[1:3], size=(count, 2))
        noise = np.stack([np.roll(once, tuple(at), axis=(0, 1)) for at in places.tolist()])
        still = np.clip(pixels[row].astype(np.int16) + noise, 0, 255).astype(np.uint8)
        return Pictures(pixels=np.concatenate([pixels[:place], still, pixels[place:]]))
    if stream.info.kind in IMAGE_LIKE:
        frames = stream.frames.read(np.arange(len(stream)))
        return Pictures(pixels=np.insert(frames, [place] * count, frames[row], axis=0))
    values = np.asarray(stream.array, dtype=np.float64)
    still = np.repeat(values[row : row + 1], count, axis=0)
    if values.ndim == 2 and len(units(stream)) == values.shape[1]:
        braking = np.clip(1 - np.arange(count) / max(1.0, _BRAKING_S * rate_of(stream)), 0, 1)[:, None]
        # Before the start a robot speeds up into its motion; anywhere else it brakes out of it.
        still[:, ["/s" in unit for unit in units(stream)]] *= braking[::-1] if place == 0 else braking
    noise = 0.2 * np.quantile(np.abs(np.diff(values, axis=0)), 0.05, axis=0)
    if stream.info.kind is not Kind.ACTION:
        still = still + draw.normal(0, 1, still.shape) * noise
    longer: Array = np.insert(values, [place] * count, still, axis=0).astype(stream.array.dtype)
    return longer
