"""ROS 2 standard messages in CDR: the definitions a reader needs, and encoding by mcap-ros2-support.

Definitions: https://github.com/ros2/common_interfaces (Apache-2.0), fields only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from mcap_ros2._dynamic import serialize_dynamic

_HEADER = "std_msgs/Header"
_FIELDS: dict[str, str] = {
    "builtin_interfaces/Time": "int32 sec\nuint32 nanosec",
    _HEADER: "builtin_interfaces/Time stamp\nstring frame_id",
    "std_msgs/String": "string data",
    "std_msgs/MultiArrayDimension": "string label\nuint32 size\nuint32 stride",
    "std_msgs/MultiArrayLayout": "std_msgs/MultiArrayDimension[] dim\nuint32 data_offset",
    "std_msgs/Float64MultiArray": "std_msgs/MultiArrayLayout layout\nfloat64[] data",
    "sensor_msgs/Image": (
        "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\n"
        "uint8 is_bigendian\nuint32 step\nuint8[] data"
    ),
    "sensor_msgs/CompressedImage": "std_msgs/Header header\nstring format\nuint8[] data",
    "sensor_msgs/JointState": (
        "std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort"
    ),
    "sensor_msgs/LaserScan": (
        "std_msgs/Header header\nfloat32 angle_min\nfloat32 angle_max\nfloat32 angle_increment\n"
        "float32 time_increment\nfloat32 scan_time\nfloat32 range_min\nfloat32 range_max\n"
        "float32[] ranges\nfloat32[] intensities"
    ),
    "geometry_msgs/Point": "float64 x\nfloat64 y\nfloat64 z",
    "geometry_msgs/Vector3": "float64 x\nfloat64 y\nfloat64 z",
    "geometry_msgs/Quaternion": "float64 x\nfloat64 y\nfloat64 z\nfloat64 w",
    "geometry_msgs/Pose": "geometry_msgs/Point position\ngeometry_msgs/Quaternion orientation",
    "geometry_msgs/PoseStamped": "std_msgs/Header header\ngeometry_msgs/Pose pose",
    "geometry_msgs/Wrench": "geometry_msgs/Vector3 force\ngeometry_msgs/Vector3 torque",
    "geometry_msgs/WrenchStamped": "std_msgs/Header header\ngeometry_msgs/Wrench wrench",
}

_SEPARATOR = "\n" + "=" * 80 + "\n"


def _needs(name: str) -> list[str]:
    """Types that a definition refers to, depth first, each once."""
    out: list[str] = []
    for line in _FIELDS[name].splitlines():
        used = line.split()[0].removesuffix("[]")
        if used in _FIELDS:
            out += [t for t in (*_needs(used), used) if t not in out]
    return out


@cache
def definition(name: str) -> str:
    """The concatenated definition of ``package/Name``, as a ``ros2msg`` schema record holds it."""
    parts = [_FIELDS[name], *(f"MSG: {used}\n{_FIELDS[used]}" for used in _needs(name))]
    return _SEPARATOR.join(parts)


def schema_name(name: str) -> str:
    """``sensor_msgs/Image`` as ROS 2 writes it: ``sensor_msgs/msg/Image``."""
    package, _, message = name.partition("/")
    return f"{package}/msg/{message}"


@cache
def encoder(name: str) -> Callable[[Any], bytes]:
    """The function from a nested dict to CDR bytes for ``package/Name``."""
    encode: Callable[[Any], bytes] = serialize_dynamic(schema_name(name), definition(name))[schema_name(name)]
    return encode


def header(time_ns: int, frame: str) -> dict[str, Any]:
    """A ``std_msgs/Header``."""
    sec, nanosec = divmod(time_ns, 1_000_000_000)
    return {"stamp": {"sec": sec, "nanosec": nanosec}, "frame_id": frame}
