"""From a payload to a message: ROS 2 CDR, ROS 1, protobuf and JSON, each by its reference decoder.

CDR whose types are given as ``ros2msg`` is decoded by mcap-ros2-support, whatever container it stands in; ROS 1 and
CDR with IDL by rosbags (the ``ros`` extra).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeAlias

from mcap.records import Channel, Schema
from mcap_protobuf.decoder import DecoderFactory as ProtobufFactory
from mcap_ros2.decoder import DecoderFactory as Ros2Factory

from worldgate.core.streams import Kind
from worldgate.data.logs import _ros_types
from worldgate.data.logs._messages import Message, Part

Decode: TypeAlias = Callable[[bytes], Message]

JSON_TEXT = Part(suffix="", kind=Kind.EVENT, value=str)
"""An event of ours: the payload is the text itself, kept to the byte."""


def decode_text(data: bytes) -> Message:
    """A payload that is UTF-8 text."""
    return data.decode("utf-8")


def decoder(channel: Channel, schema: Schema | None) -> Decode | None:
    """The function from payload to message; None for an encoding that is not read (FlatBuffers, CBOR).

    Raises:
        MissingExtra: ROS 1 or ROS IDL, and rosbags is not installed.
        LogUnreadable: a ROS definition that does not parse.
    """
    if channel.message_encoding == "json":
        return _decode_json
    if schema is not None and (channel.message_encoding, schema.encoding) == ("ros1", "ros1msg"):
        return _ros_types.ros1_decoder(schema.name, schema.data.decode())
    if schema is not None and (channel.message_encoding, schema.encoding) == ("cdr", "ros2idl"):
        return _ros_types.idl_decoder(schema.name, schema.data.decode())
    for factory in (Ros2Factory(), ProtobufFactory()):
        made: Decode | None = factory.decoder_for(channel.message_encoding, schema)
        if made is not None:
            return made
    return None


def _decode_json(data: bytes) -> Message:
    return json.loads(data.decode("utf-8"), parse_constant=float)
