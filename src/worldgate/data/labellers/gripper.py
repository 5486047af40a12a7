"""Gripper: open, closed on nothing, or closed on something, from its measured opening.

A gripper that rests short of closed holds something; one that rests at its end holds nothing, or something too thin
to tell, such as a cloth. While it moves it is in no state, so transitions are left out. Which end is closed differs
between robots and is no guess: DROID counts 0 open to 1 closed; set ``closed`` and ``opened`` for yours.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.core.errors import ConfigError
from worldgate.core.streams import BoolArray, Log
from worldgate.core.times import SECOND
from worldgate.data.labellers._signals import Signal, find_gripper, read
from worldgate.data.labelling.sets import Label
from worldgate.data.labelling.spans import closed, runs

CARD = {
    "line": "whether the gripper stands open, is closed on nothing, or holds something",
    "inputs": "measured opening of a gripper",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How the opening is read."""

    channel: str = "gripper"
    """Part of the channel's name."""
    opened: float = 0.0
    """Value of a fully open gripper."""
    closed: float = 1.0
    """Value of a fully closed one."""
    margin: float = 0.05
    """Share of the way that still counts as the end."""
    rest_per_s: float = 0.3
    """A gripper slower than this share of the way per second rests."""
    least_s: float = 0.2
    """Shorter states are passing, s."""

    def __post_init__(self) -> None:
        if self.opened == self.closed or not 0 < self.margin < 0.5:
            raise ConfigError("an opening from one value to another, and a margin", got=(self.opened, self.closed))


def reads(log: Log, config: Config) -> tuple[str, ...]:
    """The gripper's stream, where there is one."""
    found = find_gripper(log, config.channel)
    return (found.stream,) if found is not None else ()


def label(log: Log, config: Config) -> tuple[Label, ...]:
    """Spans of each state."""
    channels = find_gripper(log, config.channel)
    assert channels is not None
    raw = read(log, channels)
    if not len(raw.times_ns):
        return ()
    way = Signal(times_ns=raw.times_ns, values=(raw.values - config.opened) / (config.closed - config.opened))
    share, rests = way.values[:, 0], abs(way.slope(0.2)[:, 0]) < config.rest_per_s
    marks: dict[str, BoolArray] = {
        "open": share < config.margin,
        "closed": rests & (share > 1 - config.margin),
        "holding": rests & (share >= config.margin) & (share <= 1 - config.margin),
    }
    step = max(1, (way.end_ns - int(way.times_ns[0])) // len(way.times_ns))
    out = []
    for value, mark in marks.items():
        for start, end in closed(runs(mark, way.times_ns, way.end_ns), 0):
            if end - start >= max(round(config.least_s * SECOND), step):
                out.append(Label(label="gripper", value=value, start_ns=start, end_ns=end))
    return tuple(sorted(out, key=lambda item: item.span))
