"""Quaternion: rotations that are none, because their norm is not one, and signs that flip from message to message.

A quaternion and its negative are the same rotation, so a flip is no error of the sensor; but arithmetic channel by
channel (a mean, a difference, a network's loss) takes it for half a turn and more. Poses are read as x y z w after a
position; other streams where four channels are named qx, qy, qz and qw.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import BoolArray, Finding, FloatArray, Kind, Log, StreamInfo
from worldgate.data.checks._signals import Series, series
from worldgate.data.checks._spans import marked, period_ns

CARD = {
    "line": "quaternions whose norm is not one, and signs that flip",
    "inputs": "poses, and streams with channels named qx, qy, qz, qw",
}

_PARTS = ("qx", "qy", "qz", "qw")


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What a rotation may be."""

    norm: float = 0.01
    """Greatest distance of the norm from one."""
    flips: int = 0
    """Changes of sign allowed."""
    streams: tuple[str, ...] = ()
    """Only these; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find broken rotations; the value is a norm, or a count of flips."""
    return tuple(
        f for s in series(log, config.streams, least=1) for at in _places(s.info) for f in _rotation(s, at, config)
    )


def _places(info: StreamInfo) -> Iterator[list[int]]:
    """Channels of each quaternion, as x y z w."""
    if info.kind is Kind.POSE:
        yield [3, 4, 5, 6]
        return
    for number, name in enumerate(info.names):
        head, found, _ = name.lower().rpartition("qx")
        wanted = [f"{head}{part}" for part in _PARTS]
        lower = [n.lower() for n in info.names]
        if found and name.lower() == wanted[0] and all(part in lower for part in wanted):
            yield [number, *(lower.index(part) for part in wanted[1:])]


def _rotation(found: Series, at: list[int], config: Config) -> Iterator[Finding]:
    rotation = found.values[:, at]
    norm = np.linalg.norm(rotation, axis=1)
    off: FloatArray = np.nan_to_num(np.abs(norm - 1.0))
    if off.max(initial=0.0) > config.norm:
        bad: BoolArray = off > config.norm
        worst = float(norm[int(off.argmax())])
        said = f"{int(bad.sum())} of {len(norm)} rotations are none: a norm of {worst:.4g}"
        yield _finding(found, said, worst, 1.0, "norm", bad)
    flip = np.append(False, np.sum(rotation[1:] * rotation[:-1], axis=1) < -0.5 * np.square(norm[1:]))
    if int(flip.sum()) > config.flips:
        said = f"the sign flips {int(flip.sum())} times although the rotation hardly changes"
        yield _finding(found, said, float(flip.sum()), float(config.flips), "flips", flip)


def _finding(found: Series, said: str, value: float, limit: float, unit: str, mark: BoolArray) -> Finding:
    return Finding(
        check="quaternion",
        stream=found.info.name,
        message=said,
        value=value,
        limit=limit,
        unit=unit,
        spans_ns=marked(found.times_ns, mark, period_ns(found.info, found.times_ns)),
    )
