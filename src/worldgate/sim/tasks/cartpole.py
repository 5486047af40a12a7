"""A cart on a rail that swings a pole up and balances it, or only balances it; the control suite's own reward.

An action is the force on the cart in units of 10 N, 50 a second. The reward of one of the suite's control periods is
the product of four parts in 0..1: the pole upright, the cart in the middle, a small force, a slow pole. ``success`` is
the suite's sparse measure at the end of the period: the pole within 5.7 degrees of upright (its cosine above 0.995)
and the cart within 0.25 m of the middle. The task takes no goals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import mujoco
import numpy as np
from scipy.linalg import solve_continuous_are

from worldgate.core.choices import settle
from worldgate.core.digest import digest_json
from worldgate.core.errors import NotFound
from worldgate.core.streams import ByteArray, FloatArray, Kind
from worldgate.core.tasks import Task
from worldgate.core.worlds import Observation, Policy, Signal
from worldgate.sim.tasks._physics import ACTION, STATE, RandomActor
from worldgate.sim.tasks._pictures import camera, checker, level, look_of
from worldgate.sim.tasks._suite import CAMERA, REPEAT, STEPS, SuiteTask, close_to

CARD = {
    "line": "swing a pole up on a cart and balance it (control suite)",
    "inputs": "force on the cart, -1 to 1",
    "needs": "sim",
    "source": "Tassa et al. 2018, arXiv 1801.00690",
}
ACTORS = ("scripted", "random")

GEAR_N = 10.0
CART_KG, POLE_KG = 1.0, 0.1
_POLE_M, _POLE_RADIUS_M = 1.0, 0.045


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Which task, and how large its pictures are."""

    size: int = 64
    """Pixels a side of the picture; 0 takes none."""
    task: Literal["swingup", "balance"] = "swingup"
    """``swingup`` starts with the pole hanging, ``balance`` with it upright."""

    def __post_init__(self) -> None:
        settle(self)


def _model() -> Any:
    still = 'rgba="0.35 0.55 0.75 1" group="0"'
    return mujoco.MjModel.from_xml_string(f"""<mujoco model="cartpole">
  <option timestep="0.01" integrator="RK4"><flag contact="disable"/></option>
  <worldbody>
    <geom name="floor" type="plane" pos="0 0 -0.05" size="4 4 0.2" group="0"/>
    <geom name="rail1" type="capsule" pos="0 0.07 1" zaxis="1 0 0" size="0.02 2" {still}/>
    <geom name="rail2" type="capsule" pos="0 -0.07 1" zaxis="1 0 0" size="0.02 2" {still}/>
    <body name="cart" pos="0 0 1">
      <joint name="slider" type="slide" limited="true" axis="1 0 0" range="-1.8 1.8" solreflimit="0.08 1"
        damping="5e-4"/>
      <geom name="cart" type="box" size="0.2 0.15 0.1" mass="{CART_KG}" rgba="0.85 0.55 0.2 1" group="1"/>
      <body name="pole">
        <joint name="hinge" type="hinge" axis="0 1 0" damping="2e-6"/>
        <geom name="pole" type="capsule" fromto="0 0 0 0 0 {_POLE_M}" size="{_POLE_RADIUS_M}" mass="{POLE_KG}"
          rgba="0.95 0.85 0.55 1" group="1"/>
      </body>
    </body>
  </worldbody>
  <actuator><motor name="slide" joint="slider" gear="{GEAR_N}" ctrllimited="true" ctrlrange="-1 1"/></actuator>
</mujoco>""")


class Cartpole(SuiteTask):
    """The cart and its pole; the pole's angle is 0 upright, positive towards +x."""

    def __init__(self, config: Config) -> None:
        self.config = config
        names = ("cart.pos", "pole.cos", "pole.sin", "cart.vel", "pole.vel")
        super().__init__(
            _model(),
            name="cartpole",
            rate_hz=100.0 / REPEAT,
            steps=STEPS,
            states=(Signal(name=STATE, names=names, shape=(5,), unit="m,1,1,m/s,rad/s"),),
            action=Signal(name=ACTION, names=("force",), shape=(1,), unit="1", kind=Kind.ACTION),
            low=(-1.0,),
            high=(1.0,),
            takes_goals=False,
            cameras=(CAMERA,),
            size=config.size,
        )
        self._settle()
        if config.size:
            pinhole = level((0.0, -5.0, 1.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), 45.0, config.size)
            floor = checker((0.05, 0.07, 0.10), (0.10, 0.13, 0.18), 1.0)
            self._take = camera(self.model, self.data, pinhole, look_of(self.model, {"floor": floor}))

    def _draw(self, draw: np.random.Generator) -> None:
        if self.config.task == "swingup":
            self.data.qpos[:] = 0.01 * draw.standard_normal(), math.pi + 0.01 * draw.standard_normal()
        else:
            self.data.qpos[:] = draw.uniform(-0.1, 0.1), draw.uniform(-0.034, 0.034)
        self.data.qvel[:] = 0.01 * draw.standard_normal(2)

    def _reward(self) -> float:
        (x, angle), force = self.data.qpos.tolist(), float(self.data.ctrl[0])
        upright = (math.cos(angle) + 1.0) / 2.0
        centred = (1.0 + close_to(x, 0.0, 0.0, 2.0)) / 2.0
        gentle = (4.0 + max(0.0, 1.0 - force * force)) / 5.0
        slow = (1.0 + close_to(float(self.data.qvel[1]), 0.0, 0.0, 5.0)) / 2.0
        return upright * gentle * slow * centred

    def _facts(self) -> Mapping[str, float]:
        x, angle = self.data.qpos.tolist()
        return {"success": float(math.cos(angle) >= 0.995 and abs(x) <= 0.25)}

    def _numbers(self) -> dict[str, FloatArray]:
        x, angle = self.data.qpos.tolist()
        return {STATE: np.array([x, math.cos(angle), math.sin(angle), *self.data.qvel])}

    def _pictures(self) -> dict[str, ByteArray]:
        return {CAMERA: self._take()}


class Scripted(Policy):
    """Pumps energy into the pole until it can stand, then balances it.

    Swing-up after Åström and Furuta 2000, *Swinging up a pendulum by energy control*, with a spring that keeps the cart
    on the rail; near upright a linear-quadratic regulator on the equations of motion without friction.
    """

    def __init__(self) -> None:
        self._gain = _regulator()
        self._digest = digest_json({"actor": "scripted", "task": "cartpole", "gain": self._gain.tolist()})

    @property
    def digest(self) -> str:
        """Digest of the gains."""
        return self._digest

    def reset(self, *, seed: int) -> None:
        """It draws nothing."""

    def act(self, observation: Observation) -> FloatArray:
        x, cosine, sine, speed, turn = np.asarray(observation[STATE], np.float64).tolist()
        angle = math.atan2(sine, cosine)
        if abs(angle) < 0.45 and abs(turn) < 3.0:
            force = -float(self._gain @ (x, speed, angle, turn)) / GEAR_N
        else:
            lacking = _LEVER * 9.81 * (1.0 - cosine) - 0.5 * _INERTIA / POLE_KG * turn * turn
            push = _PUMP * lacking * math.copysign(1.0, -turn * cosine) if turn else 1.0
            force = push - _CENTRE * x - _BRAKE * speed
        return np.array([min(max(force, -1.0), 1.0)])


_LEVER = _POLE_M / 2.0
"""From the hinge to the middle of the pole, m."""


def _inertia() -> float:
    """Of the pole, a capsule of even density, about the hinge, kg m2."""
    model = _model()
    return float(model.body("pole").inertia[1] + POLE_KG * _LEVER**2)


_INERTIA = _inertia()
_PUMP, _CENTRE, _BRAKE = 0.12, 0.25, 0.05


def _regulator() -> FloatArray:
    """(4,) newtons per cart position, cart speed, angle and its rate: infinite-horizon optimal about upright."""
    moment = POLE_KG * _LEVER
    mass = np.array([[CART_KG + POLE_KG, moment], [moment, _INERTIA]])
    pull = np.linalg.solve(mass, np.array([[0.0], [moment * 9.81]]))
    push = np.linalg.solve(mass, np.array([[1.0], [0.0]]))
    drift = np.zeros((4, 4))
    drift[0, 1] = drift[2, 3] = 1.0
    drift[1, 2], drift[3, 2] = pull[:, 0]
    gain = np.zeros((4, 1))
    gain[1], gain[3] = push
    value = solve_continuous_are(drift, gain, np.diag([2.0, 0.5, 4.0, 0.5]), np.array([[0.2]]))
    return np.asarray((gain.T @ value / 0.2)[0])


def create(config: Config) -> Task:
    """The task."""
    return Cartpole(config)


def actor(name: str, task: Task, config: Config) -> Policy:
    """Who acts."""
    del config
    if name == "random":
        return RandomActor(task.spec)
    if name == "scripted":
        return Scripted()
    raise NotFound("nobody of this name acts here", got=name, hint=", ".join(ACTORS))
