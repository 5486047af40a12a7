"""What labellers find in a log: the tool's place, forces, a gripper's opening, an object's pose; by channel names.

Shape legend: N messages of a stream.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Array, BoolArray, FloatArray, IntArray, Kind, Log, StreamInfo
from worldgate.core.times import SECOND
from worldgate.data.labelling.spans import Span

TRUTH = "observation.environment_state"
"""The stream that holds what a labeller is judged by; read only by those whose card says so."""

_TOOLS = (("tool.x", "tool.y", "tool.z"), ("x", "y", "z"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Some channels of one stream."""

    stream: str
    columns: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Numbers over time: stamps strictly rising, rows with NaN and repeated stamps left out."""

    times_ns: IntArray
    """(N,)"""
    values: FloatArray
    """(N, D)"""

    @property
    def end_ns(self) -> int:
        """When the last value ends: a median period after it came."""
        steps = np.diff(self.times_ns)
        return int(self.times_ns[-1]) + (max(1, int(np.median(steps))) if len(steps) else 1)

    @property
    def whole(self) -> Span:
        """From the first value to the end of the last."""
        return int(self.times_ns[0]), self.end_ns

    def at(self, times_ns: IntArray) -> FloatArray:
        """(T, D) linear between values, held beyond the ends."""
        zero = self.times_ns[0]  # differences are small enough for float64, stamps are not
        x, known = (times_ns - zero).astype(np.float64), (self.times_ns - zero).astype(np.float64)
        return np.stack([np.interp(x, known, column) for column in self.values.T], axis=1)

    def slope(self, window_s: float) -> FloatArray:
        """(N, D) change per second over a centred window."""
        half = round(window_s * SECOND / 2)
        first = np.searchsorted(self.times_ns, self.times_ns - half)
        last = np.searchsorted(self.times_ns, self.times_ns + half, side="right") - 1
        apart = (self.times_ns[last] - self.times_ns[first]) / SECOND
        steps = self.values[last] - self.values[first]
        return np.asarray(np.divide(steps, apart[:, None], out=np.zeros_like(steps), where=apart[:, None] > 0))

    def smooth(self, window_s: float) -> FloatArray:
        """(N, D) mean over a centred window."""
        half = round(window_s * SECOND / 2)
        first = np.searchsorted(self.times_ns, self.times_ns - half)
        last = np.searchsorted(self.times_ns, self.times_ns + half, side="right")
        sums = np.concatenate([np.zeros((1, self.values.shape[1])), np.cumsum(self.values, axis=0)])
        return np.asarray((sums[last] - sums[first]) / (last - first)[:, None])


def read(log: Log, channels: Channels) -> Signal:
    """The channels as a signal; empty where no row is finite."""
    stream = log.read(channels.stream)
    width = int(np.prod(stream.array.shape[1:]))
    array: Array = np.asarray(stream.array, np.float64).reshape(len(stream), width)[:, channels.columns]
    times, place = np.unique(stream.times_ns, return_index=True)
    values = array[place]
    known: BoolArray = np.asarray(np.isfinite(values).all(axis=1))
    return Signal(times_ns=times[known], values=values[known])


def clock_of(log: Log, streams: tuple[str, ...]) -> str:
    """The clock that these streams share; empty where they do not, and labels could not say which one they are on."""
    clocks = {info.clock for info in log.streams() if info.name in streams}
    return clocks.pop() if len(clocks) == 1 else ""


def states(log: Log) -> list[StreamInfo]:
    """Streams of measured numbers, without the truth and without what people or programs say."""
    return [info for info in log.streams() if info.kind is Kind.VECTOR and info.name != TRUTH]


def named(info: StreamInfo, names: tuple[str, ...]) -> Channels | None:
    """Channels of these names; None where one is missing."""
    if not set(names) <= set(info.names):
        return None
    return Channels(stream=info.name, columns=tuple(info.names.index(name) for name in names))


def find_tool(log: Log) -> Channels | None:
    """Place of the tool in m: channels ``tool.x`` ..., or ``x``, ``y``, ``z`` of a stream that speaks of the tool."""
    for names in _TOOLS:
        for info in states(log):
            found = named(info, names)
            if found is not None and (names[0] != "x" or "tool" in info.name):
                return found
    return None


def find_force(log: Log) -> Channels | None:
    """Force on the tool in N: a stream of three or more channels whose unit is N."""
    for info in states(log):
        if info.unit.split(",")[0] == "N" and info.shape and info.shape[0] >= 3:
            return Channels(stream=info.name, columns=(0, 1, 2))
    return None


def find_gripper(log: Log, channel: str) -> Channels | None:
    """The measured opening: a channel whose name holds ``channel``."""
    for info in states(log):
        places = [place for place, name in enumerate(info.names) if channel in name.lower()]
        if len(places) == 1:
            return Channels(stream=info.name, columns=tuple(places))
    return None


def find_object(log: Log, *names: str) -> Channels | None:
    """Pose of the object, from whatever stream holds these channels: the truth's too, so a card must say so."""
    for info in log.streams():
        found = named(info, names) if info.kind is Kind.VECTOR else None
        if found is not None:
            return found
    return None
