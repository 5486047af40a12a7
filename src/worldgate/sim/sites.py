"""Sites as data: where things stand, what the cameras see, the light, the friction and the delay of each.

Frame: the table frame, origin in the middle of the table top, x away from the robot, y to its left, z up; metres.
Two arms of a site differ as two real ones do, by a few millimetres and degrees of calibration.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from worldgate.core.errors import NotFound
from worldgate.core.names import Name, Slot

Vec3 = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraPose:
    """A static pinhole camera without distortion."""

    position: Vec3
    """Optical centre, m."""
    target: Vec3
    """Point in the middle of the picture, m."""
    fov_deg: float
    """Full vertical field of view."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Light:
    """A lamp that casts shadows, and the rest of the room."""

    position: Vec3
    """Of the lamp, m."""
    colour: Vec3
    """Linear RGB strength of the lamp."""
    sky: Vec3
    """Linear RGB of the light from above."""
    ground: Vec3
    """Linear RGB of the light from below."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One arm of a site and how its mounting differs from the drawing."""

    robot: str
    """Serial of the robot."""
    name: str
    """Name of the arm on it."""
    joint_bias_rad: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """Constant error of the joint encoders."""
    camera_shift_m: Vec3 = (0.0, 0.0, 0.0)
    """How far its cameras stand from the site's drawing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """One place with its own layout, cameras, light, friction and delay."""

    name: str
    goal: tuple[float, float]
    """Middle of the goal bay, m."""
    mouth: tuple[float, float]
    """Unit vector out of the open side of the bay."""
    spawn: tuple[float, float, float, float]
    """Where an object may start: x from, x to, y from, y to, m."""
    cameras: Mapping[str, CameraPose]
    light: Light
    friction: float
    """Sliding friction between object and table."""
    latency_s: float
    """Delay between the instant that an observation shows and the instant at which a policy gets it."""
    table: str
    """Look of the table top: ``birch``, ``walnut`` or ``mat``."""
    object_colour: Vec3
    """Albedo of the object, linear RGB."""
    lidar: Vec3
    """Position of the scanner; its scan plane is horizontal."""
    arms: tuple[Arm, ...]

    def slots(self) -> tuple[Slot, ...]:
        """Every slot of the site."""
        return tuple(Slot(Name(self.name), Name(arm.robot), Name(arm.name)) for arm in self.arms)

    def arm(self, name: str | None = None) -> Arm:
        """An arm by name; the first one without.

        Raises:
            NotFound: the site has no such arm.
        """
        if name is None:
            return self.arms[0]
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise NotFound(
            f"site {self.name} has no such arm", got=name, hint=f"one of {', '.join(a.name for a in self.arms)}"
        )


NORTH = Site(
    name="north",
    goal=(0.11, 0.235),
    mouth=(0.0, -1.0),
    spawn=(0.03, 0.19, -0.16, 0.02),
    cameras={
        "front": CameraPose(position=(0.80, -0.36, 0.60), target=(0.055, 0.015, 0.015), fov_deg=47.0),
        "top": CameraPose(position=(0.10, 0.0, 1.10), target=(0.08, 0.0, 0.0), fov_deg=40.0),
    },
    light=Light(
        position=(0.55, -1.1, 1.5), colour=(0.95, 0.97, 1.0), sky=(0.36, 0.40, 0.47), ground=(0.12, 0.11, 0.10)
    ),
    friction=0.45,
    latency_s=0.02,
    table="birch",
    object_colour=(0.80, 0.10, 0.06),
    lidar=(0.36, -0.33, 0.03),
    arms=(
        Arm(robot="nr1", name="left"),
        Arm(
            robot="nr1", name="right", joint_bias_rad=(0.002, -0.001, 0.001, 0.0), camera_shift_m=(0.006, -0.004, 0.003)
        ),
    ),
)

SOUTH = Site(
    name="south",
    goal=(0.13, -0.235),
    mouth=(0.0, 1.0),
    spawn=(0.03, 0.19, -0.02, 0.16),
    cameras={
        "front": CameraPose(position=(0.82, 0.34, 0.58), target=(0.055, -0.015, 0.015), fov_deg=47.0),
        "top": CameraPose(position=(0.08, 0.02, 1.12), target=(0.08, 0.0, 0.0), fov_deg=40.0),
    },
    light=Light(
        position=(0.35, 1.0, 1.4), colour=(1.05, 0.90, 0.70), sky=(0.34, 0.31, 0.28), ground=(0.13, 0.11, 0.09)
    ),
    friction=0.32,
    latency_s=0.04,
    table="mat",
    object_colour=(0.92, 0.42, 0.03),
    lidar=(0.36, 0.33, 0.03),
    arms=(
        Arm(robot="sr1", name="left"),
        Arm(
            robot="sr1",
            name="right",
            joint_bias_rad=(-0.001, 0.002, -0.001, 0.0),
            camera_shift_m=(-0.005, 0.005, -0.004),
        ),
    ),
)

SITES: Mapping[str, Site] = {site.name: site for site in (NORTH, SOUTH)}
"""Every site that comes with the cell."""


def find_site(name: str) -> Site:
    """A site by name.

    Raises:
        NotFound: no such site; the hint is the nearest name or the list.
    """
    if name in SITES:
        return SITES[name]
    near = difflib.get_close_matches(name, SITES, n=1)
    raise NotFound("no such site", got=name, hint=f"did you mean {near[0]}?" if near else f"one of {', '.join(SITES)}")


def slots() -> tuple[Slot, ...]:
    """Every slot of every site, in order."""
    return tuple(slot for site in SITES.values() for slot in site.slots())
