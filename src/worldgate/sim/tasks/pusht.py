"""PushT: a round tool pushes a T onto its outline, or to wherever a recorded row had it (Diffusion Policy, gym-pusht).

The physics, the controller, the starts of each seed and the success by coverage are gym-pusht's: over whole episodes of
the same starts and actions the poses agree (``benchmarks/tasks.py`` holds them side by side). PushT's own goal is
reached where more than 95 % of the outline is covered. A goal that is told is reached as in stable-worldmodel and LeWM:
the places of tool and T together (the norm over all four numbers) within 20 px, the T's turn within pi/9. ``distance``
is that norm, px, for the own goal the T's part of it; ``coverage`` and the reward (coverage over 0.95, at most 1) are
those of the goal in force.

Differences to stable-worldmodel's own PushT: by default the T there is a third larger (scale 40 against 30) and actions
are ``relative`` (see Config). The picture shows PushT's own outline in green whatever the goal, as there. The truth is
tool x, y and speed, the T's x, y, turn, speed and spin; what the physics keeps of a contact beside these is not
restored.

Source: Chi et al. 2023, arXiv:2303.04137; https://github.com/huggingface/gym-pusht 0.1.8 (Apache-2.0).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from worldgate.core.errors import ConfigError, UsageError
from worldgate.core.streams import FloatArray, Kind, Origin
from worldgate.core.tasks import TRUTH, GoalPolicy, Task, TaskSpec
from worldgate.core.worlds import Observation, Policy, Signal, Transition
from worldgate.sim.tasks._pusht import SIDE, Canvas, Plane, coverage
from worldgate.sim.tasks._pusht_expert import GOAL, KINDS

CARD = {
    "line": "a round tool pushes a T onto its outline, or to where a recorded row had it",
    "inputs": "target of the tool in the plane, 10 Hz",
    "needs": "tasks",
    "source": "Chi et al. 2023, Diffusion Policy; gym-pusht 0.1.8",
}

ACTORS = tuple(KINDS)

STATE, SPEED, AROUND, CAMERA = (
    "observation.state",
    "observation.velocity",
    "observation.environment_state",
    "observation.images.top",
)
_COVERED = 0.95
_NEAR_PX, _NEAR_RAD = 20.0, math.pi / 9
_REACH_PX = 100.0
"""Of a relative action of 1."""
_ASIDE = (256.0, 400.0)
"""Where the tool is shown at PushT's own goal; it does not count there."""
_POSE = slice(4, 7)


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How it is steered and seen."""

    size: int = 64
    """Pixels a side of the pictures."""
    relative: bool = False
    """Whether an action is the way from the tool to its target, 100 px each unit, as in DINO-WM and LeWM; else the
    target's place, px, as in gym-pusht."""

    def __post_init__(self) -> None:
        if self.size < 8:
            raise ConfigError("pictures too small to show anything", got=self.size, where="pusht:size", hint="64")


class PushT(Task):
    """The tool, the T and its goal.

    Args:
        config: how it is steered and seen.
    """

    origin: Origin = Origin.SIMULATED

    def __init__(self, config: Config) -> None:
        self._config, self._canvas = config, Canvas(config.size)
        low, high, unit = (-1.0, 1.0, "1") if config.relative else (0.0, SIDE, "px")
        self.spec = TaskSpec(
            name="pusht",
            rate_hz=10.0,
            states=(
                Signal(name=STATE, unit="px", names=("x", "y"), shape=(2,), frame="plane"),
                Signal(name=SPEED, names=("x", "y"), shape=(2,), frame="plane"),
                Signal(
                    name=AROUND, unit="px,px,rad", names=("block_x", "block_y", "block_turn"), shape=(3,), frame="plane"
                ),
            ),
            cameras=(Signal(name=CAMERA, unit="1", shape=(config.size, config.size, 3), kind=Kind.IMAGE),),
            action=Signal(name="action", unit=unit, names=("x", "y"), shape=(2,), kind=Kind.ACTION, frame="plane"),
            low=(low, low),
            high=(high, high),
            truth=Signal(
                name=TRUTH,
                names=("x", "y", "vx", "vy", "block_x", "block_y", "block_turn", "block_vx", "block_vy", "block_spin"),
                shape=(10,),
                frame="plane",
            ),
            steps=300,
        )
        self.rate_hz = self.spec.rate_hz

    def reset(self, *, seed: int) -> Observation:
        """The start that gym-pusht draws for a seed, and PushT's own goal."""
        draw = np.random.default_rng(seed)
        x, y = (float(draw.integers(50, 450)) for _ in range(2))
        bx, by = (float(draw.integers(100, 400)) for _ in range(2))
        self._plane = Plane()
        self._plane.drop((x, y), (bx, by), float(draw.uniform(-math.pi, math.pi)))
        return self._start(None)

    def begin(self, start: FloatArray, goal: FloatArray | None = None, *, seed: int) -> Observation:
        """See :class:`~worldgate.core.tasks.Task`; nothing is random on the way.

        Raises:
            UsageError: not rows of the truth, or tool or T outside the plane.
        """
        del seed
        row = self._read(start, "start")
        told = None if goal is None else self._read(goal, "goal")
        self._plane = Plane()
        self._plane.place(row)
        return self._start(told)

    def _read(self, row: FloatArray, what: str) -> FloatArray:
        values = np.asarray(row, np.float64)
        if values.shape != self.spec.truth.shape or not np.isfinite(values).all():
            hint = f"{self.spec.truth.shape[0]} finite numbers: {', '.join(self.spec.truth.names)}"
            raise UsageError(f"not a {what} of this task", got=values.tolist(), where="pusht", hint=hint)
        places = values[[0, 1, 4, 5]]
        if (places < 0).any() or (places > SIDE).any():
            raise UsageError(f"a {what} outside the plane", got=places.tolist(), where="pusht", hint="from 0 to 512 px")
        return values

    def _start(self, goal: FloatArray | None) -> Observation:
        self._told, self._steps = goal, 0
        return self._observe(self._plane.row())

    def step(self, action: FloatArray) -> Transition:
        """A tenth of a second of control.

        Raises:
            UsageError: an action outside its bounds.
        """
        values = self.spec.check(action)
        x, y = map(float, values * _REACH_PX + self._plane.tool.position if self._config.relative else values)
        self._plane.step((x, y))
        self._steps += 1
        facts = self.measure()
        return Transition(
            observation=self._observe(self._plane.row()),
            done=bool(facts["success"]) or self._steps >= self.spec.steps,
            facts=facts,
        )

    def measure(self) -> Mapping[str, float]:
        """Success, reward, coverage of the goal, and the distance to it, px."""
        row = self._plane.row()
        goal = GOAL if self._told is None else self._told[_POSE]
        covered = coverage(row[_POSE], goal)
        apart = row[_POSE] - goal
        if self._told is None:
            distance, success = float(np.linalg.norm(apart[:2])), covered > _COVERED
        else:
            distance = float(np.hypot(np.linalg.norm(apart[:2]), np.linalg.norm(row[:2] - self._told[:2])))
            turn = abs((apart[2] + math.pi) % (2 * math.pi) - math.pi)
            success = distance < _NEAR_PX and bool(turn < _NEAR_RAD)
        reward = min(1.0, covered / _COVERED)
        return {"success": float(success), "reward": reward, "distance": distance, "coverage": covered}

    def goal(self) -> Observation:
        """What is seen at the goal; at PushT's own the tool stands aside and does not count."""
        if self._told is not None:
            return self._observe(self._told)
        return self._observe(np.array([*_ASIDE, 0.0, 0.0, *GOAL, 0.0, 0.0, 0.0]))

    def _observe(self, row: FloatArray) -> Observation:
        return {
            STATE: row[:2],
            SPEED: row[2:4],
            AROUND: row[_POSE],
            CAMERA: self._canvas.draw(row[:2], row[_POSE]),
            TRUTH: row,
        }


class Relative(GoalPolicy):
    """An actor that says where the tool should go, steering by relative actions.

    Args:
        actor: who.
    """

    def __init__(self, actor: Policy) -> None:
        self._actor = actor

    @property
    def digest(self) -> str:
        """Of the actor: it does the same."""
        return self._actor.digest

    def reset(self, *, seed: int) -> None:
        self._actor.reset(seed=seed)

    def aim(self, goal: Observation, *, steps: int) -> None:
        """Take a goal, where the actor takes any."""
        aim = getattr(self._actor, "aim", None)
        if aim is not None:
            aim(goal, steps=steps)

    def act(self, observation: Observation) -> FloatArray:
        """(2,) the way to the target, as far as an action reaches."""
        way: FloatArray = (self._actor.act(observation) - observation[STATE]) / _REACH_PX
        return np.clip(way, -1.0, 1.0)


def create(config: Config) -> Task:
    """See :class:`worldgate.sim.tasks.TaskModule`."""
    return PushT(config)


def actor(name: str, task: Task, config: Config) -> Policy:
    """See :class:`worldgate.sim.tasks.TaskModule`."""
    del task
    return Relative(KINDS[name]()) if config.relative else KINDS[name]()


def judge(config: Config) -> Callable[[Observation], Mapping[str, float]]:
    """Reads success, reward and coverage of PushT's own goal off where an observation says the T is."""
    del config

    def facts(observation: Observation) -> Mapping[str, float]:
        covered = coverage(np.asarray(observation[AROUND], np.float64), GOAL)
        return {"success": float(covered > _COVERED), "reward": min(1.0, covered / _COVERED), "coverage": covered}

    return facts
