"""What the checks of numbers share: which streams tell of the robot's own motion, runs of a mark, names of channels.

Shape legend: N messages, D channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import (
    NUMERIC,
    BoolArray,
    Finding,
    FloatArray,
    IntArray,
    Kind,
    Log,
    Origin,
    Stream,
    StreamInfo,
)
from worldgate.data.checks._spans import columns, sampled
from worldgate.data.clocks.pairs import name_of, unit_of

__all__ = [
    "Only",
    "Series",
    "body_streams",
    "name_of",
    "positions",
    "rests",
    "robot_streams",
    "runs",
    "series",
    "unit_of",
]

_OWN = frozenset({"state", "arm", "arms", "tool", "pose", "qpos", "position", "positions", "gripper", "lifter"})
_OWN_STARTS = ("joint", "qpos", "eef", "ee_", "tcp", "arm_", "tool_")
_NOT_OWN = ("environment", "embedding", "object", "goal")
_SENSED = ("force", "wrench", "torque", "imu", "gyro", "accel", "vel", "effort", "tau")
_SCENE = ("lidar", "radar", "scan", "range", "depth", "reward", "is_", "discount", "index", "timestamp")
RESTING = ("gripper", "finger", "hand", "switch", "button", "mode", "flag", "status")
"""Words of channels that rest at a value by design."""
_RATES = ("vel", "acc", "speed", "eff", "torque", "force", "current", "temp", "tau")
_PLACES = frozenset({"", "rad", "deg", "m", "cm", "mm"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A stream of numbers in time order."""

    stream: Stream
    times_ns: IntArray
    """(N,) ascending; equal stamps stay."""
    values: FloatArray
    """(N, D), NaN where a number is not finite: the finite check reports those."""

    @property
    def info(self) -> StreamInfo:
        """Of the stream."""
        return self.stream.info


def series(log: Log, wanted: Sequence[str] = (), *, least: int = 3) -> Iterator[Series]:
    """Every stream of numbers with at least this many messages, or those wanted."""
    for stream in sampled(log, wanted):
        if stream.info.kind in NUMERIC and len(stream) >= least:
            order = np.argsort(stream.times_ns, kind="stable")
            values = columns(stream)[order]
            yield Series(
                stream=stream, times_ns=stream.times_ns[order], values=np.where(np.isfinite(values), values, np.nan)
            )


def robot_streams(log: Log) -> tuple[str, ...]:
    """Measured streams that tell how the robot itself moves; commands where nothing is measured."""
    measured, commands = [], []
    for info in log.streams():
        if info.kind is Kind.ACTION:
            commands.append(info.name)
        elif info.kind in NUMERIC and _own(info.name):
            measured.append(info.name)
    return tuple(measured or commands)


def _own(name: str) -> bool:
    """Whether one of the parts of a stream's name says that it is the robot's own place."""
    parts = name.lower().replace("/", ".").split(".")
    own = any(part in _OWN or part.startswith(_OWN_STARTS) for part in parts)
    return own and not any(word in name.lower() for word in _NOT_OWN)


def body_streams(log: Log) -> tuple[str, ...]:
    """Measured streams of the robot itself, where it is and what it feels; not its surroundings, not its commands."""
    own = []
    for info in log.streams():
        name = info.name.lower()
        measured = info.kind in NUMERIC and info.kind is not Kind.ACTION
        scene = any(word in name for word in (*_NOT_OWN, *_SCENE))
        if measured and not scene and (_own(name) or any(word in name for word in _SENSED)):
            own.append(info.name)
    return tuple(own)


def rests(info: StreamInfo, channel: int) -> bool:
    """Whether a channel's name says that it rests at a value by design."""
    name = name_of(info, channel).lower()
    return any(word in name for word in RESTING)


def positions(info: StreamInfo) -> BoolArray:
    """(D,) channels that hold a place or an angle, not a rate, a force or a temperature, as unit and name say."""
    width = int(np.prod(info.shape)) if info.shape else 1
    named = [name_of(info, channel).lower() for channel in range(width)]
    return np.asarray(
        [
            unit_of(info, channel) in _PLACES and not any(word in f"{info.name.lower()}.{name}" for word in _RATES)
            for channel, name in enumerate(named)
        ],
        bool,
    )


def runs(mark: BoolArray) -> list[tuple[int, int]]:
    """First and one past the last position of each run of marked ones."""
    edges = np.diff(np.concatenate([[False], mark, [False]]).astype(np.int8))
    return list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Only:
    """A log of which only some streams are seen."""

    log: Log
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.log.name

    @property
    def origin(self) -> Origin:
        return self.log.origin

    @property
    def facts(self) -> Mapping[str, str | float | bool]:
        return self.log.facts

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.log.findings

    def streams(self) -> tuple[StreamInfo, ...]:
        return tuple(info for info in self.log.streams() if info.name in self.names)

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        return self.log.read(stream, window_ns)
