"""Executing chunks: what is seen becomes tensors, a head gives K actions, n of them are executed, then it looks again.

All of it is read from the release: sizes, statistics, chunk, what the output is relative to. So what was measured at a
gate is what runs.

Shape legend: K actions of a chunk, A action channels, D channels of a stream, H x W pixels, S pixels a side.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from worldgate.control.policies._nets import NetConfig, Sight
from worldgate.control.policies._release import (
    WEIGHTS,
    Origin,
    file_text,
    goals_of,
    no_aim,
    no_goals,
    not_a_goal,
    only_file,
)
from worldgate.core.config import decode
from worldgate.core.errors import ConfigError, DataRefused, WeightsRefused
from worldgate.core.streams import Array, FloatArray, Kind
from worldgate.core.worlds import Observation, Signal
from worldgate.data.scaling import scale_into
from worldgate.fleet.releases import Release


class Sampler(Protocol):
    """What a chunk is drawn from."""

    def sample(self, seen: dict[str, Tensor], random: torch.Generator) -> Tensor:
        """(1, K, A), normalised."""
        ...


class Make(Protocol):
    """Builds an empty head."""

    def __call__(self, sight: Sight, net: NetConfig, about: Mapping[str, Any], release: Release) -> nn.Module: ...


class ChunkPolicy:
    """Fulfils :class:`worldgate.core.worlds.Policy` and, for a release that takes goals, ``GoalPolicy``.

    Args:
        release: the executable identity.
        head: its weights at work.
    """

    def __init__(self, release: Release, head: Sampler) -> None:
        self._release, self._head = release, head
        self._goals = goals_of(release)
        self._origin = Origin.of(vectors(release), release.post, release.action, release.normaliser)
        self._ensemble = float(release.post["ensemble"]) if "ensemble" in release.post else None
        self._random = torch.Generator()
        self._goal: dict[str, Tensor] = {}
        self.reset(seed=release.seed)

    @property
    def digest(self) -> str:
        return self._release.digest

    def reset(self, *, seed: int) -> None:
        """Forget goal and plans; chance goes on from the seed."""
        self._random.manual_seed(seed)
        self._goal = {}
        self._plans: deque[FloatArray] = deque(maxlen=self._release.controller.chunk)
        self._queue: deque[FloatArray] = deque()

    def aim(self, goal: Observation, *, steps: int) -> None:
        """See :class:`worldgate.core.tasks.GoalPolicy`."""
        if not self._goals:
            raise no_goals(self._release)
        wanted = tuple(s for s in self._release.observation if s.name in self._goals)
        try:
            self._goal = {f"goal/{name}": held for name, held in seen_of(self._release, goal, wanted).items()}
        except DataRefused as error:
            raise not_a_goal(error) from error

    def act(self, observation: Observation) -> FloatArray:
        """(A,), in the action's unit.

        Raises:
            DataRefused: an observation that does not fit.
            UsageError: a release that takes goals and was given none.
        """
        if self._ensemble is not None:
            return self._averaged(observation)
        if not self._queue:
            self._queue.extend(self.plan(observation)[: self._release.controller.execute])
        else:
            self._seen(observation)  # nothing bad is overlooked on the way
        return self._queue.popleft()

    def _averaged(self, observation: Observation) -> FloatArray:
        """The mean of what every plan that reaches this row says of it."""
        assert self._ensemble is not None
        self._plans.append(self.plan(observation))
        told = [plan[age] for age, plan in zip(range(len(self._plans) - 1, -1, -1), self._plans, strict=True)]
        weights = np.exp(-self._ensemble * np.arange(len(told)))
        return np.asarray((np.stack(told) * weights[:, None]).sum(0) / weights.sum())

    def plan(self, observation: Observation) -> FloatArray:
        """(K, A) a whole chunk, in the action's unit; nothing of it is kept.

        Raises:
            DataRefused: an observation that does not fit.
            UsageError: a release that takes goals and was given none.
        """
        seen = self._seen(observation)
        if self._goals and not self._goal:
            raise no_aim(self._release)
        with torch.inference_mode():
            chunk_1KA = self._head.sample({**seen, **self._goal}, self._random)
        plan_KA = self._release.normaliser.invert(self._release.action.name, chunk_1KA[0].double().numpy())
        if self._origin.stream:
            plan_KA = self._origin.back(plan_KA, self._origin.at(np.asarray(observation[self._origin.stream])))
        return plan_KA

    def _seen(self, observation: Observation) -> dict[str, Tensor]:
        """What the head is shown of an observation."""
        return seen_of(self._release, observation, self._release.observation)


def vectors(release: Release) -> tuple[Signal, ...]:
    """The streams of numbers among what it observes."""
    return tuple(s for s in release.observation if len(s.shape) == 1)


def seen_of(release: Release, observation: Observation, signals: tuple[Signal, ...]) -> dict[str, Tensor]:
    """What a head is shown: numbers (1, D) normalised, pictures (1, S, S, 3) at the release's size.

    Raises:
        DataRefused: a stream is missing, of another shape or type, or not finite.
    """
    seen: dict[str, Tensor] = {}
    for signal in signals:
        held = np.asarray(observation.get(signal.name, ()))
        if len(signal.shape) == 3:
            seen[signal.name] = torch.from_numpy(picture(held, signal))[None]
            continue
        if held.shape != signal.shape:
            raise DataRefused("not the observation this release reads", got=held.shape, where=signal.name)
        if not np.isfinite(held).all():
            raise DataRefused("an observation that is not finite", got=held, where=signal.name)
        row_D = release.normaliser.apply(signal.name, np.asarray(held, np.float64))
        seen[signal.name] = torch.from_numpy(row_D.astype(np.float32))[None]
    return seen


def picture(held: Array, signal: Signal) -> Array:
    """A colour picture at the size that a release looks at, by area averaging, as it learned.

    Raises:
        DataRefused: missing, or not (H, W, 3) uint8.
    """
    if held.ndim != 3 or held.shape[2] != 3 or held.dtype != np.uint8 or 0 in held.shape:
        got = f"{held.dtype} {held.shape}" if held.size else "nothing"
        raise DataRefused("not the picture this release looks at: uint8 (H, W, 3)", got=got, where=signal.name)
    out = np.empty(signal.shape, np.uint8)
    scale_into(held, out, Kind.IMAGE)
    return out


def built(
    release: Release,
    weights: Mapping[str, bytes],
    make: Make,
    acting: Callable[[Release, Any], ChunkPolicy] = ChunkPolicy,
) -> ChunkPolicy:
    """Build a head as the weights file says and fill it.

    Args:
        release: the executable identity.
        weights: file name -> bytes.
        make: builds an empty head.
        acting: what executes it.

    Raises:
        WeightsRefused: not safetensors, no head of this policy, or tensors of other names, shapes or values.
    """
    data = only_file(weights)
    tensors = load_tensors(data)
    try:
        tree = json.loads(file_text(weights)["head"])
        net = decode(NetConfig, tree.pop("net"), where=WEIGHTS)
        goals, chunk = goals_of(release), release.controller.chunk
        sight = Sight(seen=release.observation, goal=goals, chunk=chunk, action=release.action.shape[0])
        with torch.random.fork_rng(devices=()):  # the caller's random state is left alone
            head = make(sight, net, tree, release)
    except (ValueError, KeyError, TypeError, RuntimeError, ConfigError) as error:
        raise WeightsRefused("not the weights of this policy", got=str(error)[:80], where=WEIGHTS) from error
    fill(head, tensors)
    assert hasattr(head, "sample")
    return acting(release, head)


def load_tensors(data: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        WeightsRefused: not whole, or no such file.
    """
    try:
        return dict(safetensors.load(data))
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsRefused("these weights are not safetensors", got=str(error)[:80], where=WEIGHTS) from error


def fill(head: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load tensors strictly: the same names and shapes, all finite; what only served to learn is left as it is.

    Raises:
        WeightsRefused: they are not.
    """
    wanted = {name: held for name, held in head.state_dict().items() if not name.startswith("posterior.")}
    odd = sorted(set(wanted) ^ set(tensors))
    if odd:
        state = "missing" if odd[0] in wanted else "unknown"
        raise WeightsRefused(f"a tensor is {state}", got=odd[0], where=WEIGHTS)
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            got = f"{name} {tuple(tensor.shape)}, not {tuple(wanted[name].shape)}"
            raise WeightsRefused("a tensor of another shape", got=got, where=WEIGHTS)
        if not bool(torch.isfinite(tensor).all()):
            raise WeightsRefused("weights that are not finite", got=name, where=WEIGHTS)
    empty = any(held.is_meta for held in wanted.values())
    head.load_state_dict(dict(tensors), strict=False, assign=empty)
    head.requires_grad_(False)
    head.train(False)
