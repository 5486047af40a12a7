"""Foxglove's protobuf schemas, built at run time from field tables, so that no generated code is kept.

Field names and numbers follow https://docs.foxglove.dev/docs/sdk/schemas (MIT). ``worldgate.FloatArray`` is ours:
Foxglove has no plain array, and its Plot panel draws ``data[i]`` of any protobuf message.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from mcap_protobuf.schema import build_file_descriptor_set

_Field = descriptor_pb2.FieldDescriptorProto
_SCALAR = {
    "double": _Field.TYPE_DOUBLE,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "fixed32": _Field.TYPE_FIXED32,
    "int32": _Field.TYPE_INT32,
}

_TIME = ("timestamp", 1, ".google.protobuf.Timestamp")
_MESSAGES: dict[str, tuple[tuple[str, int, str], ...]] = {
    "foxglove.Vector3": (("x", 1, "double"), ("y", 2, "double"), ("z", 3, "double")),
    "foxglove.Quaternion": (("x", 1, "double"), ("y", 2, "double"), ("z", 3, "double"), ("w", 4, "double")),
    "foxglove.Pose": (("position", 1, ".foxglove.Vector3"), ("orientation", 2, ".foxglove.Quaternion")),
    "foxglove.PoseInFrame": (_TIME, ("frame_id", 2, "string"), ("pose", 3, ".foxglove.Pose")),
    "foxglove.CompressedImage": (_TIME, ("data", 2, "bytes"), ("format", 3, "string"), ("frame_id", 4, "string")),
    "foxglove.CompressedVideo": (_TIME, ("frame_id", 2, "string"), ("data", 3, "bytes"), ("format", 4, "string")),
    "foxglove.RawImage": (
        _TIME,
        ("width", 2, "fixed32"),
        ("height", 3, "fixed32"),
        ("encoding", 4, "string"),
        ("step", 5, "fixed32"),
        ("data", 6, "bytes"),
        ("frame_id", 7, "string"),
    ),
    "foxglove.LaserScan": (
        _TIME,
        ("frame_id", 2, "string"),
        ("pose", 3, ".foxglove.Pose"),
        ("start_angle", 4, "double"),
        ("end_angle", 5, "double"),
        ("ranges", 6, "double*"),
        ("intensities", 7, "double*"),
    ),
    "foxglove.Log": (
        _TIME,
        ("level", 2, "int32"),
        ("message", 3, "string"),
        ("name", 4, "string"),
        ("file", 5, "string"),
        ("line", 6, "fixed32"),
    ),
    "worldgate.FloatArray": (_TIME, ("frame_id", 2, "string"), ("data", 3, "double*")),
}
"""Message to (field, number, type); ``*`` marks repeated. ``Log.level`` is an enum of the same wire form."""

INFO_LEVEL = 2
"""``foxglove.Log.Level.INFO``."""


@cache
def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    for package in ("foxglove", "worldgate"):
        file = descriptor_pb2.FileDescriptorProto(
            name=f"{package}/messages.proto",
            package=package,
            syntax="proto3",
            dependency=["google/protobuf/timestamp.proto"],
        )
        for full, fields in _MESSAGES.items():
            if full.startswith(f"{package}."):
                _describe(file.message_type.add(name=full.split(".")[1]), fields)
        pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in _MESSAGES}


def _describe(message: descriptor_pb2.DescriptorProto, fields: tuple[tuple[str, int, str], ...]) -> None:
    for name, number, type_name in fields:
        repeated = type_name.endswith("*")
        label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
        field = message.field.add(name=name, number=number, label=label)
        if type_name.startswith("."):
            field.type = _Field.TYPE_MESSAGE
            field.type_name = type_name
        else:
            field.type = _SCALAR[type_name.rstrip("*")]


def message_class(name: str) -> Any:
    """The protobuf class of one of the messages above."""
    return _classes()[name]


def schema_bytes(name: str) -> bytes:
    """The serialised ``FileDescriptorSet`` that an MCAP schema record holds."""
    return bytes(build_file_descriptor_set(message_class(name)).SerializeToString(deterministic=True))


def stamp(time_ns: int) -> Any:
    """A ``google.protobuf.Timestamp`` as keyword arguments."""
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    return {"seconds": seconds, "nanos": nanos}
