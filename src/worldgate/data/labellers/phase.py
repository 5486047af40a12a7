"""Phase: what the arm is doing, one phase at a time, from the tool's motion with a force or a gripper.

With a gripper: it closes (grasp), rests closed (carry), opens (release). With a force and no gripper: touches of some
length are pushes. What is left is motion: before the last of these it reaches, after it it retreats, and a tool that
hardly moves for a while is idle. The phases cover the log without a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import BoolArray, IntArray, Log
from worldgate.core.times import SECOND
from worldgate.data.labellers._signals import Channels, Signal, find_force, find_gripper, find_tool, read
from worldgate.data.labelling.sets import Label
from worldgate.data.labelling.spans import Span, closed, inside, runs

CARD = {
    "line": "idle, reach, grasp, carry, push, release, retreat: one at a time, over the whole log",
    "inputs": "place of the tool, m, with a measured gripper or the force on the tool",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Where one phase ends and another begins."""

    channel: str = "gripper"
    """Part of the name of the gripper's channel."""
    opened: float = 0.0
    """Value of a fully open gripper."""
    closed: float = 1.0
    """Value of a fully closed one."""
    margin: float = 0.05
    """Share of the way up to which a gripper is open."""
    rest_per_s: float = 0.3
    """A gripper slower than this share of the way per second rests."""
    least_n: float = 0.15
    """Force of a touch, N."""
    pause_s: float = 0.3
    """Pauses up to this are part of a push, s."""
    idle_m_s: float = 0.01
    """A tool slower than this is still, m/s."""
    idle_s: float = 0.5
    """Stillness shorter than this is part of what goes on, s."""
    least_s: float = 0.1
    """Shorter phases join their neighbour, s."""


def _found(log: Log, config: Config) -> tuple[Channels, Channels | None, Channels | None] | None:
    tool, gripper, force = find_tool(log), find_gripper(log, config.channel), find_force(log)
    return None if tool is None or (gripper is None and force is None) else (tool, gripper, force)


def reads(log: Log, config: Config) -> tuple[str, ...]:
    """The tool, and the gripper or else the force."""
    found = _found(log, config)
    if found is None:
        return ()
    tool, gripper, force = found
    second = gripper or force
    assert second is not None
    return tuple(dict.fromkeys((tool.stream, second.stream)))


def label(log: Log, config: Config) -> tuple[Label, ...]:
    """Spans of each phase."""
    found = _found(log, config)
    assert found is not None
    tool = read(log, found[0])
    if len(tool.times_ns) < 2:
        return ()
    if found[1] is not None:
        acts = _grips(read(log, found[1]), tool.times_ns, config)
    else:
        assert found[2] is not None
        acts = _pushes(read(log, found[2]), tool.times_ns, config)
    names = _phases(tool, acts, config)
    return tuple(
        Label(label="phase", value=value, start_ns=start, end_ns=end)
        for value, (start, end) in _spans(names, tool, config)
    )


def _grips(raw: Signal, times_ns: IntArray, config: Config) -> dict[str, BoolArray]:
    share = Signal(times_ns=raw.times_ns, values=(raw.values - config.opened) / (config.closed - config.opened))
    pace = Signal(times_ns=raw.times_ns, values=share.slope(0.2)).at(times_ns)[:, 0]
    way = share.at(times_ns)[:, 0]
    shut = way >= config.margin
    return {
        "grasp": shut & (pace > config.rest_per_s),
        "release": shut & (pace < -config.rest_per_s),
        "carry": shut & (abs(pace) <= config.rest_per_s),
    }


def _pushes(force: Signal, times_ns: IntArray, config: Config) -> dict[str, BoolArray]:
    touching = np.linalg.norm(force.values, axis=1) > config.least_n
    spans = closed(runs(touching, force.times_ns, force.end_ns), round(config.pause_s * SECOND))
    return {"push": inside([s for s in spans if s[1] - s[0] >= config.least_s * SECOND], times_ns)}


def _phases(tool: Signal, acts: dict[str, BoolArray], config: Config) -> list[str]:
    """The phase at each stamp of the tool."""
    times = tool.times_ns
    acting = np.logical_or.reduce(list(acts.values()))
    last = int(times[np.flatnonzero(acting)[-1]]) if acting.any() else int(times[-1])
    still = np.linalg.norm(tool.slope(0.2), axis=1) < config.idle_m_s
    rests = [s for s in runs(still & ~acting, times, tool.end_ns) if s[1] - s[0] >= config.idle_s * SECOND]
    out = np.where(times > last, "retreat", "reach").astype(object)
    out[inside(rests, times)] = "idle"
    for name, mark in acts.items():
        out[mark] = name
    return [str(name) for name in out]


def _spans(names: Sequence[str], tool: Signal, config: Config) -> list[tuple[str, Span]]:
    """Runs of one phase; those too short to be one join the phase before, the first the one after."""
    out: list[tuple[str, Span]] = []
    borders = [0, *(k for k in range(1, len(names)) if names[k] != names[k - 1])]
    starts = [int(tool.times_ns[k]) for k in borders]
    for k, start, end in zip(borders, starts, [*starts[1:], tool.end_ns], strict=True):
        short = end - start < config.least_s * SECOND
        if out and (short or out[-1][0] == names[k]):
            out[-1] = (out[-1][0], (out[-1][1][0], end))
        else:
            out.append((names[k], (start, end)))
    if len(out) > 1 and out[0][1][1] - out[0][1][0] < config.least_s * SECOND:
        out[:2] = [(out[1][0], (out[0][1][0], out[1][1][1]))]
    return out
