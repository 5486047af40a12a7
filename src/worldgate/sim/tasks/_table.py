"""A table on which an arm with a gripper takes things by contact: what pick_place, insert and instructed share.

The arm is the cell's (:mod:`worldgate.sim.arm`) with two more parts: a roll joint that keeps the gripper's fingers
along the table's y axis wherever the arm points, and two fingers that slide. Nothing is glued: what is lifted is held
by friction. An action says where the point between the fingertips should be and how far they should be apart in 100 ms;
the controller moves its reference there in a straight line, at no more than :data:`SPEED_M_S`, every 20 ms, through
closed-form inverse kinematics into position actuators. Physics runs at 250 Hz. Sensors have neither noise nor delay.

Where a task takes goals, a row is reached when every thing is within 3 cm of where the row has it and the tool within
5 cm; the distance is that of the farthest thing, m. Without a row it is how far the thing is from where the task wants
it. The reward is 1 for success, less two for each metre of distance.

Shape legend: A = 4 action channels, n things.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from worldgate.core.digest import digest_json
from worldgate.core.errors import UsageError
from worldgate.core.streams import ByteArray, FloatArray, Kind
from worldgate.core.worlds import Observation, Policy, Signal
from worldgate.sim import arm
from worldgate.sim.rays import Pinhole
from worldgate.sim.scenario import random_stream
from worldgate.sim.sites import CameraPose, Light
from worldgate.sim.tasks._physics import ACTION, STATE, PhysicsTask
from worldgate.sim.tasks._pictures import camera, look_of

AROUND, FORCE = "observation.environment_state", "observation.force"
CONTROL_S, TICK_S, TIMESTEP_S = 0.1, 0.02, 0.004
TICKS = round(CONTROL_S / TICK_S)
SPEED_M_S = 0.45
"""Largest speed of the controller's reference."""
LOW, HIGH = (-0.12, -0.24, 0.008, 0.0), (0.24, 0.24, 0.25, 0.085)
"""Bounds of an action: the tool's x, y, z and the fingers' distance, m."""
HOME = (-0.06, 0.0, 0.16, 0.08)
NEAR_M, TOOL_NEAR_M = 0.03, 0.05
STATE_NAMES = (
    *(f"{joint}.{what}" for what in ("pos", "vel") for joint in ("yaw", "shoulder", "elbow", "wrist", "roll")),
    *("tool.x", "tool.y", "tool.z", "gripper.opening"),
)
STATE_UNIT = ",".join(["rad"] * 5 + ["rad/s"] * 5 + ["m"] * 4)
CAMERAS = {
    "front": CameraPose(position=(0.74, -0.30, 0.56), target=(0.06, 0.0, 0.02), fov_deg=34.0),
    "top": CameraPose(position=(0.30, 0.0, 0.95), target=(0.07, 0.0, 0.0), fov_deg=36.0),
}
_LAMP = Light(position=(0.55, -1.1, 1.5), colour=(0.95, 0.97, 1.0), sky=(0.36, 0.40, 0.47), ground=(0.12, 0.11, 0.10))
_OWN = 8
"""Reference x, y, z and opening; force x, y, z and grip over the last tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """Something loose on the table."""

    name: str
    half_height: float
    """Half its height when it stands, m."""
    geom: str
    """Its shape as MJCF attributes."""
    rgba: str
    mass_kg: float = 0.08


def model_of(things: tuple[Thing, ...], fixed: str) -> Any:
    """The table with an arm, loose things, and what is fixed or put there (MJCF)."""
    still = 'group="0" contype="0" conaffinity="0"'
    link = 'group="1" contype="0" conaffinity="0" rgba="0.85 0.86 0.88 1"'
    dark = 'group="1" contype="0" conaffinity="0" rgba="0.25 0.27 0.32 1"'
    pad = 'group="1" contype="4" conaffinity="3" friction="1.2 0.02 0.001" condim="4" rgba="0.15 0.45 0.85 1"'
    pitch = 'type="hinge" axis="0 -1 0" armature="0.05" damping="1"'
    long = (arm.TOOL_M - 0.056) / 2.0
    loose = "".join(
        f'<body name="{t.name}" pos="0 0 {t.half_height}"><freejoint name="{t.name}"/>'
        f'<geom name="{t.name}" {t.geom} mass="{t.mass_kg}" rgba="{t.rgba}" group="1" contype="2" conaffinity="7" '
        f'friction="0.8 0.01 0.001" condim="4"/></body>'
        for t in things
    )
    joints = ("yaw", "shoulder", "elbow", "wrist")
    motors = "".join(f'<position name="{j}" joint="{j}" kp="350" dampratio="1" forcerange="-45 45"/>' for j in joints)
    return mujoco.MjModel.from_xml_string(f"""<mujoco model="table">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{TIMESTEP_S}" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <worldbody>
    <geom name="floor" type="plane" pos="0 0 -0.75" size="0 0 1" rgba="0.4 0.42 0.45 1" {still}/>
    <geom name="table" type="box" pos="-0.045 0 -0.0175" size="0.475 0.43 0.0175" rgba="0.72 0.63 0.5 1" {still}/>
    <geom name="ground" type="plane" size="1 1 1" group="3" contype="1" conaffinity="2" condim="4" friction="0.8"/>
    <geom name="foot" type="cylinder" pos="{arm.BASE[0]} {arm.BASE[1]} 0.09" size="0.06 0.09"
      rgba="0.3 0.32 0.36 1" {still}/>
    {fixed}
    <body name="shoulder" pos="{arm.BASE[0]} {arm.BASE[1]} {arm.SHOULDER_M}" gravcomp="1">
      <joint name="yaw" type="hinge" axis="0 0 1" armature="0.05" damping="1"/>
      <geom type="sphere" size="0.064" mass="1.5" {dark}/>
      <body name="upper" gravcomp="1"><joint name="shoulder" {pitch}/>
        <geom type="capsule" fromto="0 0 0 {arm.UPPER_M} 0 0" size="0.038" mass="1.2" {link}/>
        <body name="fore" pos="{arm.UPPER_M} 0 0" gravcomp="1"><joint name="elbow" {pitch}/>
          <geom type="sphere" size="0.046" mass="0.3" {dark}/>
          <geom type="capsule" fromto="0 0 0 {arm.FORE_M} 0 0" size="0.030" mass="0.8" {link}/>
          <body name="wrist" pos="{arm.FORE_M} 0 0" gravcomp="1"><joint name="wrist" {pitch}/>
            <geom type="capsule" fromto="-0.01 0 0 0.03 0 0" size="0.022" mass="0.3" {dark}/>
            <body name="hand" pos="0.044 0 0" gravcomp="1">
              <joint name="roll" type="hinge" axis="1 0 0" armature="0.01" damping="0.3"/>
              <geom type="box" pos="0.004 0 0" size="0.008 0.052 0.012" mass="0.1" {dark}/>
              {_finger("left", 1, long, pad)}
              {_finger("right", -1, long, pad)}
              <site name="tip" pos="{arm.TOOL_M - 0.044} 0 0"/>
            </body></body></body></body></body>
    {loose}
  </worldbody>
  <contact><exclude body1="left" body2="right"/></contact>
  <actuator>{motors}
    <position name="roll" joint="roll" kp="60" dampratio="1" forcerange="-10 10"/>
    <position name="left" joint="left" kp="500" dampratio="1" forcerange="-12 12"/>
    <position name="right" joint="right" kp="500" dampratio="1" forcerange="-12 12"/>
  </actuator>
  <sensor>
    <contact name="left" geom1="left" reduce="netforce" data="force"/>
    <contact name="right" geom1="right" reduce="netforce" data="force"/>
  </sensor>
</mujoco>""")


def _finger(name: str, side: int, half_length: float, pad: str) -> str:
    """One finger, its inner face on the middle plane when closed."""
    return f"""<body name="{name}" pos="{0.012 + half_length} {side * 0.005} 0" gravcomp="1">
      <joint name="{name}" type="slide" axis="0 {side} 0" range="0 0.044" armature="0.05" damping="2"/>
      <geom name="{name}" type="box" size="{half_length} 0.005 0.011" mass="0.02" {pad}/>
    </body>"""


class Table(PhysicsTask):
    """A task on the table; each file says what lies on it, how a run starts and when it has succeeded.

    Args:
        name: the task's.
        things: what is loose.
        fixed: MJCF of what is fixed or put there.
        marks: names of bodies that are put there and whose place (x, y) is part of what is seen around.
        steps: longest run, in control periods.
        takes_goals: whether a recorded row can be the goal.
        cameras: which of ``front`` and ``top`` take pictures.
        size: pixels a side of the pictures; 0: none.
        text: whether a run has an instruction.
        own: further numbers that the task keeps.
    """

    solid_marks: bool = False
    """Whether things touch the marks, so that a goal must have them where the start has them."""

    def __init__(
        self,
        *,
        name: str,
        things: tuple[Thing, ...],
        fixed: str,
        marks: tuple[str, ...],
        steps: int,
        takes_goals: bool,
        cameras: tuple[str, ...],
        size: int,
        text: bool = False,
        own: int = 0,
    ) -> None:
        unknown = [one for one in cameras if one not in CAMERAS]
        if unknown:
            raise UsageError("no such camera", got=unknown[0], where=f"{name}:cameras", hint=", ".join(CAMERAS))
        around = tuple(f"{t.name}.{what}" for t in things for what in ("x", "y", "z", "yaw"))
        around += tuple(f"{mark}.{what}" for mark in marks for what in ("x", "y"))
        unit = ",".join(["m", "m", "m", "rad"] * len(things) + ["m", "m"] * len(marks))
        super().__init__(
            model_of(things, fixed),
            name=name,
            rate_hz=1.0 / CONTROL_S,
            steps=steps,
            states=(
                Signal(name=STATE, names=STATE_NAMES, unit=STATE_UNIT, shape=(len(STATE_NAMES),), frame="table"),
                Signal(name=AROUND, names=around, unit=unit, shape=(len(around),), frame="table"),
                Signal(name=FORCE, names=("x", "y", "z", "grip"), unit="N,N,N,N", shape=(4,), frame="table"),
            ),
            action=Signal(
                name=ACTION,
                names=("tool.x", "tool.y", "tool.z", "gripper.opening"),
                unit="m",
                shape=(4,),
                frame="table",
                kind=Kind.ACTION,
            ),
            low=LOW,
            high=HIGH,
            takes_goals=takes_goals,
            cameras=tuple(f"observation.images.{one}" for one in cameras),
            size=size,
            text=text,
            own=_OWN + own,
        )
        self.things = things
        self._at = np.array([self.model.joint(t.name).qposadr[0] for t in things])
        self._marks = [int(self.model.body(mark).mocapid[0]) for mark in marks]
        self._tip = self.model.site("tip").id
        self._settle()
        look = look_of(self.model, {"table": _planks})
        self._takes = {
            signal.name: camera(
                self.model, self.data, Pinhole.at(CAMERAS[signal.name.split(".")[-1]], size, size), look, _LAMP
            )
            for signal in self.spec.cameras
        }

    def place(self, thing: int, x: float, y: float, yaw: float) -> None:
        """Stand a thing on the table, before a run."""
        start = self._at[thing]
        half = yaw / 2.0
        self.data.qpos[start : start + 7] = x, y, self.things[thing].half_height, math.cos(half), 0, 0, math.sin(half)

    def poses(self) -> FloatArray:
        """(n, 4) x, y, z and yaw of every thing."""
        q = self.data.qpos[self._at[:, None] + np.arange(7)]
        w, x, y, z = q[:, 3], q[:, 4], q[:, 5], q[:, 6]
        yaw = np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
        return np.concatenate([q[:, :3], yaw[:, None]], 1)

    def held(self) -> float:
        """N, with how much the weaker of the two fingers presses."""
        return float(self._own[7])

    def _begin_at_home(self, draw: np.random.Generator) -> None:
        """The arm at rest near its home, before a run."""
        x, y = draw.normal(0.0, 0.015, 2)
        self._own[:4] = HOME[0] + x, HOME[1] + y, HOME[2], HOME[3]
        target = _targets(self._own[:4])
        self.data.qpos[:7] = target
        self.data.ctrl[:] = target

    def _act(self, action: FloatArray) -> None:
        begin = self._own[:4].copy()
        way = action - begin
        share = min(1.0, SPEED_M_S * CONTROL_S / max(float(np.linalg.norm(way[:3])), 1e-9))
        way[:3] *= share
        peak = 0.0
        for tick in range(1, TICKS + 1):
            self._own[:4] = begin + way * (tick / TICKS)
            self.data.ctrl[:] = _targets(self._own[:4])
            mujoco.mj_step(self.model, self.data, round(TICK_S / TIMESTEP_S))
            force = self.data.sensordata
            peak = max(peak, float(np.linalg.norm(force[:3] + force[3:6])))
        left, right = force[:3], force[3:6]
        self._own[4:7] = -(left + right)
        self._own[7] = min(float(np.linalg.norm(left)), float(np.linalg.norm(right)))
        self._peak = peak
        mujoco.mj_kinematics(self.model, self.data)

    def _entered(self) -> None:
        self._peak = 0.0
        if self._goal is not None:
            here = self._truth()
            marks = self.data.mocap_pos[self._marks].copy()
            self._restore(self._goal)
            self._aim = self.poses()[:, :3], self._tool()
            apart = float(np.abs(self.data.mocap_pos[self._marks] - marks).max(initial=0.0))
            self._restore(here)
            if self.solid_marks and apart > 1e-3:
                self._goal = None
                what, got = "a goal in which what is fixed stands elsewhere", f"{apart:.3f} m"
                raise UsageError(what, got=got, where=self.spec.name, hint="a row of the same episode")

    def _tool(self) -> FloatArray:
        return np.array(self.data.site_xpos[self._tip])

    def _facts(self) -> Mapping[str, float]:
        if self._goal is None:
            return {"success": float(self._succeeded()), "distance": self._apart(), "force_n": self._peak}
        things, tool = self._aim
        distance = float(np.linalg.norm(self.poses()[:, :3] - things, axis=1).max())
        reached = distance < NEAR_M and float(np.linalg.norm(self._tool() - tool)) < TOOL_NEAR_M
        return {"success": float(reached), "distance": distance, "force_n": self._peak}

    def _done(self, facts: Mapping[str, float]) -> bool:
        return bool(facts["success"])

    def _succeeded(self) -> bool:
        """Whether the task's own goal is reached now."""
        raise NotImplementedError

    def _apart(self) -> float:
        """How far the thing is from where the task wants it, m."""
        raise NotImplementedError

    def _numbers(self) -> dict[str, FloatArray]:
        data = self.data
        opening = float(data.qpos[5] + data.qpos[6])
        state = np.concatenate([data.qpos[:5], data.qvel[:5], self._tool(), [opening]])
        marks = data.mocap_pos[self._marks, :2].ravel()
        around = np.concatenate([self.poses().ravel(), marks])
        return {STATE: state, AROUND: around, FORCE: self._own[4:8].copy()}

    def _pictures(self) -> dict[str, ByteArray]:
        return {name: take() for name, take in self._takes.items()}


def _targets(reference: FloatArray) -> FloatArray:
    """(7,) of the actuators: five joints, two fingers."""
    x, y, z, opening = reference.tolist()
    yaw, shoulder, elbow, wrist = arm.inverse(x, y, z)
    return np.array([yaw, shoulder, elbow, wrist, yaw, opening / 2.0, opening / 2.0])


def _planks(points: FloatArray, normals: FloatArray) -> tuple[FloatArray, FloatArray]:
    del normals
    plank = np.floor(points[:, 1] / 0.105).astype(np.int64)
    tone = 0.92 + 0.08 * ((plank * 7) % 3)
    return np.array([0.52, 0.44, 0.33]) * tone[:, None], np.full(len(points), 0.06)


def scattered(
    draw: np.random.Generator, count: int, box: tuple[float, float, float, float], apart: float, taken: list[Any]
) -> list[tuple[float, float]]:
    """Places in a box (x from, x to, y from, y to) that keep a distance from one another and from what is taken."""
    while True:
        spots: list[tuple[float, float]] = []
        for _ in range(200):
            spot = float(draw.uniform(box[0], box[1])), float(draw.uniform(box[2], box[3]))
            if all(math.dist(spot, other) >= apart for other in (*taken, *spots)):
                spots.append(spot)
                if len(spots) == count:
                    return spots


class Picker(Policy):
    """Takes one thing from above and lets it go at a place, phase by phase.

    Args:
        name: of the actor, for the digest: ``scripted`` or one with an error.
        task: the task's name.
        noise_m: standard deviation of a slowly varying error of the target in x and y; a third of it while lowering.
    """

    above_m = 0.015
    """How near the tool must be to the place, above it, before it is lowered."""
    aside_m = math.inf
    """Farther aside from the place than this it is not lowered on."""
    lowering_m = 0.042
    """Longest step while it is lowered."""

    def __init__(self, name: str, task: str, *, noise_m: float = 0.0) -> None:
        self._noise = noise_m
        self._digest = digest_json({"actor": name, "task": task, "noise_m": noise_m})
        self.reset(seed=0)

    @property
    def digest(self) -> str:
        """Digest of what decides how it acts."""
        return self._digest

    def reset(self, *, seed: int) -> None:
        self._random = random_stream(seed, "actor")
        self._error = np.zeros(2)
        self._phase, self._waited = 0, 0

    def act(self, observation: Observation) -> FloatArray:
        tool, opening = np.asarray(observation[STATE], np.float64)[10:13], float(observation[STATE][13])
        thing, grip, place, release = self._job(tool, np.asarray(observation[AROUND], np.float64))
        high = release + _LIFT_M
        ways = (
            ((*thing[:2], grip + _LIFT_M), _OPEN_M),
            ((*thing[:2], grip), _OPEN_M),
            ((*tool[:2], grip), 0.0),
            ((*tool[:2], high), 0.0),
            ((*place, high), 0.0),
            ((*place, release), 0.0),
            ((*tool[:2], release), _OPEN_M),
            ((*place, high), _OPEN_M),
        )
        if 3 <= self._phase <= 5 and opening < _EMPTY_M:
            self._phase = 0  # it slipped: once more
        target, width = ways[self._phase]
        away = np.array(target) - tool
        near = float(np.linalg.norm(away)) < (self.above_m if self._phase == 4 else _NEAR_M[self._phase])
        self._waited += 1
        if self._phase in (2, 6):
            near = self._waited > _WAIT
        elif self._phase == 5 and self._waited > _JAMMED:
            self._phase, self._waited = 4, 0  # it is stuck on the way down: up, and once more
            return self.act(observation)
        if near and self._phase < len(ways) - 1:
            self._phase, self._waited = self._phase + 1, 0
            return self.act(observation)
        if self._phase == 5 and math.hypot(*away[:2]) > self.aside_m:
            away[2] = 0.0
        if self._noise:
            self._error = 0.8 * self._error + 0.6 * self._random.normal(0.0, self._noise, 2)
            away[:2] += self._error * (0.3 if self._phase == 5 else 1.0)
        most = self.lowering_m if self._phase == 5 else _STEP_M
        step = away * min(1.0, most / max(float(np.linalg.norm(away)), 1e-9))
        return np.asarray(np.clip([*(tool + step), width], LOW, HIGH))

    def _job(self, tool: FloatArray, around: FloatArray) -> tuple[FloatArray, float, tuple[float, float], float]:
        """What is to be done: the thing's place, the tool's height to grip it, where to bring it, the height to let go.

        Args:
            tool: (3,) where the tool is, m.
            around: the task's :data:`AROUND`.
        """
        raise NotImplementedError


_OPEN_M, _EMPTY_M, _LIFT_M, _STEP_M, _WAIT, _JAMMED = 0.08, 0.008, 0.09, 0.042, 4, 25
_NEAR_M = (0.015, 0.006, 0.0, 0.015, 0.0, 0.006, 0.0, 0.015)
"""How near the tool must be to a phase's end, m; those that wait have none."""
