"""A planar arm of two links that must take a pose, or bring its finger to a marked place.

``pose``, the default, takes goals: the run's goal is the pose of the joints in a recorded row, reached when both joints
are within 0.05 rad of it at one of the suite's control periods (0.02 s); the distance is the larger of the two errors,
rad. This is stable-worldmodel's ``qpos_match``, whose figures are published for LeWM, with two differences: a shoulder
that stands the same after a whole turn counts as the same here, and pictures are ours. Without a row, a pose is drawn.
``easy`` and ``hard`` are the suite's own tasks: a place in sight, of radius 0.05 or 0.015 m, reward 1 a control period
in it; they take no goals. Their observation holds the way to the place after the joints' angles, as the suite's does.

The shoulder's angle is not wrapped, as in the suite. Actions are torques in units of 0.05 Nm, 25 a second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import mujoco
import numpy as np

from worldgate.core.choices import settle
from worldgate.core.digest import digest_json
from worldgate.core.errors import NotFound, UsageError
from worldgate.core.streams import ByteArray, FloatArray, Kind
from worldgate.core.tasks import GoalPolicy, Task
from worldgate.core.worlds import Observation, Policy, Signal
from worldgate.sim.scenario import random_stream
from worldgate.sim.tasks._physics import ACTION, STATE, RandomActor
from worldgate.sim.tasks._pictures import camera, checker, level, look_of
from worldgate.sim.tasks._suite import CAMERA, REPEAT, STEPS, SuiteTask

CARD = {
    "line": "a planar two-link arm: take the pose of a goal, or bring the finger to a place (control suite)",
    "inputs": "torques of shoulder and wrist, -1 to 1",
    "needs": "sim",
    "source": "Tassa et al. 2018, arXiv 1801.00690; goals after stable-worldmodel",
}
ACTORS = ("scripted", "random")

LINK_M = 0.12
NEAR_RAD = 0.05
"""Both joints within this of the goal's: the pose is reached."""
_WRIST_RAD = math.radians(160)
_FINGER_M = 0.01
_RADIUS_M = {"pose": 0.015, "easy": 0.05, "hard": 0.015}
_AWAY = (0.0, 0.0, -1.0)
"""Where the place is while there is none: under the floor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Which task, and how large its pictures are."""

    size: int = 64
    """Pixels a side of the picture; 0 takes none."""
    task: Literal["pose", "easy", "hard"] = "pose"
    """``pose`` takes goals; ``easy`` and ``hard`` are the suite's own."""

    def __post_init__(self) -> None:
        settle(self)


def _model(config: Config) -> Any:
    wall = 'type="box" group="0" contype="0" conaffinity="0" rgba="0.3 0.5 0.7 1"'
    return mujoco.MjModel.from_xml_string(f"""<mujoco model="reacher">
  <option timestep="0.02"><flag contact="disable"/></option>
  <default>
    <joint type="hinge" axis="0 0 1" damping="0.01"/>
    <motor gear="0.05" ctrlrange="-1 1" ctrllimited="true"/>
  </default>
  <worldbody>
    <geom name="ground" type="plane" size="0.3 0.3 10" group="0"/>
    <geom name="wall_x0" pos="-0.305 0 0.02" size="0.005 0.3 0.02" {wall}/>
    <geom name="wall_x1" pos="0.305 0 0.02" size="0.005 0.3 0.02" {wall}/>
    <geom name="wall_y0" pos="0 -0.305 0.02" size="0.3 0.005 0.02" {wall}/>
    <geom name="wall_y1" pos="0 0.305 0.02" size="0.3 0.005 0.02" {wall}/>
    <geom name="root" type="cylinder" fromto="0 0 0 0 0 0.02" size="0.011" rgba="0.3 0.5 0.7 1" group="0"/>
    <body name="arm" pos="0 0 0.01">
      <geom name="arm" type="capsule" fromto="0 0 0 {LINK_M} 0 0" size="0.01" rgba="0.85 0.62 0.3 1" group="1"/>
      <joint name="shoulder"/>
      <body name="hand" pos="{LINK_M} 0 0">
        <geom name="hand" type="capsule" fromto="0 0 0 0.1 0 0" size="0.01" rgba="0.95 0.8 0.35 1" group="1"/>
        <joint name="wrist" limited="true" range="-160 160"/>
        <body name="finger" pos="{LINK_M} 0 0">
          <geom name="finger" type="sphere" size="{_FINGER_M}" rgba="0.95 0.95 0.95 1" group="1"/>
        </body>
      </body>
    </body>
    <body name="target" mocap="true" pos="0 0 -1">
      <geom name="target" type="cylinder" pos="0 0 -0.008" size="{_RADIUS_M[config.task]} 0.001" rgba="0.85 0.2 0.25 1"
        group="1"/>
    </body>
  </worldbody>
  <actuator><motor name="shoulder" joint="shoulder"/><motor name="wrist" joint="wrist"/></actuator>
</mujoco>""")


class Reacher(SuiteTask):
    """The arm."""

    span = math.pi

    def __init__(self, config: Config) -> None:
        self.config = config
        shown = ("shoulder.pos", "wrist.pos") + (("to_target.x", "to_target.y") if config.task != "pose" else ())
        shown += ("shoulder.vel", "wrist.vel")
        units = {"pos": "rad", "vel": "rad/s", "x": "m", "y": "m"}
        super().__init__(
            _model(config),
            name="reacher",
            rate_hz=50.0 / REPEAT,
            steps=STEPS,
            states=(
                Signal(
                    name=STATE,
                    names=shown,
                    shape=(len(shown),),
                    unit=",".join(units[name.split(".")[1]] for name in shown),
                ),
            ),
            action=Signal(name=ACTION, names=("shoulder", "wrist"), shape=(2,), unit="1", kind=Kind.ACTION),
            low=(-1.0, -1.0),
            high=(1.0, 1.0),
            takes_goals=config.task == "pose",
            cameras=(CAMERA,),
            size=config.size,
        )
        self._finger = self.model.geom("finger").id
        self._settle()
        if config.size:
            ground = checker((0.03, 0.05, 0.08), (0.05, 0.07, 0.11), 0.1)
            pinhole = level((0.0, 0.0, 0.75), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0), 42.0, config.size)
            self._take = camera(self.model, self.data, pinhole, look_of(self.model, {"ground": ground}))

    def _draw(self, draw: np.random.Generator) -> None:
        self.data.qpos[:] = draw.uniform(-math.pi, math.pi), draw.uniform(-_WRIST_RAD, _WRIST_RAD)
        if self.config.task != "pose":
            angle, radius = draw.uniform(0.0, 2.0 * math.pi), draw.uniform(0.05, 0.20)
            self.data.mocap_pos[0] = radius * math.sin(angle), radius * math.cos(angle), 0.01

    def _drawn_goal(self, draw: np.random.Generator) -> FloatArray | None:
        if self.config.task != "pose":
            return None
        here = self._truth()
        mujoco.mj_resetData(self.model, self.data)
        self._draw(draw)
        self._settle()
        goal = self._truth()
        self._restore(here)
        return goal

    def _entered(self) -> None:
        self._aim = None if self._goal is None else self._goal[1:3]

    def _reward(self) -> float:
        return float(math.hypot(*self._way()) <= _RADIUS_M[self.config.task] + _FINGER_M)

    def _way(self) -> FloatArray:
        """(2,) from the finger to the place, m."""
        return np.asarray(self.data.mocap_pos[0, :2] - self.data.geom_xpos[self._finger, :2])

    def _distance(self) -> float:
        shoulder, wrist = self.data.qpos - self._aim
        return max(abs(math.remainder(shoulder, 2.0 * math.pi)), abs(float(wrist)))

    def _arrived(self) -> bool:
        return self._aim is not None and self._distance() < NEAR_RAD

    def _facts(self) -> Mapping[str, float]:
        if self._aim is None:
            return {"success": self._reward()}
        return {"success": float(self._arrived()), "distance": self._distance()}

    def _numbers(self) -> dict[str, FloatArray]:
        way = () if self.config.task == "pose" else (self._way(),)
        return {STATE: np.concatenate([self.data.qpos, *way, self.data.qvel])}

    def _pictures(self) -> dict[str, ByteArray]:
        return {CAMERA: self._take()}


class Scripted(GoalPolicy):
    """Drives both joints to the pose with a spring and a damper; a place becomes a pose by inverse kinematics.

    In the task ``pose`` it goes where :meth:`aim` says; before it was told, to poses that it draws, each for two
    seconds, which shows what the arm can do.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._digest = digest_json({"actor": "scripted", "task": "reacher", "variant": config.task})
        self.reset(seed=0)

    @property
    def digest(self) -> str:
        """Digest of the configuration."""
        return self._digest

    def reset(self, *, seed: int) -> None:
        self._random = random_stream(seed, "actor")
        self._goal: FloatArray | None = None
        self._told, self._steps = False, 0

    def aim(self, goal: Observation, *, steps: int) -> None:
        del steps
        if STATE not in goal:
            raise UsageError("the goal lacks what this actor looks at", got=", ".join(goal), hint=STATE)
        self._goal, self._told = np.array(goal[STATE][:2], np.float64), True

    def act(self, observation: Observation) -> FloatArray:
        state = np.asarray(observation[STATE], np.float64)
        pose, speed = state[:2], state[-2:]
        if self._config.task != "pose":
            aim = _pose_at(_finger(pose) + state[2:4], pose)
        else:
            if not self._told and self._steps % 50 == 0:
                self._goal = self._random.uniform((-math.pi, -_WRIST_RAD), (math.pi, _WRIST_RAD))
            self._steps += 1
            assert self._goal is not None, "drawn above, or told"
            aim = self._goal
        error = aim - pose
        error[0] = math.remainder(error[0], 2.0 * math.pi)
        return np.clip(_SPRING * error - _DAMPER * speed, -1.0, 1.0)


_SPRING = np.array([1.2, 0.5])
_DAMPER = np.array([0.25, 0.08])


def _finger(pose: FloatArray) -> FloatArray:
    shoulder, both = float(pose[0]), float(pose[0] + pose[1])
    x, y = math.cos(shoulder) + math.cos(both), math.sin(shoulder) + math.sin(both)
    return LINK_M * np.array([x, y])


def _pose_at(place: FloatArray, pose: FloatArray) -> FloatArray:
    """The pose that brings the finger to a place, the wrist bent the way it is bent now."""
    reach = min(math.hypot(*place), 2.0 * LINK_M)
    bend = 2.0 * math.acos(reach / (2.0 * LINK_M)) * (1.0 if pose[1] >= 0.0 else -1.0)
    return np.array([math.atan2(place[1], place[0]) - bend / 2.0, bend])


def create(config: Config) -> Task:
    """The task."""
    return Reacher(config)


def actor(name: str, task: Task, config: Config) -> Policy:
    """Who acts."""
    if name == "random":
        return RandomActor(task.spec)
    if name == "scripted":
        return Scripted(config)
    raise NotFound("nobody of this name acts here", got=name, hint=", ".join(ACTORS))
