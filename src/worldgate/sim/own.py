"""A user's own MJCF or URDF in place of the cell: driven by a smooth excitation and recorded as any log.

Cameras of the model take the pictures, fixed or moving; a model without one gets a view of the whole. A URDF has no
actuators, so each of its hinges and slides gets a position servo; an MJCF without actuators is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import mujoco
import numpy as np

from worldgate.core.choices import settle
from worldgate.core.errors import DataRefused, NotFound, UsageError
from worldgate.core.streams import Array, FloatArray, Kind, StreamInfo
from worldgate.sim.camera import CameraConfig, Lighting, RayCamera
from worldgate.sim.clocks import ClockConfig
from worldgate.sim.looks import Look, plain_look
from worldgate.sim.rays import Pinhole
from worldgate.sim.recorder import START_NS, Recorder, Sensor
from worldgate.sim.scenario import random_stream
from worldgate.sim.sites import CameraPose, Light

_HINGE, _SLIDE = mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnConfig:
    """How a user's model is driven and recorded."""

    excitation: Literal["sine", "walk"] = "sine"
    """``sine``: a sum of three sines an actuator; ``walk``: a smooth random walk."""
    amplitude: float = 0.5
    """Share of each actuator's range that is used."""
    control_hz: float = 50.0
    """Rate of the commands."""
    joint_hz: float = 100.0
    """Rate of the joint states."""
    camera_hz: float = 15.0
    """Rate of the cameras."""
    camera: CameraConfig = field(default_factory=CameraConfig)
    """Size and noise of the pictures."""

    def __post_init__(self) -> None:
        settle(self)


def load(path: Path) -> Any:
    """Compile a user's model.

    Returns:
        ``mujoco.MjModel`` with at least one actuator.

    Raises:
        NotFound: no such file.
        DataRefused: not MJCF or URDF, or a model that does not compile, with the compiler's reason.
        UsageError: an MJCF without actuators, or a URDF without joints.
    """
    if not path.is_file():
        raise NotFound(
            "no such model file", got=path.name, where=path.parent, hint="an MJCF (.xml) or URDF (.urdf) file"
        )
    try:
        root = ElementTree.parse(path).getroot().tag
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise DataRefused("not a well-formed XML file", got=error, where=path) from error
    if root not in {"mujoco", "robot"}:
        raise DataRefused("neither MJCF nor URDF", got=f"<{root}>", where=path, hint="the root is <mujoco> or <robot>")
    try:
        spec = mujoco.MjSpec.from_file(str(path))
        if root == "robot":
            _add_servos(spec)
        model = spec.compile()
    except ValueError as error:
        raise DataRefused("the model does not compile", got=str(error).splitlines()[0], where=path) from error
    if model.nu == 0:
        what = "this URDF has no hinge or slide to drive" if root == "robot" else "this model has no actuators"
        raise UsageError(what, where=path, hint="add an <actuator> section, for example <position joint=... kp=.../>")
    return model


def _add_servos(spec: Any) -> None:
    """Give each hinge and slide of a URDF a position servo."""
    for joint in spec.joints:
        if joint.type in (_HINGE, _SLIDE):
            servo = spec.add_actuator(name=joint.name, target=joint.name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
            servo.set_to_position(kp=40.0, kv=4.0)


class OwnPlant:
    """A user's model in motion.

    Args:
        model: ``mujoco.MjModel``.
        config: how it is driven.
        seed: of the excitation.
    """

    def __init__(self, model: Any, config: OwnConfig, *, seed: int) -> None:
        self.model, self.data = model, mujoco.MjData(model)
        self.step_index = 0
        if model.nkey:
            mujoco.mj_resetDataKeyframe(model, self.data, 0)
        mujoco.mj_forward(model, self.data)
        self.steps_per_control = max(1, round(1.0 / (config.control_hz * model.opt.timestep)))
        self._config = config
        self._low, self._high = _ranges(model)
        draw = random_stream(seed, "excitation")
        self._rates = draw.uniform(0.1, 0.7, (model.nu, 3)) * 2 * math.pi
        self._phases = draw.uniform(0.0, 2 * math.pi, (model.nu, 3))
        self._draw, self._walk, self._pull = draw, np.zeros(model.nu), np.zeros(model.nu)

    @property
    def timestep_s(self) -> float:
        """Of the model's physics."""
        return float(self.model.opt.timestep)

    @property
    def time_s(self) -> float:
        """Since the start of the run."""
        return self.step_index * self.timestep_s

    def drive(self) -> FloatArray:
        """Set the next command (actuators,): it begins at the middle of each range and stays inside."""
        if self._config.excitation == "sine":
            ease = min(1.0, self.time_s / 0.5)
            wave = ease * np.sin(self._rates * self.time_s + self._phases).mean(1)
        else:
            self._pull = 0.9 * self._pull + 0.1 * self._draw.normal(0.0, 0.6, self.model.nu)
            self._walk = np.clip(0.985 * self._walk + 0.1 * self._pull, -1.0, 1.0)
            wave = self._walk
        middle, half = (self._low + self._high) / 2, (self._high - self._low) / 2
        self.data.ctrl[:] = middle + self._config.amplitude * half * wave
        return np.array(self.data.ctrl)

    def run_to(self, step: int) -> None:
        """Advance the physics.

        Raises:
            DataRefused: the model became unstable.
        """
        if step > self.step_index:
            mujoco.mj_step(self.model, self.data, step - self.step_index)
            self.step_index = step
        bad = (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC)
        if any(self.data.warning[int(kind)].number for kind in bad):
            raise DataRefused(
                "the model became unstable", got=f"NaN or huge values at {self.time_s:.3f} s",
                hint="a smaller timestep, lower gains or a smaller amplitude",
            )  # fmt: skip

    def settle(self) -> None:
        """Bring all poses up to the last physics step."""
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)


def _ranges(model: Any) -> tuple[FloatArray, FloatArray]:
    """Low and high command of each actuator: its own range, a position servo's joint's range, else +-0.5."""
    low, high = np.full(model.nu, -0.5), np.full(model.nu, 0.5)
    for i in range(model.nu):
        joint = int(model.actuator_trnid[i, 0])
        is_joint = model.actuator_trntype[i] == mujoco.mjtTrn.mjTRN_JOINT
        is_servo = model.actuator_biastype[i] == mujoco.mjtBias.mjBIAS_AFFINE
        if model.actuator_ctrllimited[i]:
            low[i], high[i] = model.actuator_ctrlrange[i]
        elif is_joint and is_servo and model.jnt_limited[joint]:
            low[i], high[i] = model.jnt_range[joint]
    return low, high


class _OwnCamera:
    """A camera of a user's model, or the default view of the whole model."""

    def __init__(self, plant: OwnPlant, index: int, config: CameraConfig, look: Look, *, seed: int) -> None:
        self._plant, self._index, self._config, self._look, self._seed = plant, index, config, look, seed
        self.name = _name(plant.model.cam(index).name, f"camera{index}") if index >= 0 else "overview"
        self._moves = index >= 0 and plant.model.body_weldid[plant.model.cam_bodyid[index]] != 0
        self._camera = self._build()

    def _build(self) -> RayCamera:
        model, data = self._plant.model, self._plant.data
        centre, extent = np.array(model.stat.center), float(model.stat.extent)
        self._plant.settle()
        height, width = self._config.height, self._config.width
        if self._index < 0:
            eye = centre + extent * np.array([1.5, -1.2, 1.1])
            pose = CameraPose(position=_vec(eye), target=_vec(centre), fov_deg=45.0)
            pinhole = Pinhole.at(pose, height, width)
        else:
            turn = data.cam_xmat[self._index].reshape(3, 3)
            axes = np.stack([turn[:, 0], -turn[:, 1], -turn[:, 2]])  # MuJoCo's cameras look along -z with y up
            pinhole = Pinhole(data.cam_xpos[self._index], axes, float(model.cam_fovy[self._index]), height, width)
        lamp = Light(
            position=_vec(centre + extent * np.array([0.8, -1.6, 3.0])),
            colour=(0.95, 0.95, 0.92),
            sky=(0.40, 0.42, 0.46),
            ground=(0.16, 0.15, 0.14),
        )
        return RayCamera(self._config, pinhole, model, data, self._look, Lighting(lamp=lamp))

    def read(self, number: int) -> tuple[Array]:
        """The picture of this instant; a moving camera lights its view afresh."""
        if self._moves:
            self._camera = self._build()
        return (self._camera.look(random_stream(self._seed, f"{self.name}:{number}"), geometry=False).colour,)


def _vec(values: FloatArray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _name(given: str, otherwise: str) -> str:
    """A stream-safe name."""
    return "".join(c if c.isalnum() or c in "_-" else "_" for c in given) or otherwise


def sort_geoms(model: Any) -> None:
    """Put a model's geoms into the ray groups: 0 what stands still, 1 what moves, 5 what MuJoCo's viewer hides."""
    fixed = (model.body_weldid[model.geom_bodyid] == 0) & (model.body_mocapid[model.geom_bodyid] < 0)
    hidden = (model.geom_group > 2) | (model.geom_rgba[:, 3] == 0)
    model.geom_group[:] = np.where(hidden, 5, np.where(fixed, 0, 1))


def _sensors(plant: OwnPlant, config: OwnConfig, *, seed: int) -> list[Sensor]:
    model = plant.model
    info = StreamInfo(
        name="observation.state", kind=Kind.VECTOR, count=-1, shape=(model.nq + model.nv,), names=_state_names(model),
        frame="world", rate_hz=config.joint_hz, clock="header",
    )  # fmt: skip
    found = [
        Sensor(
            name=info.name,
            clock=ClockConfig(rate_hz=config.joint_hz, jitter_s=0.0005, transport_s=0.0012),
            infos=(info,),
            read=lambda _: (np.concatenate([plant.data.qpos, plant.data.qvel]),),
        )
    ]
    look = plain_look(model)
    for index in range(model.ncam) if model.ncam else (-1,):
        camera = _OwnCamera(plant, index, config.camera, look, seed=seed)
        stream = StreamInfo(
            name=f"observation.images.{camera.name}", kind=Kind.IMAGE, count=-1, frame=camera.name,
            shape=(config.camera.height, config.camera.width, 3), rate_hz=config.camera_hz, clock="header",
        )  # fmt: skip
        clock = ClockConfig(rate_hz=config.camera_hz, jitter_s=0.0015, transport_s=0.025)
        found.append(Sensor(name=stream.name, clock=clock, infos=(stream,), read=camera.read))
    return found


def _state_names(model: Any) -> tuple[str, ...]:
    """Names of qpos then qvel; a joint of several numbers has them counted."""
    widths = {mujoco.mjtJoint.mjJNT_FREE: (7, 6), mujoco.mjtJoint.mjJNT_BALL: (4, 3)}
    joints = [
        (_name(model.joint(i).name, f"joint{i}"), widths.get(model.jnt_type[i], (1, 1))) for i in range(model.njnt)
    ]
    return tuple(
        f"{name}.{part}" if width[side] == 1 else f"{name}.{part}{k}"
        for side, part in enumerate(("pos", "vel"))
        for name, width in joints
        for k in range(width[side])
    )


def record_own(
    path: Path,
    *,
    model: Path,
    seed: int = 0,
    duration_s: float = 6.0,
    start_ns: int = START_NS,
    config: OwnConfig | None = None,
) -> Path:
    """Drive a user's model for a while and write its log, marked ``simulated``.

    Args:
        path: the MCAP file to make.
        model: the MJCF or URDF file.
        seed: of excitation, clocks and noise: the same seed writes the same bytes.
        duration_s: length of the run.
        start_ns: time of its start, ns UTC.
        config: how it is driven and recorded.

    Raises:
        NotFound: no such file.
        DataRefused: a model that does not compile or becomes unstable.
        UsageError: nothing to drive.
        AlreadyExists: ``path`` exists.
    """
    config = config or OwnConfig()
    compiled = load(model)
    sort_geoms(compiled)
    plant = OwnPlant(compiled, config, seed=seed)
    recorder = Recorder(plant, _sensors(plant, config, seed=seed), seed=seed, duration_s=duration_s)
    names = tuple(_name(compiled.actuator(i).name, f"actuator{i}") for i in range(compiled.nu))
    action = StreamInfo(
        name="action", kind=Kind.ACTION, count=-1, shape=(compiled.nu,), names=names, clock="header",
        rate_hz=round(1.0 / (plant.steps_per_control * plant.timestep_s), 6),
    )  # fmt: skip
    end = round(duration_s / plant.timestep_s)
    while plant.step_index < end:
        recorder.add("action", plant.drive(), delay_ns=400_000)
        recorder.run_to(min(end, plant.step_index + plant.steps_per_control))
    facts: dict[str, str | float | bool] = {
        "task": f"{config.excitation} excitation",
        "model": model.name,
        "seed": seed,
    }
    return recorder.write(path, extra=(action,), facts=facts, start_ns=start_ns)
