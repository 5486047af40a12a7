"""A world model as a Gymnasium environment: reset from a prompt, step by an action, ``info["origin"]`` says imagined.

Source: Gymnasium's API, 1.x. The run is truncated at the horizon; a world model has no terminal states of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import gymnasium
import numpy as np

from worldgate.core.streams import Array, FloatArray
from worldgate.core.worlds import Observation, Prompt, WorldModel
from worldgate.worlds.imagine.environment import ImaginedEnvironment, Judge

_FAR = 1e6
"""Finite stand-in for "no bound", as Gymnasium's checker asks for; in the stream's unit."""

Reward = Callable[[Observation, FloatArray], float]


class ImaginedGym(gymnasium.Env[dict[str, Array], FloatArray]):
    """Any world model behind Gymnasium's interface.

    Args:
        model: any world model that takes actions.
        prompts: where episodes start; a reset draws one.
        horizon: steps until truncation.
        low: (A,) least action, in the action's unit.
        high: (A,) largest action.
        reward: of the observation reached and the action; 0 without.
        judge: facts for ``info``.
    """

    metadata: Mapping[str, Any] = {"render_modes": []}  # type: ignore[assignment]  # gymnasium types it mutable

    def __init__(
        self,
        model: WorldModel,
        prompts: Sequence[Prompt],
        *,
        horizon: int,
        low: FloatArray,
        high: FloatArray,
        reward: Reward | None = None,
        judge: Judge | None = None,
    ) -> None:
        self.world = ImaginedEnvironment(model, prompts, horizon=horizon, judge=judge)
        self.reward = reward
        self.action_space = gymnasium.spaces.Box(np.asarray(low, np.float32), np.asarray(high, np.float32))
        spaces: dict[str, gymnasium.Space[Any]] = {
            s.name: gymnasium.spaces.Box(-_FAR, _FAR, s.shape, np.float32) for s in model.spec.states
        }
        spaces |= {c.name: gymnasium.spaces.Box(0, 255, c.shape, np.uint8) for c in model.spec.cameras}
        self.spaces = tuple(spaces)
        self.observation_space = cast(gymnasium.Space[dict[str, Array]], gymnasium.spaces.Dict(spaces))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Draw a prompt and return its last row."""
        super().reset(seed=seed)
        chosen = int(self.np_random.integers(2**31))
        return self._observe(self.world.reset(seed=chosen)), {"origin": self.world.origin.value}

    def step(self, action: FloatArray) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """One imagined step."""
        moved = self.world.step(action)
        observation = self._observe(moved.observation)
        gained = 0.0 if self.reward is None else float(self.reward(moved.observation, action))
        return observation, gained, False, moved.done, {"origin": self.world.origin.value, **moved.facts}

    def _observe(self, observation: Observation) -> dict[str, Array]:
        out = {}
        for name in self.spaces:
            value = observation[name]
            array = np.asarray(value)
            out[name] = array.copy() if array.dtype == np.uint8 else np.clip(array, -_FAR, _FAR).astype(np.float32)
        return out
