"""Pictures of the tasks in MuJoCo: ray cameras without noise, so that one situation is always one picture.

Geoms of group 0 stand still, those of group 1 move; both are told in the model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from worldgate.core.streams import ByteArray, FloatArray
from worldgate.sim.camera import CameraConfig, Lighting, RayCamera
from worldgate.sim.looks import Look, Texture
from worldgate.sim.rays import Pinhole
from worldgate.sim.sites import Light, Vec3

LAMP = Light(position=(-0.5, -2.0, 4.0), colour=(0.75, 0.75, 0.72), sky=(0.5, 0.52, 0.56), ground=(0.2, 0.2, 0.2))


def level(position: Vec3, forward: Vec3, up: Vec3, fov_deg: float, size: int) -> Pinhole:
    """A square camera that looks along ``forward`` with ``up`` at the upper edge."""
    ahead = np.array(forward) / np.linalg.norm(forward)
    right = np.cross(ahead, up)
    right /= np.linalg.norm(right)
    return Pinhole(np.array(position), np.stack([right, np.cross(ahead, right), ahead]), fov_deg, size, size)


def checker(light: Vec3, dark: Vec3, side: float) -> Texture:
    """Squares on a plane."""
    colours = np.array([light, dark])

    def texture(points: FloatArray, normals: FloatArray) -> tuple[FloatArray, FloatArray]:
        del normals
        odd = (np.floor(points[:, 0] / side) + np.floor(points[:, 1] / side)).astype(np.int64) % 2
        return colours[odd], np.full(len(points), 0.05)

    return texture


def look_of(model: Any, textures: dict[str, Texture]) -> Look:
    """The colours written in the model, and textures by geom."""
    return Look(
        albedo=np.array(model.geom_rgba[:, :3], np.float64) ** 2.2,
        gloss=np.full(model.ngeom, 0.2),
        label=np.arange(model.ngeom) + 1,
        textures={model.geom(name).id: texture for name, texture in textures.items()},
    )


def camera(model: Any, data: Any, pinhole: Pinhole, look: Look, lamp: Light = LAMP) -> Callable[[], ByteArray]:
    """What takes a picture, (H, W, 3): without sensor noise, so one situation is always one picture."""
    config = CameraConfig(height=pinhole.height, width=pinhole.width, noise=0.0)
    rays = RayCamera(config, pinhole, model, data, look, Lighting(lamp=lamp))
    nothing = np.random.default_rng(0)
    return lambda: rays.look(nothing, geometry=False).colour
