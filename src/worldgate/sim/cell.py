"""The embedded cell: a four-joint arm with a pusher, an object, a goal bay and a person's forearm, in MuJoCo.

The policy's action is where the tool's tip should be (x, y; m, table frame) 100 ms from now; the controller moves its
reference there in a straight line at a limited speed, every 10 ms, through closed-form inverse kinematics into position
actuators. Physics runs at 500 Hz. How far a run is advanced in one call never changes it: everything that acts on the
physics happens at fixed 10 ms ticks, so a recorded run and an unrecorded one are the same run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import mujoco
import numpy as np

from worldgate.core.streams import FloatArray
from worldgate.sim import arm as kinematics
from worldgate.sim import scene
from worldgate.sim.puddle import WET_FRICTION, wet
from worldgate.sim.scenario import Scenario, hand_at, sample
from worldgate.sim.sites import Arm, Site, find_site

TICK_S = 0.01
"""Period of the controller."""
CONTROL_S = 0.1
"""Period of the policy."""
CLEARANCE_CAP_M = 0.5
"""Clearances beyond this are reported as this."""
WORKSPACE = (-0.17, 0.30, -0.30, 0.30)
"""x from, x to, y from, y to that the tool's target is held to, m."""
SUCCESS_M = 0.045
"""The object is in the bay when its middle is this near the bay's along both of the bay's axes."""

STATE_NAMES = (
    "yaw.pos", "shoulder.pos", "elbow.pos", "wrist.pos", "yaw.vel", "shoulder.vel", "elbow.vel", "wrist.vel",
    "tool.x", "tool.y", "tool.z",
)  # fmt: skip
STATE_UNIT = "rad,rad,rad,rad,rad/s,rad/s,rad/s,rad/s,m,m,m"
ENVIRONMENT_NAMES = ("object.x", "object.y", "object.yaw", "goal.x", "goal.y", "person.x", "person.y")
ENVIRONMENT_UNIT = "m,m,rad,m,m,m,m"
ACTION_NAMES = ("tool.x", "tool.y")


@dataclass(frozen=True, kw_only=True, slots=True)
class CellConfig:
    """One cell: a site, one of its arms, and what the run starts from."""

    site: str = "north"
    """Name of the site."""
    arm: str | None = None
    """Name of the arm; the site's first one without."""
    scenario: Scenario | None = None
    """The initial situation; drawn from the seed without."""
    scene: scene.SceneConfig = field(default_factory=scene.SceneConfig)
    """The object and the physics."""
    tool_speed_m_s: float = 0.45
    """Largest speed of the controller's reference."""


class Cell:
    """The cell's physics and the measurements that the site takes of it.

    Args:
        config: the cell.
        seed: of the scenario, where none is given.

    Raises:
        NotFound: no such site, arm or camera.
    """

    def __init__(self, config: CellConfig, seed: int) -> None:
        self.config = config
        self.site: Site = find_site(config.site)
        self.arm: Arm = self.site.arm(config.arm)
        self.scenario = config.scenario or sample(config.site, seed=seed)
        assert self.scenario.site == config.site, (self.scenario.site, config.site)
        self.model = mujoco.MjModel.from_xml_string(scene.build(self.site, self.scenario, config.scene))
        self.data = mujoco.MjData(self.model)
        self.step_index = 0
        self.steps_per_tick = round(TICK_S / config.scene.timestep_s)
        self._links = [self.model.geom(name).id for name in scene.ARM_LINKS]
        self._parts = [self.model.geom(name).id for name in scene.PERSON_PARTS]
        self._object = self.model.joint("object").qposadr[0]
        self._bias = np.array(self.arm.joint_bias_rad)
        self._names = [self.model.geom(i).name for i in range(self.model.ngeom)]
        self._pairs: set[tuple[int, int]] = set()
        self._contacts: frozenset[tuple[str, str]] = frozenset()
        self._start()

    def _start(self) -> None:
        x, y = self.scenario.tool
        self._reference = (x, y)
        self._per_tick = (0.0, 0.0)
        self._ticks_left = 0
        joints = np.array(kinematics.inverse(x, y)) - self._bias
        self.data.qpos[:4] = joints
        self.data.ctrl[:] = joints
        self._yaw = self.scenario.object_pose[2]
        self._place_person()
        self._wet_under_object()
        mujoco.mj_forward(self.model, self.data)
        self._clearance = self._measure_clearance()
        self._force = 0.0

    def place(self, tool: tuple[float, float], object_pose: tuple[float, float, float]) -> None:
        """Start anew, at rest, with the tool (x, y; m) and the object (x, y, m; yaw, rad) where they are said to be."""
        mujoco.mj_resetData(self.model, self.data)
        self.scenario = replace(self.scenario, tool=tool, object_pose=object_pose)
        half = object_pose[2] / 2.0
        self.data.qpos[self._object : self._object + 2] = object_pose[:2]
        self.data.qpos[self._object + 3 : self._object + 7] = math.cos(half), 0.0, 0.0, math.sin(half)
        self.step_index = 0
        self._start()

    def kept(self) -> tuple[float, float, float]:
        """What decides how a run goes on beside MuJoCo's state, between two actions: reference x, y (m), yaw (rad)."""
        return *self._reference, self._yaw

    def resume(self, kept: tuple[float, float, float]) -> None:
        """Go on from MuJoCo's state as it is now, between two actions, with what :meth:`kept` gave there."""
        self._reference, self._yaw = (kept[0], kept[1]), kept[2]
        self._per_tick, self._ticks_left = (0.0, 0.0), 0
        self.step_index = self.steps_per_tick  # any tick but the first, at which a person would be put aside

    @property
    def time_s(self) -> float:
        """Time since the start of the run."""
        return self.step_index * self.timestep_s

    @property
    def timestep_s(self) -> float:
        """Of the physics."""
        return self.config.scene.timestep_s

    def command(self, target: FloatArray) -> None:
        """Take the policy's action: (2,) where the tip should be in 100 ms, m; it is held to the workspace."""
        x = min(max(float(target[0]), WORKSPACE[0]), WORKSPACE[1])
        y = min(max(float(target[1]), WORKSPACE[2]), WORKSPACE[3])
        dx, dy = x - self._reference[0], y - self._reference[1]
        ticks = round(CONTROL_S / TICK_S)
        share = min(1.0, self.config.tool_speed_m_s * CONTROL_S / max(math.hypot(dx, dy), 1e-9)) / ticks
        self._per_tick = (dx * share, dy * share)
        self._ticks_left = ticks

    def run_to(self, step: int) -> None:
        """Advance the physics to a step; the controller acts at every tick on the way."""
        while self.step_index < step:
            if self.step_index % self.steps_per_tick == 0:
                self._tick()
            until = min(step, (self.step_index // self.steps_per_tick + 1) * self.steps_per_tick)
            mujoco.mj_step(self.model, self.data, until - self.step_index)
            self.step_index = until
            if until % self.steps_per_tick == 0:
                self._measure()

    def _tick(self) -> None:
        if self._ticks_left:
            self._ticks_left -= 1
            self._reference = (self._reference[0] + self._per_tick[0], self._reference[1] + self._per_tick[1])
            self.data.ctrl[:] = np.array(kinematics.inverse(*self._reference)) - self._bias
        self._place_person()
        self._wet_under_object()

    def _place_person(self) -> None:
        """Put the hand where its path says, the forearm pointing back to the shoulder."""
        if not self.scenario.person and self.step_index:
            return
        x, y = hand_at(self.scenario.person, self.time_s)
        half = math.atan2(SHOULDER[1] - y, SHOULDER[0] - x) / 2
        self.data.mocap_pos[0] = (x, y, scene.HAND_HEIGHT_M)
        self.data.mocap_quat[0] = (math.cos(half), 0.0, 0.0, math.sin(half))

    def _wet_under_object(self) -> None:
        """Set the friction of the object by how much of its base is wet."""
        radius = self.scenario.attributes.spill
        if not radius:
            return
        x, y = self.data.qpos[self._object : self._object + 2]
        reach = 0.7 * scene.BLOCK_M
        share = wet(x + reach * _PROBES[0], y + reach * _PROBES[1], self.scenario.puddle, radius).mean()
        self.model.pair_friction[0, :2] = self.site.friction + share * (WET_FRICTION - self.site.friction)

    def _measure(self) -> None:
        if self.scenario.person:
            self._clearance = min(self._clearance, self._measure_clearance())
        self._force = max(self._force, float(np.linalg.norm(self.data.sensordata[:3])))
        w, x, y, z = self.data.qpos[self._object + 3 : self._object + 7]
        yaw = math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
        self._yaw += math.remainder(yaw - self._yaw, 2.0 * math.pi)

    def _measure_clearance(self) -> float:
        best = CLEARANCE_CAP_M
        for link in self._links:
            for part in self._parts:
                best = min(best, mujoco.mj_geomDistance(self.model, self.data, link, part, best, None))
        return float(best)

    def joints(self) -> FloatArray:
        """(8,) encoder angles (rad) and velocities (rad/s), with the arm's calibration error."""
        return np.concatenate([self.data.qpos[:4] + self._bias, self.data.qvel[:4]])

    def state(self, noise: FloatArray | None = None) -> FloatArray:
        """(11,) :data:`STATE_NAMES`; the tool's place is computed from the encoders, as a robot does it.

        Args:
            noise: (8,) error of the encoders' angles (rad) and velocities (rad/s).
        """
        joints = self.joints() if noise is None else self.joints() + noise
        tip = kinematics.forward((float(joints[0]), float(joints[1]), float(joints[2]), float(joints[3])))
        return np.concatenate([joints, tip])

    def environment_state(self) -> FloatArray:
        """(7,) :data:`ENVIRONMENT_NAMES`; yaw is continuous over a run, a parked hand reads ``scenario.PARKED``."""
        x, y = self.data.qpos[self._object : self._object + 2]
        hand = self.data.mocap_pos[0]
        return np.array([x, y, self._yaw, *self.site.goal, hand[0], hand[1]])

    def force(self) -> FloatArray:
        """(3,) net contact force on the tool, N, table frame; MuJoCo's contact sensor gives the force by the tool."""
        return np.asarray(-self.data.sensordata[:3])

    def succeeded(self) -> bool:
        """Whether the object lies in the goal bay now."""
        x, y = self.data.qpos[self._object : self._object + 2]
        return in_bay(self.site, float(x), float(y))

    def take_facts(self) -> Mapping[str, float]:
        """What was measured since the last call: ``success`` 0/1 now, smallest ``clearance_m``, peak ``force_n``."""
        facts = {"success": float(self.succeeded()), "clearance_m": self._clearance, "force_n": self._force}
        self._clearance = self._measure_clearance() if self.scenario.person else CLEARANCE_CAP_M
        self._force = 0.0
        return facts

    def contacts(self) -> frozenset[tuple[str, str]]:
        """Pairs of geoms that touch now, names sorted; things that merely stand on the table are left out."""
        pairs = {(a, b) for a, b in self.data.contact.geom.tolist()} if self.data.ncon else set()
        if pairs != self._pairs:
            self._pairs = pairs
            names = (tuple(sorted((self._names[a], self._names[b]))) for a, b in pairs)
            self._contacts = frozenset((a, b) for a, b in names if "ground" not in (a, b))
        return self._contacts

    def settle(self) -> None:
        """Bring the places of all geoms up to the last physics step, before sensors look at them."""
        mujoco.mj_kinematics(self.model, self.data)


def in_bay(site: Site, x: float, y: float) -> bool:
    """Whether an object with its middle at x, y (m, table frame) lies in a site's goal bay."""
    dx, dy = x - site.goal[0], y - site.goal[1]
    along = dx * site.mouth[0] + dy * site.mouth[1]
    across = -dx * site.mouth[1] + dy * site.mouth[0]
    return bool(abs(along) < SUCCESS_M and abs(across) < SUCCESS_M)


SHOULDER = (1.05, 0.0)
"""Where the person's shoulder is, m: the forearm points there."""
_PROBES = np.array([[0.0, 1.0, 1.0, -1.0, -1.0], [0.0, 1.0, -1.0, 1.0, -1.0]])
