"""The embedded cell's push as a task that takes goals: bring object and tool to where a recorded row has them.

Physics, site and looks are those of :mod:`worldgate.sim.cell`, with no person, clutter or spill, and without delay or
noise of its sensors, so that a row shows the situation that its truth restores. An action is where the tool's tip
should be in 100 ms; the table frame is the site's.

A goal row is reached when the object's middle is within 3 cm of the row's, its yaw within 20 degrees and the tool
within 5 cm; the distance is the object's, in m. Without a row the goal is the bay, as in trials of the cell: success is
the object lying in it, which ends the run. The reward is 1 for success, less two for each metre of distance. The fact
``force_n`` is the largest of the period.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from worldgate.core.digest import digest_json
from worldgate.core.errors import NotFound, UsageError
from worldgate.core.streams import ByteArray, FloatArray
from worldgate.core.tasks import GoalPolicy, Task
from worldgate.core.worlds import Observation, Policy, Signal
from worldgate.sim.camera import CameraConfig
from worldgate.sim.cell import CONTROL_S, WORKSPACE, Cell, CellConfig, in_bay
from worldgate.sim.experts import EXPERTS, Expert
from worldgate.sim.scenario import random_stream, sample
from worldgate.sim.sensing import ACTION, AROUND, FORCE, STATE, cell_camera
from worldgate.sim.sites import find_site
from worldgate.sim.tasks._physics import PhysicsTask, RandomActor

CARD = {
    "line": "push the cell's object into its bay, or object and tool to where a goal shows them",
    "inputs": "where the tool's tip should be in 100 ms, m",
    "needs": "sim",
}
ACTORS = ("scripted", "noisy", "play", "random")

NEAR_M, NEAR_RAD, TOOL_NEAR_M = 0.03, math.radians(20.0), 0.05
LOW, HIGH = (WORKSPACE[0], WORKSPACE[2]), (WORKSPACE[1], WORKSPACE[3])


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Which cell, and what is seen of it."""

    size: int = 64
    """Pixels a side of the pictures; 0 takes none."""
    site: str = "north"
    """Name of the site."""
    cameras: tuple[str, ...] = ("front",)
    """Which of the site's cameras take pictures: ``front``, ``top``."""


class Push(PhysicsTask):
    """The cell."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._cell = Cell(CellConfig(site=config.site), seed=0)
        infos = (STATE, AROUND, FORCE)
        super().__init__(
            self._cell.model,
            self._cell.data,
            name="push",
            rate_hz=1.0 / CONTROL_S,
            steps=150,
            states=tuple(Signal(name=i.name, unit=i.unit, names=i.names, shape=i.shape, frame=i.frame) for i in infos),
            action=Signal(
                name=ACTION.name, unit=ACTION.unit, names=ACTION.names, shape=(2,), frame=ACTION.frame, kind=ACTION.kind
            ),
            low=LOW,
            high=HIGH,
            takes_goals=True,
            cameras=tuple(f"observation.images.{name}" for name in config.cameras),
            size=config.size,
            own=7,
        )
        self._qpos = self.model.joint("object").qposadr[0]
        plain = CameraConfig(height=config.size, width=config.size, noise=0.0)
        self._takes = {one.name: cell_camera(self._cell, one.name.split(".")[-1], plain) for one in self.spec.cameras}
        self._nothing = np.random.default_rng(0)

    def _draw(self, draw: np.random.Generator) -> None:
        scenario = sample(self.config.site, seed=int(draw.integers(2**31)))
        self._cell.place(scenario.tool, scenario.object_pose)
        self._own[:3] = self._cell.kept()

    def _restored(self) -> None:
        x, y, yaw = self._own[:3].tolist()
        self._cell.resume((x, y, yaw))

    def _act(self, action: FloatArray) -> None:
        cell = self._cell
        cell.take_facts()
        cell.command(action)
        cell.run_to(cell.step_index + round(CONTROL_S / cell.timestep_s))
        self._own[:3], self._own[3:6], self._own[6] = cell.kept(), cell.force(), cell.take_facts()["force_n"]
        cell.settle()

    def _facts(self) -> Mapping[str, float]:
        pose, peak = self._pose(self.data.qpos), float(self._own[6])
        if self._goal is None:
            distance = math.dist(pose[:2], self._cell.site.goal)
            return {"success": float(self._cell.succeeded()), "distance": distance, "force_n": peak}
        aim = self._aim
        distance = math.dist(pose[:2], aim[:2])
        turned = abs(math.remainder(pose[2] - aim[2], 2.0 * math.pi))
        tool = math.dist(self._tool(), aim[3:])
        reached = distance < NEAR_M and turned < NEAR_RAD and tool < TOOL_NEAR_M
        return {"success": float(reached), "distance": distance, "force_n": peak}

    def _done(self, facts: Mapping[str, float]) -> bool:
        return bool(facts["success"])

    def _entered(self) -> None:
        if self._goal is not None:
            here = self._truth()
            self._restore(self._goal)
            self._aim = (*self._pose(self.data.qpos), *self._tool())
            self._restore(here)

    def _pose(self, qpos: FloatArray) -> tuple[float, float, float]:
        x, y = qpos[self._qpos : self._qpos + 2].tolist()
        return x, y, float(self._cell.environment_state()[2])

    def _tool(self) -> tuple[float, float]:
        x, y = self._cell.state()[8:10].tolist()
        return x, y

    def _numbers(self) -> dict[str, FloatArray]:
        cell = self._cell
        return {STATE.name: cell.state(), AROUND.name: cell.environment_state(), FORCE.name: self._own[3:6].copy()}

    def _pictures(self) -> dict[str, ByteArray]:
        return {name: one.look(self._nothing, geometry=False).colour for name, one in self._takes.items()}


class Pusher(Expert, GoalPolicy):
    """The cell's expert, held to the task's bounds; told a goal, it pushes there and then brings the tool where it was.

    It steers the object's place, not its yaw. ``play`` pushes to places of its own that it draws, a new one every five
    seconds: what a model must have seen to reach any goal.
    """

    def __init__(self, name: str, config: Config) -> None:
        self._name, self._site = name, find_site(config.site)
        expert = EXPERTS["scripted" if name == "play" else name]
        super().__init__(replace(expert, keep_out_m=0.0), config.site)
        self._digest = digest_json({"actor": name, "task": "push", "site": config.site, "expert": self.config})

    def reset(self, *, seed: int) -> None:
        super().reset(seed=seed)
        self._mouth = np.array(self._site.mouth)
        self._places = random_stream(seed, "places")
        self._aim: FloatArray | None = None
        self._then: FloatArray | None = None
        self._steps = 0

    def aim(self, goal: Observation, *, steps: int) -> None:
        del steps
        if STATE.name not in goal or AROUND.name not in goal:
            raise UsageError(
                "the goal lacks what this actor looks at", got=", ".join(goal), hint=f"{STATE.name}, {AROUND.name}"
            )
        self._aim, self._then = np.array(goal[AROUND.name][:2]), np.array(goal[STATE.name][8:10])
        self._steps = 0

    def act(self, observation: Observation) -> FloatArray:
        around = np.array(observation[AROUND.name], np.float64)
        tool = np.asarray(observation[STATE.name], np.float64)[8:10]
        if self._name == "play" and self._then is None and self._steps % _PLAY_STEPS == 0:
            self._aim = self._places.uniform(_PLAY_LOW, _PLAY_HIGH)
        self.arrived_m = Expert.arrived_m if self._then is None else 0.6 * NEAR_M
        if self._aim is not None:
            apart = around[:2] - self._aim
            if self._then is not None and math.hypot(*apart) < _LEFT_M:
                return self._held(self._round(tool, around[:2], self._then))
            if self._steps % _REAIM_STEPS == 0:
                self._mouth = apart / max(math.hypot(*apart), 1e-9)
            around[3:5] = self._aim
        self._steps += 1
        return self._held(super().act({STATE.name: observation[STATE.name], AROUND.name: around}))

    @staticmethod
    def _round(tool: FloatArray, thing: FloatArray, place: FloatArray) -> FloatArray:
        """A step to a place that keeps clear of the object."""
        way = place - tool
        length = math.hypot(*way)
        step = way * min(1.0, 0.035 / max(length, 1e-9))
        out = tool + step - thing
        apart = math.hypot(*out)
        clear = min(0.07, math.hypot(*(place - thing)))
        return np.asarray(thing + out * (clear / apart)) if apart < clear else np.asarray(tool + step)

    @staticmethod
    def _held(target: FloatArray) -> FloatArray:
        return np.clip(target, LOW, HIGH)


_PLAY_STEPS, _REAIM_STEPS = 50, 10
_LEFT_M = 0.026
"""Nearer than this to a goal's place the object is left there."""
_PLAY_LOW, _PLAY_HIGH = (-0.05, -0.20), (0.22, 0.20)


def create(config: Config) -> Task:
    """The task."""
    return Push(config)


def actor(name: str, task: Task, config: Config) -> Policy:
    """Who acts."""
    if name == "random":
        return RandomActor(task.spec)
    if name in ACTORS:
        return Pusher(name, config)
    raise NotFound("nobody of this name acts here", got=name, hint=", ".join(ACTORS))


def judge(config: Config) -> Callable[[Observation], Mapping[str, float]]:
    """Reads success off where an observation says the object is: in the bay of the site."""
    place = find_site(config.site)

    def facts(observation: Observation) -> Mapping[str, float]:
        x, y = np.asarray(observation[AROUND.name], np.float64)[:2]
        return {"success": float(in_bay(place, float(x), float(y)))}

    return facts
