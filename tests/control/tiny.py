"""A tiny task and the exact model of it: a point on a line that its action moves; reward is nearness to the middle."""

from __future__ import annotations

import numpy as np

from worldgate.core.streams import Kind, Origin
from worldgate.core.tasks import TRUTH, TaskSpec
from worldgate.core.worlds import Capability, Frame, ModelSpec, Signal, Transition

STATE = Signal(name="observation.state", shape=(1,), unit="m", names=("x",))
ACTION = Signal(name="action", shape=(1,), unit="m", names=("x",), kind=Kind.ACTION)
RATE_HZ = 10.0


class Line:
    """A step moves the point by a fifth of its action and is worth ``1 - |x|``; a run begins away from the middle."""

    origin = Origin.SIMULATED
    rate_hz = RATE_HZ
    spec = TaskSpec(
        name="line", rate_hz=RATE_HZ, states=(STATE,), cameras=(), action=ACTION, low=(-1.0,), high=(1.0,),
        truth=Signal(name=TRUTH, shape=(1,)), steps=20, takes_goals=False,
    )  # fmt: skip

    def reset(self, *, seed):
        draw = np.random.default_rng(seed)
        return self.begin(draw.choice([-1, 1]) * draw.uniform(0.8, 1.4, 1), seed=seed)

    def begin(self, start, goal=None, *, seed):
        self.x, self.count = np.array(start, float), 0
        return self._seen()

    def step(self, action):
        self.x = np.clip(self.x + 0.2 * self.spec.check(action), -2, 2)
        self.count += 1
        near = 1 - abs(float(self.x[0]))
        facts = {"success": float(near > 0.9), "reward": near}
        return Transition(observation=self._seen(), done=self.count >= 20, facts=facts)

    def _seen(self):
        return {STATE.name: self.x.copy(), TRUTH: self.x.copy()}


class LineModel:
    """The same line as a world model; its members would all agree."""

    capabilities = frozenset({Capability.ACTIONS, Capability.STATE})

    def __init__(self, states=(STATE,), rate_hz=RATE_HZ):
        self.spec = ModelSpec(
            family="line",
            digest="0" * 64,
            normaliser="0" * 64,
            rate_hz=rate_hz,
            context=2,
            states=states,
            action=ACTION,
        )  # fmt: skip

    def open(self, prompt, *, samples=1, seed):
        return LineUnrolling(prompt, samples)


class LineUnrolling:
    """One unrolling."""

    def __init__(self, prompt, samples):
        self.x_B1 = np.repeat(prompt.states[STATE.name][-1:], samples, axis=0).astype(float)

    def step(self, actions_BKA):
        rows = []
        for k in range(actions_BKA.shape[1]):
            self.x_B1 = np.clip(self.x_B1 + 0.2 * actions_BKA[:, k], -2, 2)
            rows.append(self.x_B1.copy())
        return Frame(states={STATE.name: np.stack(rows, axis=1)})
