"""The cell's sensors: what each measures, with its noise, and the streams it fills.

Streams are named as LeRobot names them. Noise is that of ordinary devices: encoders of 20 bit, a tracker good to a few
tenths of a millimetre, a force sensor good to a few hundredths of a newton. Camera faults are in the camera, so the
policy and the log see the same fault.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from worldgate.core.errors import NotFound
from worldgate.core.streams import Array, FloatArray, Kind, StreamInfo
from worldgate.sim.attributes import Attributes
from worldgate.sim.camera import CameraConfig, Lighting, Picture, RayCamera, mirror_lamp
from worldgate.sim.cell import ACTION_NAMES, ENVIRONMENT_NAMES, ENVIRONMENT_UNIT, STATE_NAMES, STATE_UNIT, Cell
from worldgate.sim.clocks import ClockConfig
from worldgate.sim.looks import cell_look
from worldgate.sim.rays import Lidar, Pinhole
from worldgate.sim.recorder import Sensor
from worldgate.sim.scenario import PARKED, random_stream
from worldgate.sim.sites import CameraPose

GEOMETRY = ("depth", "segmentation", "normals")

_ENCODER_RAD, _SPEED_RAD_S, _TRACKER_M, _TRACKER_RAD, _FORCE_N, _LIDAR_M = 2e-5, 2e-3, 3e-4, 2e-3, 0.03, 2e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class SensorConfig:
    """Which sensors run and how fast."""

    cameras: tuple[str, ...] = ("front", "top")
    """Names of the cameras."""
    camera_hz: float = 30.0
    """Rate of the cameras."""
    camera: CameraConfig = field(default_factory=CameraConfig)
    """Size and noise of their pictures."""
    geometry: tuple[str, ...] = GEOMETRY
    """What is kept beside the colour of ``geometry_camera``: any of depth, segmentation, normals; heavy."""
    geometry_camera: str = "front"
    """The camera whose geometry is kept."""
    lidar: bool = True
    """Whether the scanner runs."""
    joint_hz: float = 100.0
    """Rate of joints, tracker and force."""
    lidar_hz: float = 10.0
    """Rate of the scanner."""


STATE = StreamInfo(
    name="observation.state",
    kind=Kind.VECTOR,
    count=-1,
    clock="header",
    shape=(11,),
    names=STATE_NAMES,
    unit=STATE_UNIT,
    frame="table",
)
AROUND = StreamInfo(
    name="observation.environment_state",
    kind=Kind.VECTOR,
    count=-1,
    clock="header",
    shape=(7,),
    names=ENVIRONMENT_NAMES,
    unit=ENVIRONMENT_UNIT,
    frame="table",
)
FORCE = StreamInfo(
    name="observation.force",
    kind=Kind.VECTOR,
    count=-1,
    clock="header",
    shape=(3,),
    names=("x", "y", "z"),
    unit="N",
    frame="table",
)
ACTION = StreamInfo(
    name="action",
    kind=Kind.ACTION,
    count=-1,
    clock="header",
    shape=(2,),
    names=ACTION_NAMES,
    unit="m",
    frame="table",
    rate_hz=10.0,
)
CONTACT = StreamInfo(name="events.contact", kind=Kind.EVENT, count=-1, clock="header")


def read_state(cell: Cell, draw: np.random.Generator) -> FloatArray:
    """(11,) ``observation.state`` with the noise of the encoders."""
    return cell.state(draw.normal(0.0, 1.0, 8) * _JOINT_NOISE)


def read_around(cell: Cell, draw: np.random.Generator) -> FloatArray:
    """(7,) ``observation.environment_state`` with the noise of the tracker; goal and a parked hand are exact."""
    values = cell.environment_state()
    noise = draw.normal(0.0, 1.0, 5)
    values[:2] += _TRACKER_M * noise[:2]
    values[2] += _TRACKER_RAD * noise[2]
    if (values[5], values[6]) != PARKED:
        values[5:] += _TRACKER_M * noise[3:]
    return values


def read_force(cell: Cell, draw: np.random.Generator) -> FloatArray:
    """(3,) ``observation.force`` with the noise of the sensor."""
    return cell.force() + _FORCE_N * draw.normal(0.0, 1.0, 3)


_JOINT_NOISE = np.repeat([_ENCODER_RAD, _SPEED_RAD_S], 4)

READERS: Mapping[str, Callable[[Cell, np.random.Generator], FloatArray]] = {
    STATE.name: read_state,
    AROUND.name: read_around,
    FORCE.name: read_force,
}
"""Stream of numbers -> how it is read."""


class CameraFeed:
    """A camera as a device: takes pictures, and fails where the attributes say so.

    Args:
        cell: what it looks at.
        name: of the camera.
        camera: the rays.
        seed: of its noise.
        geometry: whether depth, segmentation and normals are wanted.
    """

    def __init__(self, cell: Cell, name: str, camera: RayCamera, *, seed: int, geometry: bool) -> None:
        self._cell, self._name, self._camera = cell, name, camera
        self._seed, self._geometry = seed, geometry
        self._faults = tuple(f for f in cell.scenario.attributes.camera_faults if f.camera == name)
        self._last: Picture | None = None

    def take(self, number: int) -> Picture:
        """The picture of this instant; ``number`` names its noise, so that lost pictures change no other."""
        now = self._cell.time_s
        fault = next((f for f in self._faults if f.start_s <= now < f.end_s), None)
        if fault is not None and fault.mode == "freeze" and self._last is not None:
            return self._last
        picture = self._camera.look(random_stream(self._seed, f"{self._name}:{number}"), geometry=self._geometry)
        if fault is not None and fault.mode == "black":
            return picture.black()
        self._last = picture
        return picture


def lighting(cell: Cell) -> Lighting:
    """The light in the cell under its attributes."""
    attributes = cell.scenario.attributes
    lamp = mirror_lamp(cell.site.cameras["front"], (cell.site.goal[0] + 0.02, cell.site.goal[1] * 0.3, 0.0))
    return Lighting(
        lamp=cell.site.light,
        exposure=1.0 - 0.85 * attributes.dim,
        glare=lamp if attributes.glare else None,
        glare_strength=attributes.glare,
        noise_gain=1.0 + 3.0 * attributes.dim,
    )


def cell_camera(cell: Cell, name: str, config: CameraConfig) -> RayCamera:
    """A camera of the cell's site, as the cell's arm has it mounted.

    Raises:
        NotFound: the site has no such camera.
    """
    if name not in cell.site.cameras:
        raise NotFound("no such camera", got=name, where=cell.site.name, hint=f"one of {', '.join(cell.site.cameras)}")
    drawn, shift = cell.site.cameras[name], cell.arm.camera_shift_m
    x, y, z = (a + b for a, b in zip(drawn.position, shift, strict=True))
    pose = CameraPose(position=(x, y, z), target=drawn.target, fov_deg=drawn.fov_deg)
    cell.settle()
    pinhole = Pinhole.at(pose, config.height, config.width)
    return RayCamera(
        config, pinhole, cell.model, cell.data, cell_look(cell.model, cell.site, cell.scenario), lighting(cell)
    )


def _with_clock(name: str, clock: ClockConfig, attributes: Attributes) -> ClockConfig:
    """The clock with the drift that the attributes give to this sensor."""
    if name != attributes.drifting_sensor:
        return clock
    return replace(clock, drift_ppm=attributes.clock_drift_ppm, offset_s=attributes.clock_offset_ms / 1e3)


def cell_sensors(cell: Cell, config: SensorConfig, *, seed: int) -> list[Sensor]:
    """Every sensor of a cell, each on a clock of its own.

    Raises:
        NotFound: a camera that the site does not have.
    """
    attributes = cell.scenario.attributes
    sensors = [
        _numbers(cell, info, config.joint_hz, jitter, attributes, seed)
        for info, jitter in ((STATE, 0.0005), (AROUND, 0.0008), (FORCE, 0.0003))
    ]
    sensors += [_camera(cell, name, config, attributes, seed) for name in config.cameras]
    if config.lidar:
        sensors.append(_lidar(cell, config, attributes, seed))
    return sensors


def _numbers(
    cell: Cell, info: StreamInfo, rate_hz: float, jitter_s: float, attributes: Attributes, seed: int
) -> Sensor:
    draw, read = random_stream(seed, f"noise:{info.name}"), READERS[info.name]
    clock = ClockConfig(rate_hz=rate_hz, jitter_s=jitter_s, transport_s=0.0012)
    return Sensor(
        name=info.name,
        clock=_with_clock(info.name, clock, attributes),
        infos=(replace(info, rate_hz=rate_hz),),
        read=lambda _: (read(cell, draw),),
    )


def _camera(cell: Cell, name: str, config: SensorConfig, attributes: Attributes, seed: int) -> Sensor:
    kept = config.geometry if name == config.geometry_camera else ()
    feed = CameraFeed(cell, name, cell_camera(cell, name, config.camera), seed=seed, geometry=bool(kept))
    stream = f"observation.images.{name}"
    clock = ClockConfig(
        rate_hz=config.camera_hz,
        jitter_s=0.0015,
        transport_s=0.022 + cell.site.latency_s,
        dropped=attributes.dropped_frames,
    )
    height, width = config.camera.height, config.camera.width
    kinds = {
        "depth": (Kind.DEPTH, (), "m"),
        "segmentation": (Kind.SEGMENTATION, (), ""),
        "normals": (Kind.NORMALS, (3,), "1"),
    }
    infos = [
        StreamInfo(
            name=stream,
            kind=Kind.IMAGE,
            count=-1,
            clock="header",
            shape=(height, width, 3),
            frame=name,
            rate_hz=config.camera_hz,
        )
    ]
    for part in kept:
        kind, last, unit = kinds[part]
        infos.append(
            StreamInfo(
                name=f"observation.{part}.{name}",
                kind=kind,
                count=-1,
                clock="header",
                shape=(height, width, *last),
                unit=unit,
                frame="table" if part == "normals" else name,
                rate_hz=config.camera_hz,
            )
        )

    def read(number: int) -> tuple[Array, ...]:
        picture = feed.take(number)
        return (picture.colour, *(getattr(picture, part) for part in kept))

    return Sensor(name=stream, clock=_with_clock(stream, clock, attributes), infos=tuple(infos), read=read)


def _lidar(cell: Cell, config: SensorConfig, attributes: Attributes, seed: int) -> Sensor:
    lidar, draw = Lidar(cell.site.lidar), random_stream(seed, "noise:lidar")
    info = StreamInfo(
        name="observation.lidar",
        kind=Kind.VECTOR,
        count=-1,
        clock="header",
        shape=(len(lidar.angles),),
        unit="m",
        frame="lidar",
        rate_hz=config.lidar_hz,
    )

    def read(number: int) -> tuple[FloatArray]:
        del number
        ranges = lidar.scan(cell.model, cell.data)
        seen = ranges < lidar.reach_m
        ranges[seen] += _LIDAR_M * draw.normal(0.0, 1.0, len(ranges))[seen]
        return (np.clip(ranges, 0.0, lidar.reach_m),)

    clock = ClockConfig(rate_hz=config.lidar_hz, jitter_s=0.002, transport_s=0.008)
    return Sensor(
        name=info.name,
        clock=_with_clock(info.name, clock, attributes),
        infos=(info,),
        read=read,
        scan_rad=(float(lidar.angles[0]), float(lidar.angles[-1])),
    )


class ContactWatch:
    """Turns the contacts of a cell into events: ``begin`` and ``end`` of each touching pair, with the tool's force."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._touching: frozenset[tuple[str, str]] = frozenset()

    def __call__(self) -> list[tuple[str, str]]:
        """Events since the last call: (stream, JSON of event, a, b, tool_force_n), in a fixed order."""
        now = self._cell.contacts()
        if now == self._touching:
            return []
        force = round(float(np.linalg.norm(self._cell.force())), 3)
        changes = [("begin", pair) for pair in sorted(now - self._touching)]
        changes += [("end", pair) for pair in sorted(self._touching - now)]
        self._touching = now
        return [
            (CONTACT.name, json.dumps({"event": event, "a": a, "b": b, "tool_force_n": force}))
            for event, (a, b) in changes
        ]
