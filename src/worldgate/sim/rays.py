"""Rays: what a pinhole camera and a lidar are made of. One ``mujoco.mj_multiRay`` call gives distance, geom and normal.

No OpenGL and no display, so a run repeats to the byte. Camera axes follow OpenCV: x right, y down, z along the view.

Shape legend: N rays, H x W pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from worldgate.core.streams import Array, FloatArray
from worldgate.sim.sites import CameraPose, Vec3

FAR_M = 12.0
"""Rays end here."""
STATIC_GROUP = np.array([1, 0, 0, 0, 0, 0], np.uint8)
MOVING_GROUP = np.array([0, 1, 0, 0, 0, 0], np.uint8)
VISIBLE_GROUPS = np.array([1, 1, 0, 0, 0, 0], np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """Where N rays ended."""

    distance: FloatArray
    """(N,) m along the ray; infinite where nothing was hit."""
    geom: Array
    """(N,) int32 id of the geom; -1 where nothing was hit."""
    normal: FloatArray
    """(N, 3) outward unit normal; zero where nothing was hit."""


def cast(
    model: Any, data: Any, origin: FloatArray, directions: FloatArray, groups: Array, reach: float = FAR_M
) -> Hits:
    """Cast N unit rays from one point against the visible geoms of some groups.

    Args:
        model: ``mujoco.MjModel``.
        data: ``mujoco.MjData`` whose geom poses are current.
        origin: (3,) m.
        directions: (N, 3) unit vectors.
        groups: (6,) uint8, which geom groups take part.
        reach: m, where rays end.
    """
    count = len(directions)
    geom = np.empty(count, np.int32)
    distance = np.empty(count)
    normal = np.empty((count, 3))
    if count:
        flat = np.ascontiguousarray(directions).reshape(-1)
        mujoco.mj_multiRay(
            model, data, origin, flat, groups, True, -1, geom, distance, normal.reshape(-1), count, reach
        )
    missed = geom < 0
    distance[missed] = np.inf
    normal[missed] = 0.0
    return Hits(distance=distance, geom=geom, normal=normal)


def distances(
    model: Any, data: Any, origin: FloatArray, directions: FloatArray, groups: Array, reach: float = FAR_M
) -> FloatArray:
    """(N,) like :func:`cast`, the distances alone: what shadows and lidar need."""
    count = len(directions)
    geom = np.empty(count, np.int32)
    distance = np.empty(count)
    if count:
        flat = np.ascontiguousarray(directions).reshape(-1)
        mujoco.mj_multiRay(model, data, origin, flat, groups, True, -1, geom, distance, None, count, reach)
    distance[distance < 0] = np.inf
    return distance


class Pinhole:
    """The rays of a pinhole camera.

    Args:
        origin: (3,) optical centre, m.
        axes: (3, 3) rows: the camera's x (right), y (down) and z (forward) in the world frame.
        fov_deg: full vertical field of view.
        height: H.
        width: W.
    """

    def __init__(self, origin: FloatArray, axes: FloatArray, fov_deg: float, height: int, width: int) -> None:
        self.origin = np.array(origin, np.float64)
        self.axes = np.array(axes, np.float64)
        self.height, self.width = height, width
        self.focal = height / 2 / math.tan(math.radians(fov_deg) / 2)
        """In pixels."""

    @classmethod
    def at(cls, pose: CameraPose, height: int, width: int) -> Pinhole:
        """A camera that looks at a point, upright."""
        forward = np.array(pose.target, np.float64) - np.array(pose.position, np.float64)
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        if np.linalg.norm(right) < 0.1:  # nearly straight down: keep the robot at the upper edge of the picture
            right = np.array([0.0, 1.0, 0.0]) - forward[1] * forward
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(forward, right), forward])
        return cls(np.array(pose.position), axes, pose.fov_deg, height, width)

    def directions(self, shift: tuple[float, float] = (0.0, 0.0)) -> FloatArray:
        """(N, 3) unit rays through the pixels' middles, or through points shifted by a part of a pixel."""
        rows, columns = np.mgrid[: self.height, : self.width].astype(np.float64)
        x = (columns + 0.5 + shift[0] - self.width / 2) / self.focal
        y = (rows + 0.5 + shift[1] - self.height / 2) / self.focal
        rays = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3)
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        return np.asarray(rays @ self.axes)

    def cosines(self) -> FloatArray:
        """(N,) of the angle between each ray and the optical axis: turns a distance into depth."""
        return np.asarray(self.directions() @ self.axes[2])


class Lidar:
    """A planar scanner.

    Args:
        position: of the scanner; the scan plane is horizontal.
        beams: how many, evenly over ``span_rad`` around the direction to the table's middle.
        span_rad: field of view.
        reach_m: largest distance; a beam without a return reads this.
    """

    def __init__(
        self, position: Vec3, *, beams: int = 90, span_rad: float = math.radians(150), reach_m: float = 1.5
    ) -> None:
        self.origin = np.array(position, np.float64)
        self.reach_m = reach_m
        middle = math.atan2(-position[1], -position[0])
        self.angles = np.linspace(middle - span_rad / 2, middle + span_rad / 2, beams)
        self._rays = np.stack([np.cos(self.angles), np.sin(self.angles), np.zeros(beams)], -1)

    def scan(self, model: Any, data: Any) -> FloatArray:
        """(beams,) distances in m."""
        return np.minimum(distances(model, data, self.origin, self._rays, VISIBLE_GROUPS, self.reach_m), self.reach_m)
