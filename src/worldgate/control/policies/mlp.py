"""Behaviour cloning: a small network from normalised observations to the next tool target. Torch to fit, numpy to act.

The target is learned relative to a measured reference (the tool's own place), which a policy then adds back: an error
of the network is an error of the step, not of the place. Cloning drifts off the data; what helps most is data in which
the executed action was disturbed while the label stayed the expert's (DART, Laskey et al. 2017, arXiv:1703.09327), see
:mod:`worldgate.control.demonstrations`. With goals it is goal-conditioned cloning: what a later row of the same episode
shows is where its actions led (hindsight, arXiv:1707.01495).

Shape legend: N rows, D observed channels, A action channels, F hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from worldgate.control.policies._release import (
    Fitted,
    goals_of,
    no_aim,
    no_goals,
    read_goal,
    read_observation,
    read_tensors,
    reference_index,
    signal_of,
)
from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused, MissingExtra, UsageError, WeightsRefused
from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import FloatArray, IntArray
from worldgate.core.worlds import Observation, Policy, Signal
from worldgate.fleet.releases import Controller, Release
from worldgate.worlds.train.monitor import Report

CARD = {
    "line": "behaviour cloning by a small network; fitted with torch, executed with numpy",
    "inputs": "vector streams, for example observation.state and observation.environment_state",
    "source": "Pomerleau 1989; DART, arXiv:1703.09327",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class MlpConfig:
    """What is fitted, on what, for how long."""

    observation: tuple[str, ...] = ("observation.state", "observation.environment_state")
    """Streams it reads."""
    action: str = "action"
    """Stream it is asked to give."""
    label: str = "action"
    """Stream it learns from: the expert's command, where that differs from what was executed."""
    relative_to: str = "observation.state"
    """Stream whose channels, named as the action's, the output is added to; empty: absolute."""
    convention: str = "tool_position"
    """Controller convention of the action."""
    goal: tuple[str, ...] = ()
    """Those of the observed streams that it is also shown as they are at the goal; empty: it takes no goal."""
    goals: int = 8
    """Later rows of the same episode that each row is paired with as goals, drawn at random."""
    hidden: int = 192
    """Units of each of the two hidden layers."""
    steps: int = 4000
    """Gradient steps."""
    batch: int = 512
    """Rows a step."""
    learning_rate: float = 2e-3
    """Peak of the cosine schedule."""
    weight_decay: float = 1e-3
    """Of AdamW."""
    seed: int = 0
    """Of the initial weights and the batches."""


Config = MlpConfig


class MlpPolicy(Policy):
    """Executes fitted weights.

    Args:
        release: the executable identity.
        weights: its one safetensors file.

    Raises:
        WeightsRefused: tensors that do not fit the release's schema.
    """

    def __init__(self, release: Release, weights: Mapping[str, bytes]) -> None:
        self._release = release
        tensors = read_tensors(weights)
        depth = len(tensors) // 2
        if not depth or set(tensors) != {f"{i}.{part}" for i in range(depth) for part in ("weight", "bias")}:
            raise WeightsRefused("not the tensors of this policy", got=", ".join(sorted(tensors))[:80])
        self._layers = [
            (np.asarray(tensors[f"{i}.weight"], dtype=np.float64), np.asarray(tensors[f"{i}.bias"], dtype=np.float64))
            for i in range(depth)
        ]
        self._goals = tuple(s for s in release.observation if s.name in goals_of(release))
        self._goal: FloatArray | None = None
        widths = (sum(math.prod(s.shape) for s in (*release.observation, *self._goals)), *release.action.shape)
        if (self._layers[0][0].shape[1], self._layers[-1][0].shape[0]) != widths:
            raise WeightsRefused("weights of other widths than the schema", got=widths)
        self._reference = reference_index(release.observation, release.post, release.action)

    @property
    def digest(self) -> str:
        return self._release.digest

    def reset(self, *, seed: int) -> None:
        """Forget the goal; else the output depends on this row alone."""
        self._goal = None

    def aim(self, goal: Observation, *, steps: int) -> None:
        """See :class:`worldgate.core.tasks.GoalPolicy`."""
        if not self._goals:
            raise no_goals(self._release)
        self._goal = np.concatenate(read_goal(self._release, goal, self._goals))

    def act(self, observation: Observation) -> FloatArray:
        x_F = np.concatenate(read_observation(self._release, observation))
        if self._goals:
            if self._goal is None:
                raise no_aim(self._release)
            x_F = np.concatenate([x_F, self._goal])
        for weight, bias in self._layers[:-1]:
            x_F = _silu(weight @ x_F + bias)
        weight, bias = self._layers[-1]
        action_A = self._release.normaliser.invert(self._release.action.name, weight @ x_F + bias)
        stream, channels = self._reference
        if stream:
            action_A = action_A + np.asarray(observation[stream], dtype=np.float64)[channels]
        return action_A


def _silu(x: FloatArray) -> FloatArray:
    with np.errstate(over="ignore"):  # exp of a large negative input overflows to the right limit, 0
        return np.asarray(x / (1.0 + np.exp(-x)))


def build(release: Release, weights: Mapping[str, bytes]) -> MlpPolicy:
    """See :class:`worldgate.control.policies.PolicyModule`."""
    return MlpPolicy(release, weights)


def train(episodes: Sequence[Episode], config: MlpConfig, progress: Report | None = None) -> Fitted:
    """Fit the network to episodes; the same episodes and configuration give the same weights on one machine.

    Raises:
        DataRefused: no episodes, episodes whose schemas differ, or values that are not finite.
        MissingExtra: torch is not installed.
    """
    if not episodes:
        raise DataRefused("no episodes to learn from")
    observation = tuple(_signal(episodes, name) for name in config.observation)
    action = _signal(episodes, config.label, config.action)
    post = {"relative_to": config.relative_to} if config.relative_to else {}
    stream, channels = reference_index(observation, post, action)
    if not set(config.goal) <= set(config.observation):
        raise UsageError("a goal is shown in streams that the policy sees", got=config.goal, where="goal")
    used = (*config.observation, config.label)
    inputs = {s.name: _rows(episodes, s.name, used) for s in observation}
    target_NA = _rows(episodes, config.label, used)
    if stream:
        target_NA = target_NA - inputs[stream][:, channels]
    normaliser = Normaliser.fit({**inputs, action.name: target_NA})
    seen = {name: normaliser.apply(name, rows) for name, rows in inputs.items()}
    x_ND, y_NA = np.concatenate([*seen.values()], axis=1), normaliser.apply(action.name, target_NA)
    if config.goal:
        now_N, later_N = _hindsight(episodes, used, config)
        x_ND = np.concatenate([x_ND[now_N], *(seen[name][later_N] for name in config.goal)], axis=1)
        y_NA = y_NA[now_N]
    tensors, loss = _fit(x_ND, y_NA, config, progress)
    return Fitted(
        policy="mlp",
        tensors=tensors,
        normaliser=normaliser,
        observation=observation,
        action=action,
        controller=Controller(convention=config.convention, rate_hz=episodes[0].rate_hz),
        pre={"goal": ",".join(config.goal)} if config.goal else {},
        post=post,
        runtime={"numpy": np.__version__.rsplit(".", 1)[0]},
        seed=config.seed,
        facts={"rows": float(len(x_ND)), "loss": loss},
    )


def _signal(episodes: Sequence[Episode], stream: str, name: str = "") -> Signal:
    """The schema of a stream, the same in every episode."""
    found = set()
    for episode in episodes:
        if stream not in episode.streams:
            raise DataRefused("an episode lacks a stream", got=stream, where=episode.name)
        found.add(signal_of(episode.streams[stream].info, name))
    if len(found) != 1:
        raise DataRefused("episodes disagree about a stream's schema", got=f"{len(found)} schemas", where=stream)
    return found.pop()


def _hindsight(episodes: Sequence[Episode], used: Sequence[str], config: MlpConfig) -> tuple[IntArray, IntArray]:
    """Rows, each ``goals`` times, and later rows of the same episode; numbered as :func:`_rows` joins them."""
    random = np.random.default_rng(config.seed)
    now, later, first = [], [], 0
    for episode in episodes:
        count = int((~np.logical_or.reduce([episode.streams[name].gap for name in used])).sum())
        rows = np.repeat(np.arange(max(count - 1, 0)), config.goals)
        now.append(first + rows)
        later.append(first + random.integers(rows + 1, max(count, 1)))
        first += count
    if not sum(len(part) for part in now):
        raise DataRefused("no episode has a later row to be a goal", got=f"{len(episodes)} episodes")
    return np.concatenate(now), np.concatenate(later)


def _rows(episodes: Sequence[Episode], stream: str, used: Sequence[str]) -> FloatArray:
    """(N, D) rows of all episodes, those with a gap in any used stream left out."""
    kept = []
    for episode in episodes:
        gap = np.logical_or.reduce([episode.streams[name].gap for name in used])
        kept.append(np.asarray(episode.array(stream), dtype=np.float64)[~gap])
    rows_ND = np.concatenate(kept)
    if not len(rows_ND) or not np.isfinite(rows_ND).all():
        raise DataRefused("rows that are missing or not finite", got=rows_ND.shape, where=stream)
    return rows_ND


def _fit(
    x_ND: FloatArray, y_NA: FloatArray, config: MlpConfig, progress: Report | None
) -> tuple[dict[str, FloatArray], float]:
    try:
        from worldgate.control.policies._fit import fit
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        hint = 'pip install "worldgate[models]"'
        raise MissingExtra("fitting a policy needs torch", got="torch", hint=hint) from error
    return fit(
        x_ND,
        y_NA,
        hidden=config.hidden,
        steps=config.steps,
        batch=config.batch,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        seed=config.seed,
        progress=progress,
    )
