"""From a payload to a message: ROS 2 CDR, protobuf and JSON, each by its reference decoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeAlias

from mcap.records import Channel, Schema
from mcap_protobuf.decoder import DecoderFactory as ProtobufFactory
from mcap_ros2.decoder import DecoderFactory as Ros2Factory

from worldgate.core.streams import Kind
from worldgate.data.logs._messages import Message, Part

Decode: TypeAlias = Callable[[bytes], Message]

JSON_TEXT = Part(suffix="", kind=Kind.EVENT, value=str)
"""An event of ours: the payload is the text itself, kept to the byte."""


def decode_text(data: bytes) -> Message:
    """A payload that is UTF-8 text."""
    return data.decode("utf-8")


def decoder(channel: Channel, schema: Schema | None) -> Decode | None:
    """The function from payload to message; None for an encoding that is not read (ROS IDL, FlatBuffers, CBOR)."""
    if channel.message_encoding == "json":
        return _decode_json
    for factory in (Ros2Factory(), ProtobufFactory()):
        made: Decode | None = factory.decoder_for(channel.message_encoding, schema)
        if made is not None:
            return made
    return None


def _decode_json(data: bytes) -> Message:
    return json.loads(data.decode("utf-8"), parse_constant=float)
