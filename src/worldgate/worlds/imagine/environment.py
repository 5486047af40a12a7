"""A world model as the place where a policy acts: the policy cannot tell it from the simulator or the robot.

Shape legend: D state channels, A action channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from worldgate.core.errors import UsageError
from worldgate.core.streams import Array, FloatArray, Origin
from worldgate.core.worlds import Frame, Observation, Prompt, Transition, Unrolling, WorldModel

Judge = Callable[[Observation], Mapping[str, float]]
"""Facts of an imagined observation, by whoever can read them from it: ``success``, ``clearance_m``."""


class ImaginedEnvironment:
    """Fulfils :class:`worldgate.core.worlds.Environment`.

    Args:
        model: any world model.
        prompts: where runs start; a reset's seed picks one.
        horizon: steps after which a run is done.
        judge: facts of each observation; none without.
    """

    origin = Origin.IMAGINED

    def __init__(
        self, model: WorldModel, prompts: Sequence[Prompt], *, horizon: int, judge: Judge | None = None
    ) -> None:
        if not prompts or horizon < 1:
            raise UsageError("an imagined environment needs prompts and a horizon", got=f"{len(prompts)}, {horizon}")
        self.model, self.prompts, self.horizon, self.judge = model, prompts, horizon, judge
        self.rate_hz = model.spec.rate_hz
        self.count = 0
        self._unrolling: Unrolling | None = None

    def reset(self, *, seed: int) -> Observation:
        """Start from a prompt and return its last row."""
        prompt = self.prompts[seed % len(self.prompts)]
        self._unrolling = self.model.open(prompt, samples=1, seed=seed)
        self.count = 0
        rows: dict[str, Array] = {s.name: np.asarray(prompt.states[s.name][-1]) for s in self.model.spec.states}
        return rows | {c.name: np.asarray(prompt.frames[c.name][-1]) for c in self.model.spec.cameras}

    def step(self, action: FloatArray) -> Transition:
        """Advance one step under (A,).

        Raises:
            UsageError: not reset, or an action of another shape.
        """
        if self._unrolling is None:
            raise UsageError("reset an environment before its first step")
        frame = self._unrolling.step(np.asarray(action, np.float32)[None, None])
        self.count += 1
        observation = _row(frame)
        facts = {} if self.judge is None else dict(self.judge(observation))
        return Transition(observation=observation, done=self.count >= self.horizon, facts=facts)


def _row(frame: Frame) -> Observation:
    rows: dict[str, Array] = {name: values[0, -1] for name, values in frame.states.items()}
    return rows | {name: frames[0, -1] for name, frames in frame.frames.items()}
