"""What the tasks in MuJoCo share: the row that restores a situation, goals, pictures by rays and the order of a run.

The truth is MuJoCo's own state as far as it decides what comes next: time, positions, velocities, the last controls,
the solver's warm start and the places of bodies that are put rather than pushed; forces that no task applies are left
out. After it follow the numbers of the task's own, such as a controller's reference. Setting it back gives the same run
to the byte.

Shape legend: A action channels, S numbers of the truth, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

from worldgate.core.digest import digest_json
from worldgate.core.errors import CapabilityMissing, ConfigError, UsageError
from worldgate.core.streams import FloatArray, Kind, Origin
from worldgate.core.tasks import TRUTH, Task, TaskSpec
from worldgate.core.worlds import Observation, Policy, Signal, Transition
from worldgate.sim.scenario import random_stream

LEAST_SIZE = 8
STATE = "observation.state"
ACTION = "action"
_KEPT = mujoco.mjtState
_BITS = int(
    _KEPT.mjSTATE_FULLPHYSICS.value
    | _KEPT.mjSTATE_CTRL.value
    | _KEPT.mjSTATE_WARMSTART.value
    | _KEPT.mjSTATE_MOCAP_POS.value
    | _KEPT.mjSTATE_MOCAP_QUAT.value
)


class PhysicsTask(Task):
    """A task in MuJoCo; each file says how a run starts, what an action does and what is measured.

    Args:
        model: ``mujoco.MjModel``.
        data: its ``mujoco.MjData``; made here without.
        name: the task's, as users type it.
        rate_hz: control periods a second.
        steps: longest run, in control periods.
        states: numbers that a policy may see.
        action: what it takes.
        low: (A,) least action.
        high: (A,) greatest.
        takes_goals: whether a run can be given a row to reach.
        cameras: streams of pictures.
        size: pixels a side of the pictures; 0: none are taken.
        text: whether a run has an instruction.
        own: how many numbers of its own the task keeps beside MuJoCo's state.

    Raises:
        ConfigError: pictures too small to show anything.
    """

    origin: Origin = Origin.SIMULATED
    span: float = 0.5
    """Distance that costs as much as success brings, in the distance's unit."""

    def __init__(
        self,
        model: Any,
        data: Any = None,
        *,
        name: str,
        rate_hz: float,
        steps: int,
        states: tuple[Signal, ...],
        action: Signal,
        low: tuple[float, ...],
        high: tuple[float, ...],
        takes_goals: bool,
        cameras: tuple[str, ...] = (),
        size: int = 0,
        text: bool = False,
        own: int = 0,
    ) -> None:
        if size and size < LEAST_SIZE:
            raise ConfigError("pictures too small to show anything", got=size, where=f"{name}:size", hint="64; 0: none")
        self.model, self.data = model, mujoco.MjData(model) if data is None else data
        self.rate_hz = rate_hz
        self._own = np.zeros(own)
        self._physics_size = mujoco.mj_stateSize(model, _BITS)
        self.spec = TaskSpec(
            name=name,
            rate_hz=rate_hz,
            states=states,
            cameras=tuple(Signal(name=one, shape=(size, size, 3), kind=Kind.IMAGE) for one in cameras if size),
            action=action,
            low=low,
            high=high,
            truth=Signal(name=TRUTH, shape=(self._physics_size + own,)),
            steps=steps,
            takes_goals=takes_goals,
            text=text,
        )
        self._goal: FloatArray | None = None
        self._step_index = -1

    def reset(self, *, seed: int) -> Observation:
        """A situation drawn from a seed, and the task's own goal."""
        mujoco.mj_resetData(self.model, self.data)
        self._own[:] = 0.0
        self._draw(random_stream(seed, "start"))
        self._settle()
        self._goal = self._drawn_goal(random_stream(seed, "goal"))
        return self._enter()

    def begin(self, start: FloatArray, goal: FloatArray | None = None, *, seed: int) -> Observation:
        start = self._row(start, "start")
        if goal is not None and not self.spec.takes_goals:
            raise UsageError("this task takes no goal", got="a goal", where=self.spec.name, hint="leave it out")
        aim = None if goal is None else self._row(goal, "goal")
        self._restore(start)
        self._goal = self._drawn_goal(random_stream(seed, "goal")) if aim is None else aim
        return self._enter()

    def step(self, action: FloatArray) -> Transition:
        """One control period.

        Raises:
            UsageError: not an action of this task.
        """
        assert self._step_index >= 0, "reset the task or begin a run first"
        earned = self._act(self.spec.check(action))
        self._step_index += 1
        facts = self.measure()
        if earned is not None:
            facts["reward"] = earned
        done = self._done(facts) or self._step_index >= self.spec.steps
        return Transition(observation=self._observe(), done=done, facts=facts)

    def measure(self) -> dict[str, float]:
        """The facts that a transition into the present situation would hold."""
        facts = self._facts()
        return {"reward": self._worth(facts), **facts}

    def goal(self) -> Observation:
        """What the sensors show at the goal in force.

        Raises:
            CapabilityMissing: the task has no goal.
        """
        if self._goal is None:
            hint = "give begin a goal row" if self.spec.takes_goals else "it has a reward of its own"
            raise CapabilityMissing("no goal is in force", got=self.spec.name, hint=hint)
        here = self._truth()
        self._restore(self._goal)
        seen = self._observe()
        self._restore(here)
        return seen

    def _enter(self) -> Observation:
        self._step_index = 0
        self._entered()
        return self._observe()

    def _row(self, row: FloatArray, what: str) -> FloatArray:
        values = np.asarray(row, np.float64)
        if values.shape != self.spec.truth.shape or not np.isfinite(values).all():
            hint = f"{self.spec.truth.shape[0]} finite numbers, a row of {TRUTH} of this task"
            got = f"shape {values.shape}" if values.shape != self.spec.truth.shape else "numbers that are not finite"
            raise UsageError(f"not a {what} of this task", got=got, where=self.spec.name, hint=hint)
        return values.copy()

    def _truth(self) -> FloatArray:
        row = np.empty(self._physics_size + len(self._own))
        physics = row[: self._physics_size]
        mujoco.mj_getState(self.model, self.data, physics, _BITS)
        row[self._physics_size :] = self._own
        return row

    def _restore(self, row: FloatArray) -> None:
        mujoco.mj_resetData(self.model, self.data)
        mujoco.mj_setState(self.model, self.data, row[: self._physics_size], _BITS)
        self._own[:] = row[self._physics_size :]
        self._restored()
        mujoco.mj_step1(self.model, self.data)

    def _observe(self) -> Observation:
        seen = {**self._numbers(), **(self._pictures() if self.spec.cameras else {}), TRUTH: self._truth()}
        return seen

    def _settle(self) -> None:
        """Everything that follows from positions and velocities, without controls."""
        mujoco.mj_forward(self.model, self.data)

    def _draw(self, draw: np.random.Generator) -> None:
        """Put the data into a situation; it stands at its defaults."""
        raise NotImplementedError

    def _drawn_goal(self, draw: np.random.Generator) -> FloatArray | None:
        """(S,) a goal of the task's own, where it has one that is a situation."""
        del draw
        return None

    def _entered(self) -> None:
        """A run begins here: what is measured over a run starts anew."""

    def _restored(self) -> None:
        """The state was set: what the task keeps outside of it must follow."""

    def _act(self, action: FloatArray) -> float | None:
        """Advance by one control period; the reward of it, where that is more than what its end is worth."""
        raise NotImplementedError

    def _facts(self) -> Mapping[str, float]:
        """``success`` 0/1 and, where there is something to come near to, ``distance``."""
        raise NotImplementedError

    def _worth(self, facts: Mapping[str, float]) -> float:
        """The reward of being in the present situation: 1 for success, less the distance as a share of :attr:`span`."""
        return facts["success"] - facts["distance"] / self.span

    def _done(self, facts: Mapping[str, float]) -> bool:
        """Whether the run is over before its time: a goal that is reached ends it."""
        return self._goal is not None and bool(facts["success"])

    def _numbers(self) -> dict[str, FloatArray]:
        raise NotImplementedError

    def _pictures(self) -> dict[str, Any]:
        raise NotImplementedError


class RandomActor(Policy):
    """Draws every action evenly between the task's bounds."""

    def __init__(self, spec: TaskSpec) -> None:
        self._low, self._high = np.array(spec.low), np.array(spec.high)
        self._digest = digest_json({"actor": "random", "low": spec.low, "high": spec.high})
        self.reset(seed=0)

    @property
    def digest(self) -> str:
        """Digest of the bounds."""
        return self._digest

    def reset(self, *, seed: int) -> None:
        self._random = random_stream(seed, "actor")

    def act(self, observation: Observation) -> FloatArray:
        del observation
        return np.asarray(self._random.uniform(self._low, self._high))
