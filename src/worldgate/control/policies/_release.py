"""What the policies of this seam share: reading observations, placing actions, and becoming a release.

Shape legend: D channels of all observed streams, A action channels.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from worldgate.core.errors import DataRefused, UsageError, WeightsRefused
from worldgate.core.normalisers import Normaliser, wrap
from worldgate.core.streams import Array, FloatArray, StreamInfo
from worldgate.core.worlds import Observation, Signal
from worldgate.fleet import releases
from worldgate.fleet.releases import Controller, Release, Setting
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

WEIGHTS = "policy.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A policy that was fitted or configured, ready to become a release."""

    policy: str
    """Its entry in this seam."""
    tensors: Mapping[str, Array]
    normaliser: Normaliser
    observation: tuple[Signal, ...]
    action: Signal
    controller: Controller
    pre: Mapping[str, Setting] = field(default_factory=dict)
    post: Mapping[str, Setting] = field(default_factory=dict)
    runtime: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    facts: Mapping[str, float] = field(default_factory=dict)
    """Figures of the fit: rows, final loss."""
    about: Mapping[str, str] = field(default_factory=dict)
    """Text kept in the weights file, at most one entry: what its tensors are to be filled into."""

    def publish(
        self,
        ws: Workspace,
        *,
        name: str,
        dataset: str = "",
        code: str = "",
        parent: str = "",
        inputs: Sequence[Ref] = (),
    ) -> Ref:
        """Put the weights into the store and register the release.

        Args:
            ws: the workspace.
            name: what people call the release.
            dataset: digest of the dataset it was fitted on.
            code: revision of the code that fitted it.
            parent: digest of the release it was made from.
            inputs: what else it came from: the run.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / WEIGHTS
            self.save(path)
            weights = releases.put_weights(ws, {WEIGHTS: path})
        return releases.register(ws, self.release(weights, dataset, code, parent), name=name, inputs=inputs)

    def save(self, path: Path) -> None:
        """Write the weights file."""
        tensors = {k: np.asarray(v, order="C") for k, v in self.tensors.items()}
        safetensors.save_file(tensors, path, metadata=dict(self.about) or None)

    def release(self, weights: Mapping[str, str], dataset: str = "", code: str = "", parent: str = "") -> Release:
        """The executable identity, given the digests of the weights."""
        return Release(
            policy=self.policy,
            weights=weights,
            normaliser=self.normaliser,
            observation=self.observation,
            action=self.action,
            controller=self.controller,
            pre=self.pre,
            post=self.post,
            runtime=self.runtime,
            seed=self.seed,
            dataset=dataset,
            code=code,
            parent=parent,
        )


def signal_of(info: StreamInfo, name: str = "") -> Signal:
    """The schema of a stream, under its own or another name."""
    return Signal(name=name or info.name, unit=info.unit, names=info.names, shape=info.shape, frame=info.frame)


def read_tensors(weights: Mapping[str, bytes]) -> dict[str, Array]:
    """The tensors of the one weights file.

    Raises:
        WeightsRefused: another set of files, or not safetensors.
    """
    data = only_file(weights)
    try:
        return dict(safetensors.load(data))
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsRefused("these weights are not safetensors", got=error, where=WEIGHTS) from error


def only_file(weights: Mapping[str, bytes]) -> bytes:
    """The bytes of the one weights file.

    Raises:
        WeightsRefused: another set of files.
    """
    if set(weights) != {WEIGHTS}:
        raise WeightsRefused("this policy has one weights file", got=", ".join(weights), hint=WEIGHTS)
    return weights[WEIGHTS]


def file_text(weights: Mapping[str, bytes]) -> dict[str, str]:
    """The free text of the one weights file, which its digest covers.

    Raises:
        ValueError: no safetensors file.
    """
    data = only_file(weights)
    length = int.from_bytes(data[:8], "little")
    told = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return {str(key): str(value) for key, value in told.items()}


def read_observation(release: Release, observation: Observation) -> list[FloatArray]:
    """The observed streams in the release's order, normalised by the release's statistics: a list of (D_i,).

    Raises:
        DataRefused: a stream is missing, of another width, or not finite. A policy that guesses here moves an arm.
    """
    return _read(release, observation, release.observation)


def read_goal(release: Release, goal: Observation, signals: Sequence[Signal]) -> list[FloatArray]:
    """As :func:`read_observation`, of what is seen at a goal.

    Raises:
        UsageError: a goal of another size, or without what this release looks at.
    """
    try:
        return _read(release, goal, signals)
    except DataRefused as error:
        raise not_a_goal(error) from error


def goals_of(release: Release) -> tuple[str, ...]:
    """Streams that a release must be shown as they are at its goal; empty: it takes none."""
    named = str(release.pre.get("goal", ""))
    return tuple(named.split(",")) if named else ()


def not_a_goal(error: DataRefused) -> UsageError:
    """A goal that cannot be looked at, from why it could not be read."""
    what = "a goal of another size, or without what this release looks at"
    return UsageError(what, got=error.got, where=error.where)


def no_goals(release: Release) -> UsageError:
    """A release that was trained without goals."""
    return UsageError("this release takes no goal", got=release.policy, hint="train one with --set goal=...")


def no_aim(release: Release) -> UsageError:
    """A release that goes somewhere, and was not told where."""
    return UsageError("this release was not told where to go", got=release.policy, hint="aim(goal) before act()")


def _read(release: Release, observation: Observation, signals: Sequence[Signal]) -> list[FloatArray]:
    rows = []
    for signal in signals:
        row = np.asarray(observation.get(signal.name, ()), dtype=np.float64)
        if row.shape != signal.shape:
            raise DataRefused("not the observation this release reads", got=row.shape, where=signal.name)
        if not np.isfinite(row).all():
            raise DataRefused("an observation that is not finite", got=row, where=signal.name)
        rows.append(release.normaliser.apply(signal.name, row))
    return rows


def reference_index(signals: Sequence[Signal], post: Mapping[str, Setting], action: Signal) -> tuple[str, list[int]]:
    """The stream and its channels that the output is relative to: those named as the action's.

    Returns:
        The stream's name and one index for each action channel; an empty name where the output is absolute.

    Raises:
        DataRefused: the stream is not observed, or lacks such channels.
    """
    name = str(post.get("relative_to", ""))
    if not name:
        return "", []
    names = next((signal.names for signal in signals if signal.name == name), ())
    if not action.names or not set(action.names) <= set(names):
        raise DataRefused("the output is relative to channels that are not observed", got=action.names, where=name)
    return name, [names.index(channel) for channel in action.names]


@dataclass(frozen=True, slots=True)
class Origin:
    """What a chunk's actions are counted from: channels of an observed stream, named as the action's; others stay.

    Differences of angles that wrap are taken the short way round, and sums are brought back to [-pi, pi).
    """

    stream: str = ""
    """Empty: nothing is relative."""
    channels: tuple[int, ...] = ()
    """For each action channel the stream's; -1: it is absolute."""
    turning: tuple[bool, ...] = ()

    @classmethod
    def of(
        cls, signals: Sequence[Signal], post: Mapping[str, Setting], action: Signal, normaliser: Normaliser
    ) -> Origin:
        """As a release says it.

        Raises:
            DataRefused: the stream is not observed, or shares no channel with the action.
        """
        name = str(post.get("relative_to", ""))
        if not name:
            return cls()
        names = next((signal.names for signal in signals if signal.name == name), ())
        if not set(action.names) & set(names):
            raise DataRefused("the output is relative to channels that are not observed", got=action.names, where=name)
        channels = tuple(names.index(channel) if channel in names else -1 for channel in action.names)
        known = normaliser.statistics(name).circular or (False,) * len(names)
        return cls(name, channels, tuple(channel >= 0 and known[channel] for channel in channels))

    def at(self, observed: FloatArray) -> FloatArray:
        """(..., D) of the stream to (..., A); 0 for what is absolute."""
        index = np.asarray(self.channels)
        return np.where(index >= 0, np.asarray(observed)[..., np.maximum(index, 0)], 0.0)

    def away(self, action: FloatArray, origin: FloatArray) -> FloatArray:
        """Actions as they are learned."""
        return action - origin if not any(self.turning) else self._short(action - origin)

    def back(self, relative: FloatArray, origin: FloatArray) -> FloatArray:
        """The way back of :meth:`away`."""
        return relative + origin if not any(self.turning) else self._short(relative + origin)

    def _short(self, values: FloatArray) -> FloatArray:
        return np.where(self.turning, wrap(values), values)
