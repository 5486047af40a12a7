"""The cell as MJCF: table, goal bay, arm, object, clutter, a person's forearm, and what hangs before a camera.

Geom names carry their class before the first underscore (``wall_back`` is a ``wall``); :data:`CLASSES` gives each class
its number in segmentation pictures. Ray groups: 0 what never moves, 1 what moves, 3 what only collides.
Collision bits: 1 ground, 2 loose things, 4 tool, 8 arm links, 16 person, 32 walls.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from worldgate.core.choices import settle
from worldgate.core.errors import NotFound
from worldgate.sim import arm
from worldgate.sim.scenario import PARKED, Scenario
from worldgate.sim.sites import CameraPose, Site

CLASSES: Mapping[str, int] = {
    "background": 0, "table": 1, "wall": 2, "goal": 3, "object": 4, "arm": 5, "tool": 6, "person": 7, "clutter": 8,
    "spill": 9, "occluder": 10, "floor": 11,
}  # fmt: skip
"""Class ids of segmentation pictures; ``goal`` and ``spill`` are regions of the table top."""

STATIC, MOVING, HIDDEN = 0, 1, 3

BLOCK_M = 0.04
"""Half the side of the block, and the radius of the disc."""
OBJECT_HALF_HEIGHT_M = 0.0225
TOOL_RADIUS_M = 0.016
BAY_HALF_M = 0.084
"""Half the inner width of the goal bay."""
TABLE = (-0.52, 0.43, -0.43, 0.43)
"""x from, x to, y from, y to of the table top."""
RIM = (-0.20, 0.335, -0.335, 0.335)
"""The same of the rim that keeps the object on the table."""
HAND_HEIGHT_M = 0.09
ARM_LINKS = ("arm_upper", "arm_fore", "arm_wrist", "tool_rod")
"""Geoms that clearance is measured from."""
PERSON_PARTS = ("person_hand", "person_forearm", "person_sleeve")
"""Geoms that clearance is measured to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneConfig:
    """What the model of the cell depends on beside the site and the scenario."""

    object_kind: Literal["block", "disc"] = "block"
    """Shape of the thing to push."""
    object_mass_kg: float = 0.25
    """Its mass."""
    timestep_s: float = 0.002
    """Of the physics."""
    joint_stiffness: float = 350.0
    """Position gain of the actuators, Nm/rad."""
    joint_torque_nm: float = 45.0
    """Largest torque of an actuator."""

    def __post_init__(self) -> None:
        settle(self)


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.9g}" for value in values)


def _box(name: str, low: tuple[float, float, float], high: tuple[float, float, float], more: str = "") -> str:
    centre = tuple((a + b) / 2 for a, b in zip(low, high, strict=True))
    half = tuple((b - a) / 2 for a, b in zip(low, high, strict=True))
    return f'<geom name="{name}" type="box" pos="{_numbers(centre)}" size="{_numbers(half)}" {more}/>'


def _room() -> str:
    x0, x1, y0, y1 = TABLE
    look = f'group="{STATIC}" contype="0" conaffinity="0"'
    legs = [
        _box(f"wall_leg{i}", (x, y, -0.75), (x + 0.05, y + 0.05, -0.035), look)
        for i, (x, y) in enumerate(((x0, y0), (x0, y1 - 0.05), (x1 - 0.05, y0), (x1 - 0.05, y1 - 0.05)))
    ]
    return "\n".join(
        [
            f'<geom name="floor" type="plane" pos="0 0 -0.75" size="0 0 1" {look}/>',
            _box("floor_backdrop", (-1.75, -3.0, -0.75), (-1.70, 3.0, 2.0), look),
            _box("table", (x0, y0, -0.035), (x1, y1, 0.0), look),
            f'<geom name="ground" type="plane" size="1 1 1" group="{HIDDEN}" contype="1" conaffinity="2"/>',
            *legs,
        ]
    )


def _walls(goal: tuple[float, float], mouth: tuple[float, float]) -> str:
    more = f'group="{STATIC}" contype="32" conaffinity="6" friction="0.3"'
    x0, x1, y0, y1 = RIM
    thick, rim_high = 0.008, 0.016
    parts = [
        _box("wall_rim0", (x0 - thick, y0, 0), (x0, y1, rim_high), more),
        _box("wall_rim1", (x1, y0, 0), (x1 + thick, y1, rim_high), more),
        _box("wall_rim2", (x0 - thick, y0 - thick, 0), (x1 + thick, y0, rim_high), more),
        _box("wall_rim3", (x0 - thick, y1, 0), (x1 + thick, y1 + thick, rim_high), more),
    ]
    angle = math.degrees(math.atan2(mouth[1], mouth[0]))
    half, high, wall = BAY_HALF_M, 0.03, 0.006
    wide = half + 2 * wall
    bay = [
        f'<geom name="wall_bay0" type="box" pos="{-half - wall} 0 {high / 2}" size="{wall} {wide} {high / 2}"',
        f'<geom name="wall_bay1" type="box" pos="0 {half + wall} {high / 2}" size="{half} {wall} {high / 2}"',
        f'<geom name="wall_bay2" type="box" pos="0 {-half - wall} {high / 2}" size="{half} {wall} {high / 2}"',
    ]
    body = f'<body name="bay" pos="{goal[0]} {goal[1]} 0" euler="0 0 {angle}">'
    return "\n".join([*parts, body, *(f"{part} {more}/>" for part in bay), "</body>"])


def _arm() -> str:
    link = f'group="{MOVING}" contype="8" conaffinity="16"'
    still = f'group="{STATIC}" contype="0" conaffinity="0"'
    pitch = 'type="hinge" axis="0 -1 0" armature="0.05" damping="1"'
    tip = arm.TOOL_M - TOOL_RADIUS_M
    return f"""
    <geom name="arm_foot" type="cylinder" pos="{arm.BASE[0]} {arm.BASE[1]} 0.012" size="0.085 0.012" {still}/>
    <geom name="arm_column" type="cylinder" pos="{arm.BASE[0]} {arm.BASE[1]} 0.09" size="0.055 0.08" {still}/>
    <body name="shoulder" pos="{arm.BASE[0]} {arm.BASE[1]} {arm.SHOULDER_M}" gravcomp="1">
      <joint name="yaw" type="hinge" axis="0 0 1" armature="0.05" damping="1"/>
      <geom name="arm_shoulder" type="sphere" size="0.064" mass="1.5" {link}/>
      <body name="upper" gravcomp="1"><joint name="pitch" {pitch}/>
        <geom name="arm_upper" type="capsule" fromto="0 0 0 {arm.UPPER_M} 0 0" size="0.038" mass="1.2" {link}/>
        <body name="fore" pos="{arm.UPPER_M} 0 0" gravcomp="1"><joint name="elbow" {pitch}/>
          <geom name="arm_elbow" type="sphere" size="0.046" mass="0.3" {link}/>
          <geom name="arm_fore" type="capsule" fromto="0 0 0 {arm.FORE_M} 0 0" size="0.030" mass="0.8" {link}/>
          <body name="wrist" pos="{arm.FORE_M} 0 0" gravcomp="1"><joint name="wrist" {pitch}/>
            <geom name="arm_wrist" type="capsule" fromto="-0.02 0 0 0.045 0 0" size="0.027" mass="0.3" {link}/>
            <geom name="tool_rod" type="capsule" fromto="0.045 0 0 {tip} 0 0" size="{TOOL_RADIUS_M}" mass="0.1"
              group="{MOVING}" contype="4" conaffinity="18" friction="0.35"/>
            <site name="tip" pos="{arm.TOOL_M} 0 0"/>
          </body></body></body></body>"""


def _object(config: SceneConfig, pose: tuple[float, float, float]) -> str:
    half = f"{BLOCK_M} {BLOCK_M} {OBJECT_HALF_HEIGHT_M}" if config.object_kind == "block" else ""
    shape = f'type="box" size="{half}"' if half else f'type="cylinder" size="{BLOCK_M} {OBJECT_HALF_HEIGHT_M}"'
    return f"""
    <body name="object" pos="{pose[0]} {pose[1]} {OBJECT_HALF_HEIGHT_M}" euler="0 0 {math.degrees(pose[2])}">
      <freejoint name="object"/>
      <geom name="object" {shape} mass="{config.object_mass_kg}" group="{MOVING}"
        contype="2" conaffinity="54" friction="0.3"/>
    </body>"""


def _clutter(places: tuple[tuple[float, float], ...]) -> str:
    shapes = (
        'type="cylinder" size="0.022 0.028"', 'type="box" size="0.03 0.015 0.015"', 'type="sphere" size="0.02"',
        'type="cylinder" size="0.03 0.01"', 'type="box" size="0.018 0.018 0.026"',
    )  # fmt: skip
    heights = (0.028, 0.015, 0.02, 0.01, 0.026)
    return "\n".join(
        f"""<body name="clutter_{i}" pos="{x} {y} {heights[i]}"><freejoint name="clutter_{i}"/>
        <geom name="clutter_{i}" {shapes[i]} mass="0.08" group="{MOVING}" contype="2" conaffinity="55" friction="0.5"
          condim="4"/></body>"""
        for i, (x, y) in enumerate(places)
    )


def _person() -> str:
    more = f'group="{MOVING}" contype="16" conaffinity="14"'
    return f"""
    <body name="person" mocap="true" pos="{PARKED[0]} {PARKED[1]} {HAND_HEIGHT_M}">
      <geom name="person_hand" type="ellipsoid" size="0.058 0.042 0.022" {more}/>
      <geom name="person_forearm" type="capsule" fromto="0.05 0 0 0.15 0 0" size="0.030" {more}/>
      <geom name="person_sleeve" type="capsule" fromto="0.16 0 0 0.42 0 0.03" size="0.046" {more}/>
    </body>"""


def _occluder(pose: CameraPose) -> str:
    """A cloth hanging close before the left part of a camera's view."""
    forward = [b - a for a, b in zip(pose.position, pose.target, strict=True)]
    length = math.hypot(*forward)
    forward = [value / length for value in forward]
    right = [forward[1], -forward[0], 0.0]
    norm = math.hypot(*right) or 1.0
    right = [value / norm for value in right] if math.hypot(*right) > 1e-6 else [0.0, -1.0, 0.0]
    centre = tuple(p + 0.14 * f - 0.050 * r for p, f, r in zip(pose.position, forward, right, strict=True))
    return (
        f'<geom name="occluder" type="ellipsoid" pos="{_numbers(centre)}" size="0.045 0.045 0.12" '
        f'group="{STATIC}" contype="0" conaffinity="0"/>'
    )


def build(site: Site, scenario: Scenario, config: SceneConfig) -> str:
    """The MJCF of a site under a scenario.

    Raises:
        NotFound: the occluded camera does not exist.
    """
    hidden = scenario.attributes.occluded_camera
    if hidden and hidden not in site.cameras:
        raise NotFound("no such camera to occlude", got=hidden, hint=f"one of {', '.join(site.cameras)}")
    joints = ("yaw", "pitch", "elbow", "wrist")
    limit = config.joint_torque_nm
    actuators = "\n".join(
        f'<position name="{joint}" joint="{joint}" kp="{config.joint_stiffness}" dampratio="1" '
        f'forcerange="{-limit} {limit}"/>'
        for joint in joints
    )
    return f"""<mujoco model="cell">
  <compiler angle="degree" autolimits="true"/>
  <option timestep="{config.timestep_s}" integrator="implicitfast" cone="pyramidal" iterations="30"/>
  <visual><headlight ambient="0.4 0.4 0.4"/></visual>
  <worldbody>
    {_room()}
    {_walls(site.goal, site.mouth)}
    {_arm()}
    {_object(config, scenario.object_pose)}
    {_clutter(scenario.clutter)}
    {_person()}
    {_occluder(site.cameras[hidden]) if hidden else ""}
  </worldbody>
  <contact>
    <pair name="slide" geom1="ground" geom2="object" condim="4"
      friction="{site.friction} {site.friction} 0.004 0.0001 0.0001"/>
  </contact>
  <actuator>{actuators}</actuator>
  <sensor><contact name="tool_force" geom1="tool_rod" reduce="netforce" data="force"/></sensor>
</mujoco>"""
