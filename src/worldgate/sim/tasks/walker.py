"""A planar walker of seven bodies that must stand up and walk at 1 m/s; the control suite's own reward.

An action is six torques in units of the motors' gears (100, 50 and 20 Nm), 20 a second. The reward of one of the
suite's control periods is (3 high + upright) / 4 times (5 fast + 1) / 6. ``success`` means that the walker does what it
should at the end of the period: its torso at 1.2 m or more and moving forwards at the wanted speed. A run starts in a
random pose, mostly fallen. Nobody acts here who is competent. The task takes no goals.

The picture goes along with the torso; the floor's squares, half a metre, show how fast. It moves in steps of 1/64 of
two squares, under half a pixel at 64 pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import mujoco
import numpy as np

from worldgate.core.choices import settle
from worldgate.core.errors import NotFound
from worldgate.core.streams import ByteArray, FloatArray, Kind
from worldgate.core.tasks import Task
from worldgate.core.worlds import Policy, Signal
from worldgate.sim.tasks._physics import ACTION, STATE, RandomActor
from worldgate.sim.tasks._pictures import camera, checker, level, look_of
from worldgate.sim.tasks._suite import CAMERA, REPEAT, STEPS, SuiteTask, close_to

CARD = {
    "line": "stand up and walk on two legs in a plane (control suite)",
    "inputs": "torques of hips, knees and ankles, -1 to 1",
    "needs": "sim",
    "source": "Tassa et al. 2018, arXiv 1801.00690",
}
ACTORS = ("random",)

STAND_M = 1.2
SPEED_M_S = {"stand": 0.0, "walk": 1.0, "run": 8.0}
_SQUARE_M, _PHASES = 0.5, 64
_JOINTS = ("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle")
_BODIES = ("torso", "right_thigh", "right_leg", "right_foot", "left_thigh", "left_leg", "left_foot")


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Which task, and how large its pictures are."""

    size: int = 64
    """Pixels a side of the picture; 0 takes none."""
    task: Literal["walk", "stand", "run"] = "walk"
    """Speed that is wanted: 1, 0 or 8 m/s."""

    def __post_init__(self) -> None:
        settle(self)


def _leg(side: str, y: float, rgba: str) -> str:
    look = f'rgba="{rgba}"'
    return f"""<body name="{side}_thigh" pos="0 {y} -0.3">
        <joint name="{side}_hip" range="-20 100"/>
        <geom name="{side}_thigh" pos="0 0 -0.225" size="0.05 0.225" {look}/>
        <body name="{side}_leg" pos="0 0 -0.7">
          <joint name="{side}_knee" pos="0 0 0.25" range="-150 0"/>
          <geom name="{side}_leg" size="0.04 0.25" {look}/>
          <body name="{side}_foot" pos="0.06 0 -0.25">
            <joint name="{side}_ankle" pos="-0.06 0 0" range="-45 45"/>
            <geom name="{side}_foot" zaxis="1 0 0" size="0.05 0.1" {look}/>
          </body>
        </body>
      </body>"""


def _model() -> Any:
    gears = dict(zip(_JOINTS, (100, 50, 20) * 2, strict=True))
    motors = "".join(f'<motor name="{name}" joint="{name}" gear="{gear}"/>' for name, gear in gears.items())
    return mujoco.MjModel.from_xml_string(f"""<mujoco model="walker">
  <option timestep="0.0025"/>
  <default>
    <joint damping="0.1" armature="0.01" limited="true" solimplimit="0 0.99 0.01" axis="0 -1 0"/>
    <geom type="capsule" contype="1" conaffinity="0" friction="0.7 0.1 0.1" group="1"/>
    <motor ctrlrange="-1 1" ctrllimited="true"/>
  </default>
  <worldbody>
    <geom name="floor" type="plane" conaffinity="1" pos="248 0 0" size="250 0.8 0.2" zaxis="0 0 1" group="0"/>
    <body name="torso" pos="0 0 1.3">
      <joint name="rootz" axis="0 0 1" type="slide" limited="false" armature="0" damping="0"/>
      <joint name="rootx" axis="1 0 0" type="slide" limited="false" armature="0" damping="0"/>
      <joint name="rooty" axis="0 1 0" type="hinge" limited="false" armature="0" damping="0"/>
      <geom name="torso" size="0.07 0.3" rgba="0.9 0.75 0.45 1"/>
      {_leg("right", -0.05, "0.95 0.45 0.2 1")}
      {_leg("left", 0.05, "0.3 0.6 0.95 1")}
    </body>
  </worldbody>
  <sensor><subtreelinvel name="speed" body="torso"/></sensor>
  <actuator>{motors}</actuator>
</mujoco>""")


class Walker(SuiteTask):
    """The walker."""

    substeps = 10

    def __init__(self, config: Config) -> None:
        self.config = config
        self._speed = SPEED_M_S[config.task]
        turns = tuple(f"{body}.{part}" for body in _BODIES for part in ("cos", "sin"))
        speeds = tuple(f"{joint}.vel" for joint in ("z", "x", "tilt", *_JOINTS))
        names = (*turns, "torso.height", *speeds)
        super().__init__(
            _model(),
            name="walker",
            rate_hz=40.0 / REPEAT,
            steps=STEPS,
            states=(
                Signal(
                    name=STATE,
                    names=names,
                    shape=(len(names),),
                    unit=",".join(["1"] * len(turns) + ["m", "m/s", "m/s"] + ["rad/s"] * 7),
                ),
            ),
            action=Signal(name=ACTION, names=_JOINTS, shape=(6,), unit="1", kind=Kind.ACTION),
            low=(-1.0,) * 6,
            high=(1.0,) * 6,
            takes_goals=False,
            cameras=(CAMERA,),
            size=config.size,
        )
        self._torso = self.model.body("torso").id
        self._joints = self.model.jnt_range[3:].copy()
        self._settle()
        if config.size:
            self._shown = mujoco.MjData(self.model)
            self._takes: dict[int, Callable[[], ByteArray]] = {}

    def _draw(self, draw: np.random.Generator) -> None:
        self.data.qpos[2] = draw.uniform(-np.pi, np.pi)
        self.data.qpos[3:] = draw.uniform(self._joints[:, 0], self._joints[:, 1])

    def _measured(self) -> tuple[float, float, float]:
        """Height of the torso (m), cosine of its tilt, forward speed (m/s)."""
        data = self.data
        return float(data.xpos[self._torso, 2]), float(data.xmat[self._torso, 8]), float(data.sensordata[0])

    def _reward(self) -> float:
        height, upright, speed = self._measured()
        standing = (3.0 * close_to(height, STAND_M, np.inf, STAND_M / 2.0) + (1.0 + upright) / 2.0) / 4.0
        if not self._speed:
            return standing
        fast = min(max(1.0 - (self._speed - speed) / self._speed, 0.0), 1.0)
        return standing * (5.0 * fast + 1.0) / 6.0

    def _facts(self) -> Mapping[str, float]:
        height, _, speed = self._measured()
        return {"success": float(height >= STAND_M and speed >= self._speed)}

    def _numbers(self) -> dict[str, FloatArray]:
        turns = self.data.xmat[1:][:, (0, 2)].ravel()
        return {STATE: np.concatenate([turns, [self.data.xpos[self._torso, 2]], self.data.qvel])}

    def _pictures(self) -> dict[str, ByteArray]:
        """From the side; the floor passes by under a walker that is drawn in place."""
        at = self.data.qpos[1] % (2.0 * _SQUARE_M)
        phase = round(at / (2.0 * _SQUARE_M) * _PHASES) % _PHASES
        self._shown.qpos[:] = self.data.qpos
        self._shown.qpos[1] = 0.0
        mujoco.mj_kinematics(self.model, self._shown)
        if phase not in self._takes:
            self._takes[phase] = self._camera(phase * 2.0 * _SQUARE_M / _PHASES)
        return {CAMERA: self._takes[phase]()}

    def _camera(self, shift: float) -> Callable[[], ByteArray]:
        squares = checker((0.05, 0.07, 0.10), (0.16, 0.20, 0.26), _SQUARE_M)
        move = np.array([float(self.model.geom("floor").pos[0]) + shift, 0.0, 0.0])
        look = look_of(self.model, {"floor": lambda p, n: squares(p + move, n)})
        pinhole = level((0.0, -2.9, 1.0), (0.0, 1.0, -0.08), (0.0, 0.0, 1.0), 45.0, self.config.size)
        return camera(self.model, self._shown, pinhole, look)


def create(config: Config) -> Task:
    """The task."""
    return Walker(config)


def actor(name: str, task: Task, config: Config) -> Policy:
    """Who acts."""
    del config
    if name == "random":
        return RandomActor(task.spec)
    raise NotFound("nobody of this name acts here", got=name, hint=", ".join(ACTORS))
