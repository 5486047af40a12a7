"""Pick a peg up and put it into a hole; the gripper holds it by friction.

The peg is a cylinder of 3.2 cm across and 9 cm high that stands on the table; the hole, in a box 4.4 cm high, is square
and wider than the peg by ``clearance_m`` on each side (2 mm unless told). Both places are drawn from the seed. Without
a goal row success is the peg standing in the hole on the table, let go, which ends the run. A goal row is reached as
:mod:`worldgate.sim.tasks._table` says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from worldgate.core.errors import ConfigError, NotFound
from worldgate.core.streams import FloatArray
from worldgate.core.tasks import Task
from worldgate.core.worlds import Policy
from worldgate.sim.tasks._physics import RandomActor
from worldgate.sim.tasks._table import Picker, Table, Thing, scattered

CARD = {
    "line": "pick a peg up and put it into a hole with a given clearance",
    "inputs": "where the tool should be in 100 ms and how wide its fingers, m",
    "needs": "sim",
}
ACTORS = ("scripted", "noisy", "random")

RADIUS_M, HALF_M, DEPTH_M, WALL_M = 0.016, 0.045, 0.044, 0.012
PEG, HOLE = (-0.02, 0.14, -0.17, -0.05), (-0.02, 0.14, 0.05, 0.17)
"""Where peg and hole may be drawn: x from, x to, y from, y to, m."""
_GRIP_M = 0.068


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How tight it is, and what is seen."""

    size: int = 64
    """Pixels a side of the pictures; 0 takes none."""
    cameras: tuple[str, ...] = ("front",)
    """Which take pictures: ``front``, ``top``."""
    clearance_m: float = 0.002
    """Between peg and hole on each side when the peg stands in the middle."""

    def __post_init__(self) -> None:
        if not 0.0003 <= self.clearance_m <= 0.02:
            hint = "from 0.0003 to 0.02 m"
            raise ConfigError("no hole of this clearance", got=self.clearance_m, where="insert:clearance_m", hint=hint)


def _hole(clearance: float) -> str:
    inner, half, high = RADIUS_M + clearance, WALL_M / 2.0, DEPTH_M / 2.0
    more = 'group="1" contype="4" conaffinity="2" friction="0.3" rgba="0.35 0.4 0.5 1"'
    wide, off = inner + WALL_M, inner + half
    sides = ((off, 0.0, half, wide), (-off, 0.0, half, wide), (0.0, off, inner, half), (0.0, -off, inner, half))
    walls = "".join(
        f'<geom name="hole{i}" type="box" pos="{x} {y} {high}" size="{a} {b} {high}" {more}/>'
        for i, (x, y, a, b) in enumerate(sides)
    )
    floor = f'type="box" pos="0 0 0.0008" size="{inner} {inner} 0.0008" contype="0" conaffinity="0" group="1"'
    return f'<body name="hole" mocap="true"><geom {floor} rgba="0.1 0.6 0.25 1"/>{walls}</body>'


class Insert(Table):
    """The peg and the hole."""

    solid_marks = True

    def __init__(self, config: Config) -> None:
        shape = f'type="cylinder" size="{RADIUS_M} {HALF_M}"'
        super().__init__(
            name="insert",
            things=(Thing(name="peg", half_height=HALF_M, geom=shape, rgba="0.95 0.6 0.05 1"),),
            fixed=_hole(config.clearance_m),
            marks=("hole",),
            steps=120,
            takes_goals=True,
            cameras=config.cameras,
            size=config.size,
        )

    def _draw(self, draw: np.random.Generator) -> None:
        self._begin_at_home(draw)
        (peg,) = scattered(draw, 1, PEG, 0.0, [])
        (hole,) = scattered(draw, 1, HOLE, 0.0, [])
        self.place(0, *peg, 0.0)
        self.data.mocap_pos[0] = *hole, 0.0

    def _succeeded(self) -> bool:
        x, y, z = self.poses()[0, :3].tolist()
        across = max(abs(x - self.data.mocap_pos[0, 0]), abs(y - self.data.mocap_pos[0, 1]))
        return across < RADIUS_M and z < HALF_M + 0.004 and self.held() < 0.01

    def _apart(self) -> float:
        return math.dist(self.poses()[0, :3], (*self.data.mocap_pos[0, :2], HALF_M))


class Inserter(Picker):
    """Takes the peg near its top and lets it go when it is in the hole."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "insert", noise_m=0.004 if name == "noisy" else 0.0)

    above_m, aside_m, lowering_m = 0.004, 0.0015, 0.02

    def _job(self, tool: FloatArray, around: FloatArray) -> tuple[FloatArray, float, tuple[float, float], float]:
        off = (tool - around[:3])[:2] if 3 <= self._phase <= 5 else np.zeros(2)  # the peg may sit askew in the fingers
        place = around[4:6] + np.clip(off, -0.02, 0.02)
        return around[:3], _GRIP_M, (float(place[0]), float(place[1])), _GRIP_M + 0.002


def create(config: Config) -> Task:
    """The task."""
    return Insert(config)


def actor(name: str, task: Task, config: Config) -> Policy:
    """Who acts."""
    del config
    if name == "random":
        return RandomActor(task.spec)
    if name in ACTORS:
        return Inserter(name)
    raise NotFound("nobody of this name acts here", got=name, hint=", ".join(ACTORS))
