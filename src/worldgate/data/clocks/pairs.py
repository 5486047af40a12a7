"""Which command says where which measured channel should go: pairs of channels, found by name, else by position.

Shape legend: N messages, D paired channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import FloatArray, IntArray, Kind, Log, Stream, StreamInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A command and the measured stream that follows it, channel by channel."""

    action: StreamInfo
    state: StreamInfo
    channels: tuple[tuple[int, int], ...]
    """(channel of the action, channel of the state) that mean the same."""
    named: bool
    """By equal names; else only by equal position."""


def pairs(log: Log) -> tuple[Pair, ...]:
    """Every action with the state that shares most channels with it; actions without such a state are left out."""
    infos = [info for info in log.streams() if len(info.shape) == 1 and info.shape[0]]
    states = [info for info in infos if info.kind is Kind.VECTOR]
    found = []
    for action in (info for info in infos if info.kind is Kind.ACTION):
        best = max((_pair(action, state) for state in states), key=lambda p: (p.named, len(p.channels)), default=None)
        if best is not None and best.channels:
            found.append(best)
    return tuple(found)


def _pair(action: StreamInfo, state: StreamInfo) -> Pair:
    if action.names and state.names:
        place = {name: n for n, name in enumerate(state.names)}
        candidates = [(n, place[name]) for n, name in enumerate(action.names) if name in place]
    elif action.shape == state.shape and state.name == "observation.state":
        candidates = [(n, n) for n in range(action.shape[0])]
    else:
        candidates = []
    same = tuple((a, s) for a, s in candidates if unit_of(action, a) == unit_of(state, s))
    return Pair(action=action, state=state, channels=same, named=bool(action.names and state.names))


def unit_of(info: StreamInfo, channel: int) -> str:
    """The unit of one channel; empty where unknown, or where the log declares more channels than units."""
    units = info.unit.split(",")
    if len(units) == 1:
        return units[0]
    return units[channel] if channel < len(units) else ""


def name_of(info: StreamInfo, channel: int) -> str:
    """What people call one channel."""
    return info.names[channel] if channel < len(info.names) else str(channel)


def in_order(stream: Stream) -> tuple[IntArray, FloatArray]:
    """(N,) rising distinct stamps and (N, D) finite values of a stream of numbers; angles do not wrap in them."""
    times, at = np.unique(stream.times_ns, return_index=True)
    values = np.asarray(stream.array, np.float64).reshape(len(stream), int(np.prod(stream.array.shape[1:])))[at]
    good = np.isfinite(values).all(axis=1)
    times, values = times[good], values[good]
    for channel in range(values.shape[1]):
        if unit_of(stream.info, channel) == "rad" and np.abs(values[:, channel]).max(initial=0.0) < np.pi + 0.01:
            values[:, channel] = np.unwrap(values[:, channel])
    return times, values


def signals(log: Log, pair: Pair) -> Iterator[tuple[IntArray, FloatArray]]:
    """The action's and the state's stamps and paired channels."""
    for info, column in ((pair.action, 0), (pair.state, 1)):
        times, values = in_order(log.read(info.name))
        yield times, values[:, [channel[column] for channel in pair.channels]]
