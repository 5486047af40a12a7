"""One value to one message, in the two profiles that the MCAP writer knows.

What a stream's kind becomes:

============ ============================ ==========================================
kind         foxglove (protobuf)          ros2 (CDR)
============ ============================ ==========================================
image        CompressedImage, or          sensor_msgs/CompressedImage
             CompressedVideo where coded
             video is passed on
segmentation CompressedImage (PNG)        sensor_msgs/CompressedImage (PNG)
depth        RawImage 32FC1               sensor_msgs/Image 32FC1
normals      RawImage 32FC3               sensor_msgs/Image 32FC3
pose         PoseInFrame                  geometry_msgs/PoseStamped
vector       LaserScan where angles are   sensor_msgs/LaserScan, sensor_msgs/JointState (unit
             given, else                  rad and names), geometry_msgs/WrenchStamped (unit of
             worldgate.FloatArray         a wrench), else std_msgs/Float64MultiArray
action       worldgate.FloatArray         std_msgs/Float64MultiArray
text         Log                          std_msgs/String
event        the JSON text itself         std_msgs/String
============ ============================ ==========================================
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from worldgate.core.choices import settle
from worldgate.core.errors import UsageError
from worldgate.core.streams import Array, Kind, StreamInfo
from worldgate.data.logs import _foxglove as foxglove
from worldgate.data.logs import _images as images
from worldgate.data.logs import _ros2 as ros2

Profile: TypeAlias = Literal["foxglove", "ros2"]
Encode: TypeAlias = Callable[[int, Any], bytes]

WRENCH_UNIT = "N,N,N,N*m,N*m,N*m"
_EVENT_SCHEMA = b'{"type": "object", "title": "worldgate.Event"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """How colour images are compressed."""

    format: Literal["png", "jpeg"] = "png"
    quality: int = 95
    """JPEG quality, 1 to 100."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """Schema of a channel and the function from (stamp in ns, value) to a message."""

    schema: str
    schema_encoding: str
    schema_data: bytes
    message_encoding: str
    encode: Encode


def encoder(
    info: StreamInfo,
    profile: Profile,
    image: ImageOptions,
    scan_rad: tuple[float, float] | None = None,
    dtype: str = "",
    *,
    video: bool = False,
) -> Encoder:
    """The encoder of a stream.

    Args:
        info: the stream; ``shape`` is known.
        profile: which family of schemas.
        image: compression of colour images.
        scan_rad: bearings of the first and last range of a planar lidar; makes a vector a laser scan.
        dtype: element type of the values; a ROS laser scan holds single precision, so a wider one goes as an array.
        video: values are coded video, a packet a message; in either profile a ``foxglove.CompressedVideo``, which ROS
            has no message for.
    """
    if video:
        return _video(info)
    if profile == "ros2" and dtype != "f4":
        scan_rad = None
    if info.kind is Kind.EVENT and profile == "foxglove":
        return Encoder(
            schema="worldgate.Event",
            schema_encoding="jsonschema",
            schema_data=_EVENT_SCHEMA,
            message_encoding="json",
            encode=lambda _, value: event_text(value).encode(),
        )
    name, build = (_foxglove_message if profile == "foxglove" else _ros2_message)(info, image, scan_rad)
    if profile == "foxglove":
        message = foxglove.message_class(name)
        return Encoder(
            schema=name,
            schema_encoding="protobuf",
            schema_data=foxglove.schema_bytes(name),
            message_encoding="protobuf",
            encode=lambda ns, value: bytes(
                message(timestamp=foxglove.stamp(ns), **build(ns, value)).SerializeToString()
            ),
        )
    write = ros2.encoder(name)
    return Encoder(
        schema=ros2.schema_name(name),
        schema_encoding="ros2msg",
        schema_data=ros2.definition(name).encode(),
        message_encoding="cdr",
        encode=lambda ns, value: write(build(ns, value)),
    )


def _video(info: StreamInfo) -> Encoder:
    name = "foxglove.CompressedVideo"
    message = foxglove.message_class(name)
    return Encoder(
        schema=name,
        schema_encoding="protobuf",
        schema_data=foxglove.schema_bytes(name),
        message_encoding="protobuf",
        encode=lambda ns, value: bytes(
            message(
                timestamp=foxglove.stamp(ns), frame_id=info.frame, data=value.data, format=value.format
            ).SerializeToString()
        ),
    )


Build: TypeAlias = Callable[[int, Any], dict[str, Any]]


def _foxglove_message(info: StreamInfo, image: ImageOptions, scan_rad: tuple[float, float] | None) -> tuple[str, Build]:
    if info.kind in {Kind.IMAGE, Kind.SEGMENTATION}:

        def compressed(_: int, value: Any) -> dict[str, Any]:
            encoded = compress(value, info, image)
            return {"frame_id": info.frame, "format": encoded.format, "data": encoded.data}

        return "foxglove.CompressedImage", compressed
    if info.kind in {Kind.DEPTH, Kind.NORMALS}:

        def raw(_: int, value: Any) -> dict[str, Any]:
            out = images.raw(value, _raw_encoding(info))
            layout = {"width": out.width, "height": out.height, "step": out.step, "encoding": out.format}
            return {"frame_id": info.frame, "data": out.data, **layout}

        return "foxglove.RawImage", raw
    if info.kind is Kind.POSE:
        return "foxglove.PoseInFrame", lambda _, value: {"frame_id": info.frame, "pose": _pose(value)}
    if info.kind is Kind.TEXT:
        level = foxglove.INFO_LEVEL
        return "foxglove.Log", lambda _, value: {"level": level, "message": str(value), "name": info.name}
    if scan_rad is not None:
        angles = {"start_angle": scan_rad[0], "end_angle": scan_rad[1]}
        return "foxglove.LaserScan", lambda _, value: {"frame_id": info.frame, "ranges": floats(value), **angles}
    return "worldgate.FloatArray", lambda _, value: {"frame_id": info.frame, "data": floats(value)}


def _ros2_message(info: StreamInfo, image: ImageOptions, scan_rad: tuple[float, float] | None) -> tuple[str, Build]:
    def stamped(ns: int) -> dict[str, Any]:
        return {"header": ros2.header(ns, info.frame)}

    if info.kind in {Kind.IMAGE, Kind.SEGMENTATION}:

        def compressed(ns: int, value: Any) -> dict[str, Any]:
            encoded = compress(value, info, image)
            return {**stamped(ns), "format": encoded.format, "data": encoded.data}

        return "sensor_msgs/CompressedImage", compressed
    if info.kind in {Kind.DEPTH, Kind.NORMALS}:

        def raw(ns: int, value: Any) -> dict[str, Any]:
            out = images.raw(value, _raw_encoding(info))
            layout = {"width": out.width, "height": out.height, "step": out.step, "encoding": out.format}
            return {**stamped(ns), "is_bigendian": 0, "data": out.data, **layout}

        return "sensor_msgs/Image", raw
    if info.kind is Kind.POSE:
        return "geometry_msgs/PoseStamped", lambda ns, value: {**stamped(ns), "pose": _pose(value)}
    if info.kind in {Kind.EVENT, Kind.TEXT}:
        text = event_text if info.kind is Kind.EVENT else str
        return "std_msgs/String", lambda _, value: {"data": text(value)}
    return _ros2_vector(info, stamped, scan_rad)


def _ros2_vector(
    info: StreamInfo, stamped: Callable[[int], dict[str, Any]], scan_rad: tuple[float, float] | None
) -> tuple[str, Build]:
    single = info.kind is Kind.VECTOR and len(info.shape) == 1
    if single and scan_rad is not None:
        start, end = scan_rad
        step = (end - start) / max(1, info.shape[0] - 1)
        angles = {"angle_min": start, "angle_max": end, "angle_increment": step}
        return "sensor_msgs/LaserScan", lambda ns, value: {**stamped(ns), **angles, "ranges": floats(value)}
    if single and info.unit == "rad" and len(info.names) == info.shape[0]:
        names = list(info.names)
        return "sensor_msgs/JointState", lambda ns, value: {**stamped(ns), "name": names, "position": floats(value)}
    if single and info.unit == WRENCH_UNIT and info.shape == (6,):

        def wrench(ns: int, value: Any) -> dict[str, Any]:
            fx, fy, fz, tx, ty, tz = floats(value)
            force, torque = {"x": fx, "y": fy, "z": fz}, {"x": tx, "y": ty, "z": tz}
            return {**stamped(ns), "wrench": {"force": force, "torque": torque}}

        return "geometry_msgs/WrenchStamped", wrench
    layout = _array_layout(info.shape)
    return "std_msgs/Float64MultiArray", lambda _, value: {"layout": layout, "data": floats(value)}


def _array_layout(shape: tuple[int, ...]) -> dict[str, Any]:
    """Dimensions of a MultiArray; ``stride`` counts the elements of this dimension and all below it."""
    strides = [int(np.prod(shape[axis:], dtype=np.int64)) for axis in range(len(shape))]
    dim = [{"label": f"axis{i}", "size": n, "stride": strides[i]} for i, n in enumerate(shape)]
    return {"dim": dim, "data_offset": 0}


def compress(value: Any, info: StreamInfo, options: ImageOptions) -> images.Encoded:
    """Compress one colour or segmentation image; what is already compressed passes unchanged.

    Raises:
        UsageError: pixels that the kind does not allow.
    """
    if isinstance(value, images.Encoded):
        return value
    pixels: Array = np.asarray(value)
    if info.kind is Kind.IMAGE:
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise UsageError("an image is (H, W, 3) uint8 RGB", got=f"{pixels.shape} {pixels.dtype}", where=info.name)
        data = images.encode(pixels, options.format, options.quality)
        return images.Encoded(data=data, format=options.format)
    if pixels.ndim != 2 or pixels.size == 0 or pixels.min() < 0 or pixels.max() > 0xFFFF:
        raise UsageError("a segmentation is (H, W) of class ids 0 to 65535", got=f"{pixels.shape}", where=info.name)
    depth = np.uint8 if pixels.dtype == np.uint8 else np.uint16
    return images.Encoded(data=images.encode(pixels.astype(depth), "png"), format="png")


def event_text(value: Any) -> str:
    """JSON text of an event; text is checked and kept as it stands, anything else is written as JSON.

    Raises:
        UsageError: not JSON.
    """
    try:
        if isinstance(value, str):
            json.loads(value)
            return value
        return json.dumps(value, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError("an event is JSON", got=repr(value)[:80]) from error


def floats(value: Any) -> list[float]:
    """Numbers as doubles, in C order.

    Raises:
        UsageError: an integer that a double cannot hold.
    """
    array = np.asarray(value)
    doubles = array.astype(np.float64).ravel()
    if (
        array.dtype.kind in "iu"
        and array.dtype.itemsize == 8
        and not np.array_equal(doubles.astype(array.dtype), array.ravel())
    ):
        raise UsageError("an integer beyond 2^53 does not fit a float array", got=array.dtype)
    out: list[float] = doubles.tolist()
    return out


def _pose(value: Any) -> dict[str, Any]:
    x, y, z, qx, qy, qz, qw = floats(value)
    return {"position": {"x": x, "y": y, "z": z}, "orientation": {"x": qx, "y": qy, "z": qz, "w": qw}}


def _raw_encoding(info: StreamInfo) -> str:
    return "32FC1" if info.kind is Kind.DEPTH else "32FC3"
