"""Slip: what the tool pushes slides along it, or what a gripper holds gets lost.

Pushing, where the log holds the object's pose: the speed of the tool's surface against the object's at the point of
touch, which lies one tool radius from the tool's middle against the force on it. Both move as rigid bodies in the
plane. Grasping, where there is a gripper and no pose: the gripper closes on although it was holding. From force and
tool motion alone slip of a pushed object cannot be told (see ``docs/log.md``), so then nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from worldgate.core.streams import FloatArray, Log
from worldgate.core.times import SECOND
from worldgate.data.labellers._signals import (
    Channels,
    Signal,
    find_force,
    find_gripper,
    find_object,
    find_tool,
    read,
)
from worldgate.data.labelling.sets import Label
from worldgate.data.labelling.spans import Span, closed, inside, runs

CARD = {
    "line": "spans in which a pushed object slides along the tool, or a held one is lost",
    "inputs": "force, tool and object pose (which the cell keeps in environment_state), or a gripper",
}

POSE = ("object.x", "object.y", "object.yaw")


@dataclass(frozen=True, kw_only=True, slots=True)
class GripConfig:
    """How a gripper's opening is read."""

    channel: str = "gripper"
    """Part of the channel's name."""
    opened: float = 0.0
    """Value of a fully open gripper."""
    closed: float = 1.0
    """Value of a fully closed one."""
    margin: float = 0.05
    """Closing on by this share of the way, after resting, is a loss."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What counts as slip."""

    least_n: float = 0.15
    """Force of a touch, N."""
    pause_s: float = 0.1
    """Pauses up to this are part of a touch, s."""
    window_s: float = 0.1
    """Over which speeds are measured, s."""
    least_m_s: float = 0.03
    """Speed of the surfaces against each other from which it is slip, m/s."""
    radius_m: float = 0.016
    """Of the tool, m."""
    least_s: float = 0.05
    """Shorter slips are noise, s."""
    grip: GripConfig = field(default_factory=GripConfig)
    """For logs of grippers."""


def _pushing(log: Log) -> tuple[Channels, Channels, Channels] | None:
    found = (find_force(log), find_tool(log), find_object(log, *POSE))
    force, tool, pose = found
    return None if force is None or tool is None or pose is None else (force, tool, pose)


def reads(log: Log, config: Config) -> tuple[str, ...]:
    """Force, tool and object, else the gripper."""
    pushing = _pushing(log)
    if pushing is not None:
        return tuple(channels.stream for channels in pushing)
    gripper = find_gripper(log, config.grip.channel)
    return (gripper.stream,) if gripper is not None else ()


def label(log: Log, config: Config) -> tuple[Label, ...]:
    """Spans of slip."""
    pushing = _pushing(log)
    spans = _of_push(log, pushing, config) if pushing is not None else _of_grip(log, config.grip)
    return tuple(Label(label="slip", start_ns=start, end_ns=end) for start, end in spans)


def _of_push(log: Log, channels: tuple[Channels, Channels, Channels], config: Config) -> list[Span]:
    force, tool, pose = (read(log, item) for item in channels)
    if not len(force.times_ns) or not len(tool.times_ns) or not len(pose.times_ns):
        return []
    touch = runs(np.linalg.norm(force.values, axis=1) > config.least_n, force.times_ns, force.end_ns)
    touching = inside(closed(touch, round(config.pause_s * SECOND)), force.times_ns)
    speed = _sliding(force, tool, pose, config)
    slips = closed(runs(touching & (speed > config.least_m_s), force.times_ns, force.end_ns), 0)
    return [span for span in slips if span[1] - span[0] >= config.least_s * SECOND]


def _sliding(force: Signal, tool: Signal, pose: Signal, config: Config) -> FloatArray:
    """(N,) speed of the tool's surface against the object's at each stamp of the force, m/s."""
    at = force.times_ns
    moving = Signal(times_ns=tool.times_ns, values=tool.slope(config.window_s)[:, :2]).at(at)
    turning = Signal(times_ns=pose.times_ns, values=pose.slope(config.window_s)).at(at)
    push = force.smooth(config.window_s)[:, :2]
    norm = np.maximum(np.linalg.norm(push, axis=1, keepdims=True), 1e-9)
    out = -push / norm
    arm = tool.at(at)[:, :2] + config.radius_m * out - pose.at(at)[:, :2]
    surface = turning[:, :2] + turning[:, 2:3] * np.stack([-arm[:, 1], arm[:, 0]], axis=1)
    against = moving - surface
    across = against - (against * out).sum(axis=1, keepdims=True) * out
    return np.asarray(np.linalg.norm(across, axis=1))


def _of_grip(log: Log, config: GripConfig) -> list[Span]:
    channels = find_gripper(log, config.channel)
    assert channels is not None
    raw = read(log, channels)
    if not len(raw.times_ns):
        return []
    share = (raw.values[:, 0] - config.opened) / (config.closed - config.opened)
    way = Signal(times_ns=raw.times_ns, values=share[:, None])
    pace = way.slope(0.2)[:, 0]
    rests = (abs(pace) < 0.05) & (share > config.margin) & (share < 1 - config.margin)
    spans = []
    for start, end in runs(pace > 0.1, way.times_ns, way.end_ns):
        before = (way.times_ns < start) & (way.times_ns >= start - SECOND)
        of = (way.times_ns >= start) & (way.times_ns < end)
        held = before.any() and bool(rests[before].mean() > 0.8)
        if held and share[of].max() - share[before][-1] > config.margin:
            spans.append((start, end))
    return spans
