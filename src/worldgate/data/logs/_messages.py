"""From a message to the streams it carries: ROS 1, ROS 2, protobuf and JSON messages through one set of tables.

Known by type: ``sensor_msgs`` images, JointState, Imu, NavSatFix, BatteryState, LaserScan, Range, Joy and the scalar
sensors; ``geometry_msgs`` points, poses, transforms, wrenches, twists and accelerations, plain, stamped and with
covariance; ``nav_msgs/Odometry`` (pose and twist); ``std_msgs`` String and float arrays; Foxglove's counterparts.
Covariances are taken of NavSatFix alone, where they say how good a fix is; elsewhere they are a driver's constants.
Of any other message: only numbers, or one list of numbers, become a vector; everything else an event that holds the
message's JSON text, so no topic is dropped silently. A message is read by field name alone, so it does not matter which
library decoded it.

Units are the ones of the definitions in https://github.com/ros2/common_interfaces (and REP 103).
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message as Protobuf

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Array, Kind
from worldgate.core.times import SECOND
from worldgate.data.logs import _images as images

Message: TypeAlias = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One stream inside a message type."""

    suffix: str
    """Appended to the channel's name; empty where the message is one stream."""
    kind: Kind
    value: Callable[[Message], Any]
    """An array, a text, or an encoded image."""
    names: tuple[str, ...] = ()
    unit: str = ""
    frame: str = "header.frame_id"
    """Path of the field that names the coordinate frame; ``frame_id`` where the message has no header."""


def get(message: Message, path: str, default: Any = None) -> Any:
    """A field by its dotted path, from an object or a mapping."""
    for name in path.split("."):
        # A plain dict is told apart first: the check for any mapping costs more than the field.
        held = isinstance(message, (dict, Mapping))
        message = message.get(name) if held else getattr(message, name, None)
        if message is None:
            return default
    return message


def stamp_ns(message: Message) -> int | None:
    """The header's or message's own time in ns; None where it has none or it is zero."""
    for path in ("header.stamp", "timestamp", "stamp"):
        value = get(message, path)
        if value is not None:
            return _time_ns(value) or None
    return None


def _time_ns(value: Any) -> int:
    if isinstance(value, str):
        text, _, rest = value.partition(".")
        digits = "".join(c for c in rest[:9] if c.isdigit()).ljust(9, "0") if rest else "0"
        moment = datetime.fromisoformat(text.rstrip("Z") + "+00:00")
        return round(moment.timestamp()) * SECOND + int(digits)
    seconds = get(value, "sec", get(value, "seconds"))
    nanos = get(value, "nanosec", get(value, "nsec", get(value, "nanos", 0)))
    return 0 if seconds is None else int(seconds) * SECOND + int(nanos)


def frame_of(message: Message, part: Part) -> str:
    """Coordinate frame of a part, where the message names one."""
    return str(get(message, part.frame, get(message, "frame_id", "")))


# -------------------------------------------------------------------- fields


@dataclass(frozen=True, slots=True)
class Numbers:
    """Fields with one number each, as one float64 vector; known by their paths, they can be read from many messages."""

    paths: tuple[str, ...]
    default: float | None = None
    """What an absent field counts as; None: it is an error."""

    def __call__(self, message: Message) -> Any:
        """The vector of one message."""
        return np.array([float(get(message, path, self.default)) for path in self.paths], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class ArrayOf:
    """A field that is a list of numbers, in the order of ``names`` where the message names its entries."""

    path: str
    dtype: type = np.float64
    names_path: str = ""
    """Field with the entries' names; empty: they have none."""
    names: tuple[str, ...] = ()

    def __call__(self, message: Message) -> Any:
        """The vector of one message.

        Raises:
            LogUnreadable: entries of other names than the first message's.
        """
        held = get(message, self.path, ())
        # Protobuf's lists give their entries one by one to numpy, slowly.
        values: Array = np.asarray(list(held) if isinstance(message, Protobuf) else held, dtype=self.dtype)
        if not self.names_path:
            return values
        names = tuple(str(name) for name in get(message, self.names_path, ()))
        if names == self.names:
            return values
        if sorted(names) != sorted(self.names) or len(set(names)) != len(names) or len(names) != len(values):
            raise LogUnreadable("messages of one stream name different entries", got=", ".join(names)[:80] or "none")
        return values[[names.index(name) for name in self.names]]


def _xyz(path: str) -> tuple[str, ...]:
    return tuple(f"{path}.{axis}" for axis in "xyz")


def _pose(position: str, orientation: str) -> Numbers:
    return Numbers((*_xyz(position), *(f"{orientation}.{axis}" for axis in "xyzw")), 0.0)


def _pair(first: str, second: str) -> Numbers:
    return Numbers((*_xyz(first), *_xyz(second)), 0.0)


def _bytes(message: Message, path: str) -> bytes:
    data = get(message, path, b"")
    return base64.b64decode(data, validate=True) if isinstance(data, str) else bytes(data)


def _raw_image(message: Message) -> images.Encoded:
    return images.Encoded(
        data=_bytes(message, "data"),
        format=str(get(message, "encoding", "")),
        height=int(get(message, "height", 0)),
        width=int(get(message, "width", 0)),
        step=int(get(message, "step", 0)),
        bigendian=bool(get(message, "is_bigendian", False)),
    )


def _compressed_image(message: Message) -> images.Encoded:
    stated = str(get(message, "format", "")).lower()
    data = _bytes(message, "data")
    if "compresseddepth" in stated:
        # compressed_depth_image_transport puts a 12-byte configuration before the PNG.
        return images.Encoded(data=data[12:], format="png")
    for name, keys in (("jpeg", ("jpeg", "jpg")), ("png", ("png",)), ("webp", ("webp",)), ("avif", ("avif",))):
        if any(key in stated for key in keys):
            return images.Encoded(data=data, format=name)
    raise LogUnreadable("an image format that is not read", got=stated[:40] or "none")


def _video(message: Message) -> images.Encoded:
    stated = str(get(message, "format", "")).lower()
    if stated not in images.VIDEO:
        raise LogUnreadable("a video format that is not read", got=stated[:40] or "none")
    return images.Encoded(data=_bytes(message, "data"), format=stated)


_XYZ = ("x", "y", "z")
_QUATERNION = ("qx", "qy", "qz", "qw")
_POSE_NAMES = (*_XYZ, *_QUATERNION)
_WRENCH = ("fx", "fy", "fz", "tx", "ty", "tz")
_TWIST = ("vx", "vy", "vz", "wx", "wy", "wz")
_ACCEL = ("ax", "ay", "az", "alphax", "alphay", "alphaz")
_FIX = ("latitude", "longitude", "altitude")
_BATTERY = ("voltage", "temperature", "current", "charge", "capacity", "design_capacity", "percentage")
_BATTERY_STATUS = ("power_supply_status", "power_supply_health", "power_supply_technology", "present")


def _pose_part(position: str, orientation: str) -> Part:
    return Part(suffix="", kind=Kind.POSE, value=_pose(position, orientation), names=_POSE_NAMES, unit="m,m,m,1,1,1,1")


def _wrench_part(path: str) -> Part:
    value = _pair(f"{path}force", f"{path}torque")
    return Part(suffix="", kind=Kind.VECTOR, value=value, names=_WRENCH, unit="N,N,N,N*m,N*m,N*m")


def _twist_part(path: str, **more: str) -> Part:
    value, unit = _pair(f"{path}linear", f"{path}angular"), "m/s,m/s,m/s,rad/s,rad/s,rad/s"
    return Part(**{"suffix": "", **more}, kind=Kind.VECTOR, value=value, names=_TWIST, unit=unit)


def _accel_part(path: str) -> Part:
    value, unit = _pair(f"{path}linear", f"{path}angular"), ",".join(["m/s^2"] * 3 + ["rad/s^2"] * 3)
    return Part(suffix="", kind=Kind.VECTOR, value=value, names=_ACCEL, unit=unit)


def _field_part(names: tuple[str, ...], unit: str = "", *, path: str = "", suffix: str = "") -> Part:
    """Numbers that stand in fields of their own: those below ``path`` named by the last word of ``names``' entries."""
    value = Numbers(tuple(f"{path}{name}" for name in names))
    return Part(suffix=suffix, kind=Kind.VECTOR, value=value, names=names, unit=unit)


def _xyz_part(path: str, unit: str, *, suffix: str = "") -> Part:
    return Part(suffix=suffix, kind=Kind.VECTOR, value=Numbers(_xyz(path), 0.0), names=_XYZ, unit=unit)


def _quaternion_part(path: str, *, suffix: str = "") -> Part:
    value = Numbers(tuple(f"{path}.{axis}" if path else axis for axis in "xyzw"))
    return Part(suffix=suffix, kind=Kind.VECTOR, value=value, names=_QUATERNION, unit="1")


def _imu_parts(sample: Message) -> tuple[Part, ...]:
    """Up to three streams; a covariance that begins with -1 says that the sensor does not give that quantity."""
    found = {
        "orientation": _quaternion_part("orientation", suffix=".orientation"),
        "angular_velocity": _xyz_part("angular_velocity", "rad/s", suffix=".angular_velocity"),
        "linear_acceleration": _xyz_part("linear_acceleration", "m/s^2", suffix=".linear_acceleration"),
    }
    return tuple(part for name, part in found.items() if [*get(sample, f"{name}_covariance", ()), 0][0] != -1)


def _fix_parts(_: Message) -> tuple[Part, ...]:
    covariance = Part(suffix=".covariance", kind=Kind.VECTOR, value=ArrayOf("position_covariance"), unit="m^2")
    status = _field_part(("status", "service"), "1", path="status.", suffix=".status")
    return _field_part(_FIX, "deg,deg,m"), covariance, status


def _battery_parts(_: Message) -> tuple[Part, ...]:
    return _field_part(_BATTERY, "V,degC,A,A*h,A*h,A*h,1"), _field_part(_BATTERY_STATUS, "1", suffix=".status")


def _joy_parts(sample: Message) -> tuple[Part, ...]:
    held = [name for name in ("axes", "buttons") if len(get(sample, name, ()))]
    return tuple(Part(suffix=f".{name}", kind=Kind.VECTOR, value=ArrayOf(name), unit="1") for name in held)


def _text_part(path: str) -> Part:
    return Part(suffix="", kind=Kind.TEXT, value=lambda message: str(get(message, path, "")))


def _image_part(read: Callable[[Message], images.Encoded], sample: Message) -> Part:
    encoded = read(sample)
    kind = images.kind_of(encoded)
    if "compresseddepth" in str(get(sample, "format", "")).lower():
        kind = Kind.DEPTH
    return Part(suffix="", kind=kind, value=read, unit="m" if kind is Kind.DEPTH else "")


def _joint_parts(sample: Message) -> tuple[Part, ...]:
    """A joint state is up to three streams; fields that are empty are none."""
    names = tuple(str(n) for n in get(sample, "name", ()))
    held = [f for f in ("position", "velocity", "effort") if len(get(sample, f, ()))]
    return tuple(
        Part(suffix=f".{f}", kind=Kind.VECTOR, value=ArrayOf(f, names_path="name", names=names), names=names)
        for f in held
    )


_array_part = Part(suffix="", kind=Kind.VECTOR, value=ArrayOf("data"))

_PARTS: dict[str, Callable[[Message], tuple[Part, ...]]] = {
    "sensor_msgs/Image": lambda m: (_image_part(_raw_image, m),),
    "foxglove/RawImage": lambda m: (_image_part(_raw_image, m),),
    "sensor_msgs/CompressedImage": lambda m: (_image_part(_compressed_image, m),),
    "foxglove/CompressedImage": lambda m: (_image_part(_compressed_image, m),),
    "foxglove/CompressedVideo": lambda _: (Part(suffix="", kind=Kind.IMAGE, value=_video),),
    "sensor_msgs/JointState": _joint_parts,
    "sensor_msgs/LaserScan": lambda _: (
        Part(suffix="", kind=Kind.VECTOR, value=ArrayOf("ranges", np.float32), unit="m"),
    ),
    "foxglove/LaserScan": lambda _: (Part(suffix="", kind=Kind.VECTOR, value=ArrayOf("ranges"), unit="m"),),
    "geometry_msgs/Pose": lambda _: (_pose_part("position", "orientation"),),
    "geometry_msgs/PoseStamped": lambda _: (_pose_part("pose.position", "pose.orientation"),),
    "foxglove/PoseInFrame": lambda _: (_pose_part("pose.position", "pose.orientation"),),
    "geometry_msgs/PoseWithCovariance": lambda _: (_pose_part("pose.position", "pose.orientation"),),
    "geometry_msgs/PoseWithCovarianceStamped": lambda _: (_pose_part("pose.pose.position", "pose.pose.orientation"),),
    "nav_msgs/Odometry": lambda _: (
        _pose_part("pose.pose.position", "pose.pose.orientation"),
        _twist_part("twist.twist.", suffix=".twist", frame="child_frame_id"),
    ),
    "geometry_msgs/Transform": lambda _: (_pose_part("translation", "rotation"),),
    "geometry_msgs/TransformStamped": lambda _: (_pose_part("transform.translation", "transform.rotation"),),
    "foxglove/FrameTransform": lambda _: (_pose_part("translation", "rotation"),),
    "geometry_msgs/Wrench": lambda _: (_wrench_part(""),),
    "geometry_msgs/WrenchStamped": lambda _: (_wrench_part("wrench."),),
    "geometry_msgs/Twist": lambda _: (_twist_part(""),),
    "geometry_msgs/TwistStamped": lambda _: (_twist_part("twist."),),
    "geometry_msgs/TwistWithCovariance": lambda _: (_twist_part("twist."),),
    "geometry_msgs/TwistWithCovarianceStamped": lambda _: (_twist_part("twist.twist."),),
    "geometry_msgs/Accel": lambda _: (_accel_part(""),),
    "geometry_msgs/AccelStamped": lambda _: (_accel_part("accel."),),
    "geometry_msgs/AccelWithCovarianceStamped": lambda _: (_accel_part("accel.accel."),),
    "geometry_msgs/Point": lambda _: (_field_part(_XYZ, "m"),),
    "geometry_msgs/PointStamped": lambda _: (_xyz_part("point", "m"),),
    "geometry_msgs/Vector3Stamped": lambda _: (_xyz_part("vector", ""),),
    "geometry_msgs/Quaternion": lambda _: (_quaternion_part(""),),
    "geometry_msgs/QuaternionStamped": lambda _: (_quaternion_part("quaternion"),),
    "sensor_msgs/Imu": _imu_parts,
    "sensor_msgs/NavSatFix": _fix_parts,
    "sensor_msgs/BatteryState": _battery_parts,
    "sensor_msgs/MagneticField": lambda _: (_xyz_part("magnetic_field", "T"),),
    "sensor_msgs/Range": lambda _: (_field_part(("range",), "m"),),
    "sensor_msgs/FluidPressure": lambda _: (_field_part(("fluid_pressure",), "Pa"),),
    "sensor_msgs/Temperature": lambda _: (_field_part(("temperature",), "degC"),),
    "sensor_msgs/Illuminance": lambda _: (_field_part(("illuminance",), "lx"),),
    "sensor_msgs/RelativeHumidity": lambda _: (_field_part(("relative_humidity",), "1"),),
    "sensor_msgs/Joy": _joy_parts,
    "std_msgs/Float32MultiArray": lambda _: (_array_part,),
    "std_msgs/Float64MultiArray": lambda _: (_array_part,),
    "worldgate/FloatArray": lambda _: (_array_part,),
    "std_msgs/String": lambda _: (_text_part("data"),),
    "foxglove/Log": lambda _: (_text_part("message"),),
}


def type_key(name: str) -> str:
    """``sensor_msgs/msg/Image`` and ``foxglove.RawImage`` as ``package/Name``; Foxglove's ROS packages as its own."""
    pieces = name.replace("/", ".").split(".")
    package = "foxglove" if pieces[0] == "foxglove_msgs" else pieces[0]
    return f"{package}/{pieces[-1]}" if len(pieces) > 1 else name


def parts(type_name: str, sample: Message) -> tuple[Part, ...]:
    """The streams that messages of this type carry, judged by the first message.

    Raises:
        LogUnreadable: an image of an unknown format.
    """
    known = _PARTS.get(type_key(type_name))
    return known(sample) if known is not None else (_generic_part(sample),)


# -------------------------------------------------------------------- any other message

_TIME_FIELDS = frozenset({"timestamp", "stamp", "header", "frame_id", "layout"})


def plain(message: Message) -> Any:
    """Any message as plain JSON values; long byte fields as length and digest."""
    if isinstance(message, Protobuf):
        return MessageToDict(message, preserving_proto_field_name=True)
    if isinstance(message, Mapping):
        return {str(k): plain(v) for k, v in message.items()}
    if isinstance(message, np.generic):
        return plain(message.item())
    if isinstance(message, np.ndarray) and message.dtype != np.uint8:
        return [plain(item) for item in message.tolist()]
    if isinstance(message, bytes | bytearray | memoryview | np.ndarray):
        data = bytes(message)
        return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if isinstance(message, float) and not math.isfinite(message):
        return str(message)
    if isinstance(message, str | int | float | bool) or message is None:
        return message
    if isinstance(message, Iterable):
        return [plain(item) for item in message]
    return {name: plain(getattr(message, name)) for name in _fields(message)}


def _fields(message: Message) -> tuple[str, ...]:
    if isinstance(message, Protobuf):
        return tuple(field.name for field in message.DESCRIPTOR.fields)
    if isinstance(message, Mapping):
        return tuple(message)
    if is_dataclass(message):
        return tuple(field.name for field in fields(message))
    return tuple(getattr(message, "__slots__", ()))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _generic_part(sample: Message) -> Part:
    names = tuple(name for name in _fields(sample) if name not in _TIME_FIELDS)
    values = [get(sample, name) for name in names]
    if names and all(_is_number(value) for value in values):
        return Part(suffix="", kind=Kind.VECTOR, value=Numbers(names), names=names)
    if len(names) == 1 and _is_list_of_numbers(values[0]):
        return Part(suffix="", kind=Kind.VECTOR, value=ArrayOf(names[0]))
    return Part(suffix="", kind=Kind.EVENT, value=_event_text)


def _event_text(message: Message) -> str:
    return json.dumps(plain(message), sort_keys=True)


def _is_list_of_numbers(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.size > 0 and value.dtype != np.uint8
    if isinstance(value, str | bytes | bytearray | Mapping) or not isinstance(value, Iterable):
        return False
    items = list(value)
    return bool(items) and all(_is_number(item) for item in items)
