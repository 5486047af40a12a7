"""Content rate: how often a camera really shows something new, against the rate that it declares.

A recorder that runs faster than its camera hands out pictures twice, and stamps them as if they were new. Frames that
repeat are told from frames in which nothing happened by what stands around them: a repeat lies between two changes and
what it held back comes at once with the next picture. A stretch in which nothing moves says nothing and is left out,
so a still scene is silent, with a still robot and with one that works out of sight. Where the robot itself stops and
goes in step with the picture, the pauses are its own.

The answer is an interval: Wilson's 95 % interval of the share of new pictures among the frames that can be judged.
Frames that never came (holes in the stamps) are left to ``dropped_frames``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import BoolArray, Finding, IntArray, Log
from worldgate.core.times import SECOND
from worldgate.data.checks._frames import Features, cameras
from worldgate.data.checks._motion import Motion, motion_of
from worldgate.data.checks._renewal import Renewal, renewal, runs
from worldgate.data.checks._spans import merge

CARD = {
    "line": "cameras whose pictures renew more slowly than declared",
    "inputs": "every camera, frame types and packets where it is video; the streams of numbers for the robot's pauses",
    "source": "key-frame-aware repeats, after a public 30 fps dataset whose pictures renew at 15 Hz; Wilson 1927",
}

_DIP = 0.5
"""A repeat changes at most this share of what the changes around it do."""
_PAUSED = 0.4
"""The robot pauses where it travels less than this share of its usual way."""
_HELD = 5
"""Frames for which a slow camera may hold a picture, however long that takes."""
_LAGS = 5
"""Frames by which picture and telemetry may lie apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How slow is too slow, and how much must be seen to say so."""

    least: float = 0.85
    """Smallest share of the declared rate at which pictures may renew."""
    hold_s: float = 0.5
    """A picture held for longer is a frozen camera, which another check reports."""
    frames: int = 16
    """Least frames that can be judged."""
    holds: int = 5
    """Least pictures among them that were handed out more than once."""
    streams: tuple[str, ...] = ()
    """Only these cameras; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find cameras that renew too slowly; the value is the rate in Hz, the message gives its interval."""
    motion: Motion | None = None
    found = []
    for features in cameras(log, config.streams):
        rate = measure(features, config)
        if rate is None:
            continue
        if rate.repeats:
            motion = motion_of(log) if motion is None else motion
            if _pauses(features, rate, motion):
                continue
        if rate.high_hz < config.least * rate.declared_hz:
            found.append(_finding(features, rate, config))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a camera delivers."""

    declared_hz: float
    stamped_hz: float
    """By the usual step of the stamps."""
    hz: float
    low_hz: float
    high_hz: float
    """95 % interval of ``hz``."""
    judged: BoolArray
    """(N,) frames that can be judged: between changes."""
    repeat: BoolArray
    """(N,) those of them that repeat the picture before."""

    @property
    def repeats(self) -> int:
        """How many frames repeat."""
        return int(self.repeat.sum())


def measure(features: Features, config: Config) -> Rate | None:
    """The rate of new pictures; None where the stamps have no rate or too little can be judged."""
    if len(features) < 2 or features.period_ns <= 1:
        return None
    stamped = SECOND / features.period_ns
    declared = features.stream.info.rate_hz or stamped
    seen = renewal(features)
    hold = max(_HELD, round(config.hold_s * stamped))
    judged, repeat = _judge(seen, hold)
    count, repeats = int(judged.sum()), int(repeat.sum())
    enough = count >= config.frames and len(runs(repeat)) >= config.holds
    if not enough and stamped >= config.least * declared:
        return None
    low, high = _wilson(count - repeats, count) if enough else (1.0, 1.0)
    return Rate(
        declared_hz=declared,
        stamped_hz=stamped,
        hz=stamped * (1 - repeats / count if enough else 1.0),
        low_hz=stamped * low,
        high_hz=stamped * high,
        judged=judged,
        repeat=repeat & enough,
    )


def _judge(seen: Renewal, hold: int) -> tuple[BoolArray, BoolArray]:
    """(N,) frames between two clear changes at most ``hold`` apart, and those that repeat; in doubt neither."""
    judged = np.zeros(len(seen.still), dtype=np.bool_)
    repeat = judged.copy()
    changes = np.flatnonzero(seen.moved)
    for before, after in zip(changes[:-1].tolist(), changes[1:].tolist(), strict=True):
        if after - before > hold:
            continue
        inside, around = slice(before + 1, after), min(seen.change[before], seen.change[after])
        if seen.still[inside].all() and (seen.alive or (seen.change[inside] <= _DIP * around).all()):
            judged[before + 1 : after + 1] = True
            repeat[inside] = True
    return judged, repeat


def _pauses(features: Features, rate: Rate, motion: Motion) -> bool:
    """Whether the repeats fall where the robot itself hardly moves, at any small lag of the telemetry."""
    stamped = SECOND / features.period_ns
    if motion.rate_hz < 0.9 * stamped:
        return False
    times = features.times_ns
    way = np.concatenate([[0.0], motion.travelled(times[:-1], times[1:])])
    new = rate.judged & ~rate.repeat
    for lag in range(-_LAGS, _LAGS + 1):
        shifted = np.roll(way, lag)
        usual = float(np.median(shifted[new]))
        if usual > 0 and float(np.median(shifted[rate.repeat])) < _PAUSED * usual:
            return True
    return False


def _wilson(successes: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a share."""
    share, extra = successes / count, z * z / count
    centre = (share + extra / 2) / (1 + extra)
    half = z * np.sqrt(share * (1 - share) / count + extra / (4 * count)) / (1 + extra)
    return float(centre - half), float(centre + half)


def _finding(features: Features, rate: Rate, config: Config) -> Finding:
    how = (
        f"{rate.repeats} of {int(rate.judged.sum())} frames in which something moves repeat the picture before"
        if rate.repeats
        else f"its stamps come at {rate.stamped_hz:.3g} Hz"
    )
    return Finding(
        check="content_rate",
        stream=features.name,
        message=(
            f"pictures renew at {rate.hz:.1f} Hz ({rate.low_hz:.1f} to {rate.high_hz:.1f}) where "
            f"{rate.declared_hz:.4g} Hz is declared: {how}"
        ),
        value=rate.hz,
        limit=config.least * rate.declared_hz,
        unit="Hz",
        spans_ns=_spans(features.times_ns, rate),
    )


def _spans(times: IntArray, rate: Rate) -> tuple[tuple[int, int], ...]:
    """Stretches in which repeats were seen, from the picture that is held to the one that ends it."""
    where = runs(rate.repeat)
    if not len(where):
        return ()
    return merge(times[where[:, 0] - 1], times[np.minimum(where[:, 1], len(times) - 1)])
