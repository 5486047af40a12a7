"""What the tasks after the DeepMind control suite share: physics, rewards and the order of a control period.

Source: Tassa et al. 2018, *DeepMind Control Suite*, arXiv 1801.00690; masses, lengths, gears and time steps are those
of its version 1.0.50 and rewards follow its formulas, so published returns apply; that package itself does not start
under MuJoCo 4. ``tests/sim/test_suite_tasks.py`` holds both equal on runs that it gave under MuJoCo 3.17.

As in TD-MPC2 (Hansen et al. 2024, arXiv 2310.16828) an action is held for two of the suite's control periods and the
rewards of the two are added: a run of 500 steps has a return of at most 1,000.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import mujoco

from worldgate.core.streams import FloatArray
from worldgate.sim.tasks._physics import PhysicsTask

REPEAT = 2
"""Control periods of the suite that an action is held for."""
STEPS = 500
"""Control periods of a run: the suite's thousand, two at a time."""
CAMERA = "observation.images.camera"


def close_to(value: float, low: float, high: float, margin: float, at_margin: float = 0.1) -> float:
    """1 within bounds, falling beyond them like a bell that reaches ``at_margin`` one margin away."""
    beyond = max(low - value, value - high, 0.0) / margin
    return math.exp(math.log(at_margin) * beyond * beyond)


class SuiteTask(PhysicsTask):
    """A task after the suite; :meth:`_reward` is the suite's for one of its control periods."""

    substeps: int = 1
    """Physics steps of one control period of the suite."""

    def _act(self, action: FloatArray) -> float | None:
        self.data.ctrl[:] = action
        total = 0.0
        for _ in range(REPEAT):
            advance(self.model, self.data, self.substeps)
            total += self._reward()
            if self._arrived():
                break
        return total if self._goal is None else None

    def _worth(self, facts: Mapping[str, float]) -> float:
        return REPEAT * self._reward() if self._goal is None else super()._worth(facts)

    def _reward(self) -> float:
        raise NotImplementedError

    def _arrived(self) -> bool:
        """Whether a goal is reached between two of the suite's periods."""
        return False


def advance(model: Any, data: Any, steps: int) -> None:
    """Physics steps after which everything that follows from positions and velocities is current."""
    if model.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4:
        mujoco.mj_step(model, data, steps)
    else:
        mujoco.mj_step2(model, data)
        if steps > 1:
            mujoco.mj_step(model, data, steps - 1)
    mujoco.mj_step1(model, data)
