"""Pick a block up and put it on a marked place; the gripper holds it by friction.

The block, a cube of 4.6 cm, and the place, a disc that does not collide, are drawn from the seed. Without a goal row
success is the block lying within 2.5 cm of the place's middle, let go and at rest, which ends the run. A goal row is
reached as :mod:`worldgate.sim.tasks._table` says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from worldgate.core.errors import NotFound, UsageError
from worldgate.core.streams import FloatArray
from worldgate.core.tasks import GoalPolicy, Task
from worldgate.core.worlds import Observation, Policy
from worldgate.sim.scenario import random_stream
from worldgate.sim.tasks._physics import STATE, RandomActor
from worldgate.sim.tasks._table import AROUND, HIGH, LOW, Picker, Table, Thing, scattered

CARD = {
    "line": "pick a block up and put it on a marked place, or where a goal shows it",
    "inputs": "where the tool should be in 100 ms and how wide its fingers, m",
    "needs": "sim",
}
ACTORS = ("scripted", "noisy", "play", "random")

HALF_M, PLACE_M, NEAR_M = 0.023, 0.04, 0.025
SPAWN = (-0.04, 0.18, -0.17, 0.17)
"""Where block and place may be drawn: x from, x to, y from, y to, m."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What is seen."""

    size: int = 64
    """Pixels a side of the pictures; 0 takes none."""
    cameras: tuple[str, ...] = ("front",)
    """Which take pictures: ``front``, ``top``."""


class PickPlace(Table):
    """The block and the place."""

    def __init__(self, config: Config) -> None:
        cube = f'type="box" size="{HALF_M} {HALF_M} {HALF_M}"'
        block = Thing(name="block", half_height=HALF_M, geom=cube, rgba="0.85 0.15 0.1 1")
        place = (
            f'<body name="place" mocap="true"><geom name="place" type="cylinder" size="{PLACE_M} 0.001" '
            'group="1" contype="0" conaffinity="0" rgba="0.1 0.6 0.25 1"/></body>'
        )
        super().__init__(
            name="pick_place",
            things=(block,),
            fixed=place,
            marks=("place",),
            steps=120,
            takes_goals=True,
            cameras=config.cameras,
            size=config.size,
        )

    def _draw(self, draw: np.random.Generator) -> None:
        self._begin_at_home(draw)
        block, place = scattered(draw, 2, SPAWN, 0.10, [])
        self.place(0, *block, float(draw.uniform(-0.5, 0.5)))
        self.data.mocap_pos[0] = *place, 0.001

    def _succeeded(self) -> bool:
        x, y, z = self.poses()[0, :3].tolist()
        on = math.dist((x, y), self.data.mocap_pos[0, :2]) < NEAR_M and z < HALF_M + 0.006
        start = self.model.joint("block").dofadr[0]
        rest = float(np.abs(self.data.qvel[start : start + 3]).max()) < 0.02
        return on and rest and self.held() < 0.01

    def _apart(self) -> float:
        return math.dist(self.poses()[0, :3], (*self.data.mocap_pos[0, :2], HALF_M))


class Mover(Picker, GoalPolicy):
    """Takes the block to the place, or where a goal shows it; ``play`` takes it to place after place that it draws."""

    def __init__(self, name: str) -> None:
        self._plays = name == "play"
        super().__init__(name, "pick_place", noise_m=0.006 if name == "noisy" else 0.0)

    def reset(self, *, seed: int) -> None:
        super().reset(seed=seed)
        self._places = random_stream(seed, "places")
        self._goal: FloatArray | None = None
        self._tool: FloatArray | None = None
        if self._plays:
            self._goal = self._drawn()

    def aim(self, goal: Observation, *, steps: int) -> None:
        del steps
        if AROUND not in goal or STATE not in goal:
            raise UsageError("the goal lacks what this actor looks at", got=", ".join(goal), hint=f"{STATE}, {AROUND}")
        self._goal, self._tool = np.array(goal[AROUND][:3]), np.array(goal[STATE][10:14])

    def act(self, observation: Observation) -> FloatArray:
        if self._plays and self._tool is None and self._phase == 7:
            self._goal, self._phase = self._drawn(), 0
        if self._tool is not None and self._goal is not None:
            lifted = float(self._goal[2]) > HALF_M + 0.01
            there = float(np.linalg.norm(observation[AROUND][:3] - self._goal)) < 0.012
            if (there and not lifted and (self._phase in (0, 7))) or (lifted and self._phase == 6):
                tool = np.asarray(observation[STATE][10:13], np.float64)
                away = self._tool[:3] - tool
                step = away * min(1.0, 0.042 / max(float(np.linalg.norm(away)), 1e-9))
                width = 0.0 if lifted else float(self._tool[3])
                return np.asarray(np.clip([*(tool + step), width], LOW, HIGH))
        return super().act(observation)

    def _job(self, tool: FloatArray, around: FloatArray) -> tuple[FloatArray, float, tuple[float, float], float]:
        del tool
        block = around[:3]
        goal = np.array([*around[4:6], HALF_M]) if self._goal is None else self._goal
        grip = float(min(block[2], HALF_M)) if self._phase < 3 else HALF_M
        return block, grip, (float(goal[0]), float(goal[1])), float(goal[2]) + 0.003

    def _drawn(self) -> FloatArray:
        (place,) = scattered(self._places, 1, SPAWN, 0.0, [])
        return np.array([*place, HALF_M])


def create(config: Config) -> Task:
    """The task."""
    return PickPlace(config)


def actor(name: str, task: Task, config: Config) -> Policy:
    """Who acts."""
    del config
    if name == "random":
        return RandomActor(task.spec)
    if name in ACTORS:
        return Mover(name)
    raise NotFound("nobody of this name acts here", got=name, hint=", ".join(ACTORS))
