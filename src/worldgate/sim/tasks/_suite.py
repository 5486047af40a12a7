"""What the tasks after the DeepMind control suite share: physics, rewards and the order of a control period.

Source: Tassa et al. 2018, *DeepMind Control Suite*, arXiv 1801.00690; masses, lengths, gears and time steps are those
of its version 1.0.50 and rewards follow its formulas, so published returns apply; that package itself does not start
under MuJoCo 4. ``tests/sim/test_suite_tasks.py`` holds both equal on runs that it gave under MuJoCo 3.17.

As in TD-MPC2 (Hansen et al. 2024, arXiv 2310.16828) an action is held for two of the suite's control periods and the
rewards of the two are added: a run of 500 steps has a return of at most 1,000.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np

from worldgate.core.streams import ByteArray, FloatArray
from worldgate.sim.camera import CameraConfig, Lighting, RayCamera
from worldgate.sim.looks import Look, Texture
from worldgate.sim.rays import Pinhole
from worldgate.sim.sites import Light, Vec3
from worldgate.sim.tasks._physics import PhysicsTask

REPEAT = 2
"""Control periods of the suite that an action is held for."""
STEPS = 500
"""Control periods of a run: the suite's thousand, two at a time."""
CAMERA = "observation.images.camera"


def close_to(value: float, low: float, high: float, margin: float, at_margin: float = 0.1) -> float:
    """1 within bounds, falling beyond them like a bell that reaches ``at_margin`` one margin away."""
    beyond = max(low - value, value - high, 0.0) / margin
    return math.exp(math.log(at_margin) * beyond * beyond)


class SuiteTask(PhysicsTask):
    """A task after the suite; :meth:`_reward` is the suite's for one of its control periods."""

    substeps: int = 1
    """Physics steps of one control period of the suite."""

    def _act(self, action: FloatArray) -> float:
        self.data.ctrl[:] = action
        total = 0.0
        for _ in range(REPEAT):
            advance(self.model, self.data, self.substeps)
            total += self._reward()
            if self._arrived():
                break
        return total

    def _reward(self) -> float:
        raise NotImplementedError

    def _arrived(self) -> bool:
        """Whether a goal is reached between two of the suite's periods."""
        return False


def advance(model: Any, data: Any, steps: int) -> None:
    """Physics steps after which everything that follows from positions and velocities is current."""
    if model.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4:
        mujoco.mj_step(model, data, steps)
    else:
        mujoco.mj_step2(model, data)
        if steps > 1:
            mujoco.mj_step(model, data, steps - 1)
    mujoco.mj_step1(model, data)


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
