"""Do what a sentence says: put one of three coloured blocks into one of two or three bins.

The run's instruction, ``put the red block into the left bin``, is drawn from the seed among the combinations of colour
and bin that the options allow, so that some can be held out: train with ``without = ("red:left",)`` and try with
``only = ("red:left",)``. It is :attr:`~worldgate.core.tasks.Task.text`, and part of the truth. Left and right are the
robot's: left is positive y, and the front camera, which faces the robot, has it on its right.

Success, which ends the run, is the named block lying in the named bin, let go, and no other block in any bin. The task
takes no goals: the sentence is the goal. Which block is which and where the bins stand never changes; what is wanted is
in no number and no picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from worldgate.core.errors import ConfigError, NotFound, UsageError
from worldgate.core.streams import FloatArray
from worldgate.core.tasks import TRUTH, InstructedPolicy, Task
from worldgate.core.worlds import Observation, Policy
from worldgate.sim.tasks._physics import RandomActor
from worldgate.sim.tasks._table import Picker, Table, Thing, scattered

CARD = {
    "line": "put the block that a sentence names into the bin that it names",
    "inputs": "where the tool should be in 100 ms and how wide its fingers, m",
    "needs": "sim",
}
ACTORS = ("scripted", "noisy", "random")

HALF_M, BIN_M, WALL_M, RIM_M = 0.02, 0.058, 0.005, 0.022
COLOURS: Mapping[str, str] = {"red": "0.85 0.12 0.1 1", "green": "0.1 0.6 0.2 1", "blue": "0.1 0.25 0.85 1"}
BINS: Mapping[str, tuple[float, float]] = {"left": (0.165, 0.16), "right": (0.165, -0.16), "middle": (0.165, 0.0)}
"""Middle of each bin, m; with two bins there is no middle one."""
SPAWN = (-0.07, 0.06, -0.20, 0.20)


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What may be asked for, and what is seen."""

    size: int = 64
    """Pixels a side of the pictures; 0 takes none."""
    cameras: tuple[str, ...] = ("front",)
    """Which take pictures: ``front``, ``top``."""
    bins: int = 2
    """2: left and right; 3: and the middle one."""
    only: tuple[str, ...] = ()
    """Combinations that may be asked for, such as ``red:left``; empty: all."""
    without: tuple[str, ...] = ()
    """Combinations that may not."""

    def __post_init__(self) -> None:
        if self.bins not in (2, 3):
            raise ConfigError("not a number of bins", got=self.bins, where="instructed:bins", hint="2 or 3")
        known = combinations(self.bins)
        for unknown in {*self.only, *self.without} - set(known):
            raise ConfigError("no such combination", got=unknown, where="instructed", hint=", ".join(known))
        if not self.asked():
            got = f"only {', '.join(self.only)}, without {', '.join(self.without)}"
            raise ConfigError("nothing is left to ask for", got=got, where="instructed", hint="leave some combinations")

    def asked(self) -> tuple[str, ...]:
        """The combinations that a run may ask for."""
        return tuple(c for c in self.only or combinations(self.bins) if c not in self.without)


def combinations(bins: int = 2) -> tuple[str, ...]:
    """Every combination of colour and bin, as ``red:left``."""
    return tuple(f"{colour}:{place}" for colour in COLOURS for place in tuple(BINS)[:bins])


def sentence(combination: str) -> str:
    """The instruction of a combination."""
    colour, place = combination.split(":")
    return f"put the {colour} block into the {place} bin"


def _bin(name: str, x: float, y: float) -> str:
    half, high, off = WALL_M / 2.0, RIM_M / 2.0, BIN_M + WALL_M / 2.0
    wide = BIN_M + WALL_M
    more = 'group="0" contype="4" conaffinity="2" friction="0.3" rgba="0.3 0.33 0.38 1"'
    sides = ((off, 0.0, half, wide), (-off, 0.0, half, wide), (0.0, off, BIN_M, half), (0.0, -off, BIN_M, half))
    walls = "".join(
        f'<geom name="{name}{i}" type="box" pos="{x + dx} {y + dy} {high}" size="{a} {b} {high}" {more}/>'
        for i, (dx, dy, a, b) in enumerate(sides)
    )
    floor = f'type="box" pos="{x} {y} 0.0005" size="{BIN_M} {BIN_M} 0.0005" group="0" contype="0" conaffinity="0"'
    return f'<geom name="{name}" {floor} rgba="0.9 0.9 0.88 1"/>{walls}'


class Instructed(Table):
    """Blocks, bins and a sentence."""

    def __init__(self, config: Config) -> None:
        self.config = config
        shape = f'type="box" size="{HALF_M} {HALF_M} {HALF_M}"'
        self._bins = tuple(BINS)[: config.bins]
        super().__init__(
            name="instructed",
            things=tuple(Thing(name=c, half_height=HALF_M, geom=shape, rgba=rgba) for c, rgba in COLOURS.items()),
            fixed="".join(_bin(f"bin_{name}", *BINS[name]) for name in self._bins),
            marks=(),
            steps=120,
            takes_goals=False,
            text=True,
            cameras=config.cameras,
            size=config.size,
            own=2,
        )

    @property
    def text(self) -> str:
        """The instruction of the run."""
        return sentence(_wanted(self._own))

    def _row(self, row: FloatArray, what: str) -> FloatArray:
        values = super()._row(row, what)
        if values[-2] not in range(len(COLOURS)) or values[-1] not in range(len(self._bins)):
            hint = f"a row of a task with {len(self._bins)} bins"
            raise UsageError(
                "this row asks for what is not here", got=values[-2:].tolist(), where="instructed", hint=hint
            )
        return values

    def _draw(self, draw: np.random.Generator) -> None:
        self._begin_at_home(draw)
        for i, place in enumerate(scattered(draw, len(COLOURS), SPAWN, 0.10, [])):
            self.place(i, *place, float(draw.uniform(-0.4, 0.4)))
        asked = self.config.asked()
        colour, place_name = asked[int(draw.integers(len(asked)))].split(":")
        self._own[-2:] = tuple(COLOURS).index(colour), tuple(BINS).index(place_name)

    def _in(self, bin_name: str) -> tuple[bool, ...]:
        """Which blocks lie in a bin."""
        poses = self.poses()
        inside = (np.abs(poses[:, :2] - BINS[bin_name]) < BIN_M).all(1) & (poses[:, 2] < HALF_M + 0.012)
        return tuple(inside.tolist())

    def _succeeded(self) -> bool:
        colour, place = _wanted(self._own).split(":")
        wanted = tuple(one == colour for one in COLOURS)
        nothing = (False,) * len(COLOURS)
        return self.held() < 0.01 and all(
            self._in(name) == (wanted if name == place else nothing) for name in self._bins
        )

    def _apart(self) -> float:
        colour, place = _wanted(self._own).split(":")
        return math.dist(self.poses()[tuple(COLOURS).index(colour), :3], (*BINS[place], HALF_M))


def _wanted(row: FloatArray) -> str:
    """The combination at the end of a row of the truth."""
    return f"{tuple(COLOURS)[int(row[-2])]}:{tuple(BINS)[int(row[-1])]}"


class Sorter(Picker, InstructedPolicy):
    """Takes the named block to the named bin; without being told it reads what is wanted in the truth."""

    above_m = 0.01

    def __init__(self, name: str) -> None:
        super().__init__(name, "instructed", noise_m=0.005 if name == "noisy" else 0.0)

    def reset(self, *, seed: int) -> None:
        super().reset(seed=seed)
        self._job_now, self._told = "", False

    def tell(self, text: str) -> None:
        found = [c for c in combinations(len(BINS)) if sentence(c) == text]
        if not found:
            raise UsageError("words that this actor cannot follow", got=text, hint=sentence("red:left"))
        self._job_now, self._told = found[0], True

    def act(self, observation: Observation) -> FloatArray:
        if not self._told:
            self._job_now = _wanted(observation[TRUTH])
        return super().act(observation)

    def _job(self, tool: FloatArray, around: FloatArray) -> tuple[FloatArray, float, tuple[float, float], float]:
        del tool
        colour, place = self._job_now.split(":")
        start = 4 * tuple(COLOURS).index(colour)
        return around[start : start + 3], HALF_M, BINS[place], HALF_M + 0.012


def create(config: Config) -> Task:
    """The task."""
    return Instructed(config)


def actor(name: str, task: Task, config: Config) -> Policy:
    """Who acts."""
    del config
    if name == "random":
        return RandomActor(task.spec)
    if name in ACTORS:
        return Sorter(name)
    raise NotFound("nobody of this name acts here", got=name, hint=", ".join(ACTORS))
