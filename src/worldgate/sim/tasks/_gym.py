"""Any Gymnasium environment as a task: ``gym:CartPole-v1``.

It shows the environment's own observation as numbers, and its picture, shrunk to ``size`` pixels, where it has one:
part of the observation, or rendered. Choices are actions too: one number, the choice's, rounded. Success is what the
environment tells in ``info``, never where it tells none; the fact ``terminated`` says that it ended the run itself, so
that nothing lies beyond, and not that time was up.

Gymnasium has no way to put an environment into a recorded situation: there is no truth (no numbers), and ``begin``
refuses. What begins at rows needs an entry of the seam.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from worldgate.core.errors import CapabilityMissing, ConfigError, NotFound, UsageError
from worldgate.core.streams import FloatArray, Kind, Origin
from worldgate.core.tasks import TRUTH, Task, TaskSpec
from worldgate.core.worlds import Observation, Policy, Signal, Transition
from worldgate.sim.gym import GymConfig, GymEnvironment, RandomPolicy, open_gym

ACTORS = ("random",)
_REWARD = "reward"
_LONGEST = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Which environment, and what is seen of it."""

    id: str
    """As Gymnasium registers it, or ``module:ID``."""
    size: int = 64
    """Pixels a side of the pictures; 0 takes none."""
    rate_hz: float = 0.0
    """Steps a second; 0: the environment's own ``render_fps``."""
    steps: int = 0
    """Longest run; 0: the environment's own, or 1000 where it has none."""

    def __post_init__(self) -> None:
        if self.size and self.size < 8:
            raise ConfigError(
                "pictures too small to show anything", got=self.size, where=f"gym:{self.id}:size", hint="64; 0: none"
            )


class GymTask(Task):
    """An environment by its id.

    Raises:
        NotFound: no such environment.
        MissingExtra: Gymnasium is not installed.
        UsageError: no rate is known, actions without bounds or of another kind, observations that are no vectors.
    """

    origin: Origin = Origin.SIMULATED

    def __init__(self, config: Config) -> None:
        self._size = config.size
        self._env = open_gym(config.id, **({} if config.size else {"render_mode": None}))
        own = self._env.spec.max_episode_steps if self._env.spec is not None else None
        steps = config.steps or own or _LONGEST
        self._place = GymEnvironment(self._env, GymConfig(rate_hz=config.rate_hz, max_steps=steps, keep=False))
        self.rate_hz = self._place.rate_hz
        low, high = self._bounds()
        info = self._place.action
        self.spec = TaskSpec(
            name=f"gym:{config.id}",
            rate_hz=self.rate_hz,
            states=(),
            cameras=(),
            action=Signal(name=info.name, shape=info.shape, names=info.names, unit=info.unit, kind=info.kind),
            low=low,
            high=high,
            truth=Signal(name=TRUTH, shape=(0,)),
            steps=steps,
            takes_goals=False,
        )
        seen = self.reset(seed=0)
        shown = tuple(
            Signal(name=name, shape=value.shape, kind=Kind.IMAGE if value.ndim == 3 else Kind.VECTOR)
            for name, value in seen.items()
            if name != TRUTH
        )
        self.spec = replace(
            self.spec,
            states=tuple(one for one in shown if one.kind is Kind.VECTOR),
            cameras=tuple(one for one in shown if one.kind is Kind.IMAGE),
        )

    @property
    def space(self) -> Any:
        """The environment's own action space."""
        return self._env.action_space

    def _bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        space: Any = self._env.action_space
        if hasattr(space, "low"):  # a box
            low, high = np.ravel(space.low).astype(np.float64), np.ravel(space.high).astype(np.float64)
        else:  # choices: one number, several, or switches
            count = np.ravel(getattr(space, "nvec", 2 if space.shape else getattr(space, "n", 2)))
            low = np.broadcast_to(np.ravel(getattr(space, "start", 0)), self._place.action.shape).astype(np.float64)
            high = low + np.broadcast_to(count, low.shape) - 1.0
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            hint = "wrap it so that its actions have finite bounds, and register the wrapped one"
            raise UsageError("actions without bounds", got=space, where=self._place.name, hint=hint)
        return tuple(low.tolist()), tuple(high.tolist())

    def reset(self, *, seed: int) -> Observation:
        """A run of the environment's own."""
        self._facts: dict[str, float] = {"success": 0.0, _REWARD: 0.0, "terminated": 0.0}
        return self._seen(self._place.reset(seed=seed))

    def step(self, action: FloatArray) -> Transition:
        """One step of the environment.

        Raises:
            UsageError: an action of another width, or outside its bounds.
        """
        transition = self._place.step(self.spec.check(action))
        self._facts = {
            "success": transition.facts["success"],
            _REWARD: float(transition.observation[_REWARD][0]),
            "terminated": float(self._place.ended == "terminated"),
        }
        return Transition(observation=self._seen(transition.observation), done=transition.done, facts=dict(self._facts))

    def begin(self, start: FloatArray, goal: FloatArray | None = None, *, seed: int) -> Observation:
        """Refused: Gymnasium environments cannot be put into a situation.

        Raises:
            CapabilityMissing: always.
        """
        del start, goal, seed
        hint = "reset(seed=…); tasks that can: worldgate list tasks"
        raise CapabilityMissing(
            "a Gymnasium environment cannot be put into a recorded situation", got=self.spec.name, hint=hint
        )

    def measure(self) -> Mapping[str, float]:
        """The facts of the last step."""
        return dict(self._facts)

    def goal(self) -> Observation:
        """Refused: there is none.

        Raises:
            CapabilityMissing: always.
        """
        raise CapabilityMissing("no goal is in force", got=self.spec.name, hint="it has a reward of its own")

    def _seen(self, row: Observation) -> Observation:
        seen: dict[str, Any] = {TRUTH: np.empty(0)}
        for name, value in row.items():
            if value.ndim == 3 and self._size:
                seen[name] = cv2.resize(value, (self._size, self._size), interpolation=cv2.INTER_AREA)
            elif value.ndim == 1 and name != _REWARD:
                seen[name] = value
        return seen


def create(config: Config) -> Task:
    """The task."""
    return GymTask(config)


def actor(name: str, task: Task, config: Config) -> Policy:
    """Who acts."""
    del config
    if name in ACTORS and isinstance(task, GymTask):
        return RandomPolicy(task.space)
    raise NotFound("nobody of this name acts here", got=name, hint=", ".join(ACTORS))
