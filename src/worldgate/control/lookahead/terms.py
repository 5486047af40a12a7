"""Constraints on plans, told from predicted numbers: an envelope, places to keep out of, links that must not touch.

Every term says by how much a row violates it. A plan that violates one costs more than any that does not, and the less
the better: so a search that finds no lawful plan still finds the least unlawful one, and says so.

Shape legend: N plans, L rows, D channels of a stream, J joints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import mujoco
import numpy as np

from worldgate.core.errors import CapabilityMissing, ConfigError, NotFound
from worldgate.core.streams import FloatArray
from worldgate.core.worlds import Signal

FORBIDDEN = 1e3
"""What the least violation adds to a plan's cost; lawful costs are of the order of 1."""


class Term(Protocol):
    """One constraint."""

    @property
    def streams(self) -> tuple[str, ...]:
        """What it must be told."""
        ...

    def violation(self, states: Mapping[str, FloatArray]) -> FloatArray:
        """(N, L) by how much each row violates it, in its own unit; 0 is lawful.

        Args:
            states: stream -> (N, L, D) predicted numbers.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope(Term):
    """Channels of a stream that must stay within bounds, in the stream's unit."""

    stream: str
    channels: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if not (len(self.channels) == len(self.low) == len(self.high)) or not self.channels:
            got = f"{len(self.channels)} channels, {len(self.low)} low, {len(self.high)} high"
            raise ConfigError("an envelope needs a low and a high for each channel", got=got, where=self.stream)

    @property
    def streams(self) -> tuple[str, ...]:
        return (self.stream,)

    def violation(self, states: Mapping[str, FloatArray]) -> FloatArray:
        values = states[self.stream][..., list(self.channels)]
        over = np.maximum(np.asarray(self.low) - values, values - np.asarray(self.high))
        return np.asarray(np.maximum(over, 0.0).sum(axis=-1))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepOut(Term):
    """A place, two or three channels of a stream, that must stay away from a point, fixed or told by another stream."""

    stream: str
    channels: tuple[int, ...]
    radius: float
    """In the stream's unit."""
    centre: tuple[float, ...] = ()
    """A fixed point."""
    centre_stream: str = ""
    """The stream that tells the point: a person's hand."""
    centre_channels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        told = len(self.centre_channels) if self.centre_stream else len(self.centre)
        if told != len(self.channels) or not self.channels or bool(self.centre) == bool(self.centre_stream):
            got = f"{len(self.channels)} channels, centre = {self.centre}, centre_stream = '{self.centre_stream}'"
            hint = "either centre, or centre_stream and centre_channels, of as many numbers as channels"
            raise ConfigError("a place to keep out of needs one point", got=got, where=self.stream, hint=hint)

    @property
    def streams(self) -> tuple[str, ...]:
        return (self.stream, *([self.centre_stream] if self.centre_stream else []))

    def violation(self, states: Mapping[str, FloatArray]) -> FloatArray:
        place = states[self.stream][..., list(self.channels)]
        point = np.asarray(self.centre)
        if self.centre_stream:
            point = states[self.centre_stream][..., list(self.centre_channels)]
        return np.asarray(np.maximum(self.radius - np.linalg.norm(place - point, axis=-1), 0.0))


@dataclass(frozen=True)
class SelfCollision(Term):
    """Links of a robot that must not come nearer to each other than a margin, by its own model.

    Attributes:
        model: its MJCF file.
        stream: stream of the joint positions.
        joints: joint of the model -> channel of the stream.
        pairs: geoms that must not touch.
        margin_m: how near they may come.
    """

    model: Path
    stream: str
    joints: Mapping[str, int]
    pairs: tuple[tuple[str, str], ...]
    margin_m: float = 0.0

    @property
    def streams(self) -> tuple[str, ...]:
        return (self.stream,)

    @cached_property
    def _loaded(self) -> tuple[Any, Any, list[int], list[int], list[tuple[int, int]]]:
        try:
            model = mujoco.MjModel.from_xml_path(str(self.model))
        except ValueError as error:
            raise ConfigError("not a model of a robot", got=str(error)[:80], where=self.model) from error
        try:
            places = [int(model.joint(name).qposadr[0]) for name in self.joints]
            pairs = [(model.geom(a).id, model.geom(b).id) for a, b in self.pairs]
        except KeyError as error:
            raise NotFound("the robot's model has no such part", got=str(error)[:120], where=self.model) from error
        return model, mujoco.MjData(model), places, list(self.joints.values()), pairs

    def violation(self, states: Mapping[str, FloatArray]) -> FloatArray:
        model, data, places, channels, pairs = self._loaded
        joints_NLJ = states[self.stream][..., channels]
        out = np.zeros(joints_NLJ.shape[:2])
        for at in np.ndindex(out.shape):
            data.qpos[places] = joints_NLJ[at]
            mujoco.mj_kinematics(model, data)
            for a, b in pairs:
                apart = mujoco.mj_geomDistance(model, data, a, b, self.margin_m + 1.0, None)
                out[at] += max(0.0, self.margin_m - apart)
        return out


def require(terms: Sequence[Term], told: Sequence[Signal], who: str) -> None:
    """Refuse terms that nothing tells.

    Raises:
        CapabilityMissing: a stream that is not predicted, or a channel that it does not have.
    """
    known = {signal.name: signal for signal in told}
    for term in terms:
        for name in term.streams:
            if name not in known:
                hint = f"it predicts {', '.join(sorted(known)) or 'nothing'}; train it to read the stream out"
                raise CapabilityMissing(f"{who} cannot predict what a constraint asks", got=name, hint=hint)


def penalty(terms: Sequence[Term], states: Mapping[str, FloatArray], plans: int) -> FloatArray:
    """(N,) what violations add to the costs of plans; 0 for lawful ones."""
    out = np.zeros(plans)
    for term in terms:
        worst = term.violation(states).max(axis=1)
        out += np.where(worst > 0, FORBIDDEN * (1 + worst), 0.0)
    return out
