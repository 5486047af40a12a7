"""From a payload to a message: ROS 2 CDR, ROS 1, protobuf and JSON, each by its reference decoder.

CDR whose types are given as ``ros2msg`` is decoded by mcap-ros2-support, whatever container it stands in; ROS 1 and
CDR with IDL by rosbags (the ``ros`` extra).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from mcap.records import Channel, Schema
from mcap_protobuf.decoder import DecoderFactory as ProtobufFactory
from mcap_ros2.decoder import DecoderFactory as Ros2Factory

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Kind
from worldgate.data.logs import _msgdef as msgdef
from worldgate.data.logs import _ros_types
from worldgate.data.logs._cdr import Flat, plain
from worldgate.data.logs._columns import ChannelReader
from worldgate.data.logs._limits import Limits
from worldgate.data.logs._messages import Message, Part
from worldgate.data.logs._msgdef import Definition
from worldgate.data.logs._ros1_columns import Ros1Reader

Decode: TypeAlias = Callable[[bytes], Message]

JSON_TEXT = Part(suffix="", kind=Kind.EVENT, value=str)
"""An event of ours: the payload is the text itself, kept to the byte."""


def decode_text(data: bytes) -> Message:
    """A payload that is UTF-8 text."""
    return data.decode("utf-8")


class _Strict(bytes):
    """A payload whose slices never end early: the reference decoder would take what is there and go on."""

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice) and key.stop > len(self):
            raise ValueError("a field that ends outside its message")
        return bytes.__getitem__(self, key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """How the messages of a channel are decoded."""

    decode: Decode
    """The reference decoder of their encoding."""
    definition: Definition | None = None
    """Of CDR messages: what lets many be read at once."""
    views: bool = False
    """Whether ``decode`` takes memory views, too."""
    reader: type[ChannelReader] = ChannelReader
    """What reads many messages of this encoding at once."""


def codec(channel: Channel, schema: Schema | None, limits: Limits | None = None) -> Codec | None:
    """How to decode a channel; None for an encoding that is not read (FlatBuffers, CBOR).

    Raises:
        MissingExtra: ROS 1 or ROS IDL, and rosbags is not installed.
        LogUnreadable: a definition that does not parse, or is beyond the limits.
    """
    limits = limits or Limits.from_environment()
    if channel.message_encoding == "json":
        return Codec(decode=_within(_decode_json, limits))
    if schema is not None and len(schema.data) > limits.schema_bytes:
        raise LogUnreadable(f"a message definition of {len(schema.data)} bytes, more than schema_bytes")
    kinds = (channel.message_encoding, "" if schema is None else schema.encoding)
    if schema is not None and kinds == ("cdr", "ros2msg"):
        return _ros2_codec(schema.name, schema.data, limits)
    if schema is not None and kinds == ("ros1", "ros1msg"):
        text = _text(schema)
        return Codec(
            decode=_within(_ros_types.ros1_decoder(schema.name, text), limits),
            definition=_ros_types.ros1_definition(schema.name, text),
            reader=Ros1Reader,
        )
    if schema is not None and kinds == ("cdr", "ros2idl"):
        text = _text(schema)
        decode = _within(_ros_types.idl_decoder(schema.name, text), limits)
        return Codec(decode=decode, definition=_ros_types.idl_definition(schema.name, text))
    made: Decode | None = ProtobufFactory().decoder_for(channel.message_encoding, schema)
    return None if made is None else Codec(decode=_within(made, limits))


def _text(schema: Schema) -> str:
    try:
        return schema.data.decode()
    except UnicodeDecodeError as error:
        raise LogUnreadable("a message definition that is not UTF-8 text", got=schema.name[:60]) from error


@lru_cache(maxsize=256)
def _ros2_codec(name: str, data: bytes, limits: Limits) -> Codec:
    """The codec of a ``ros2msg`` definition; recordings with many topics repeat the same few."""
    try:
        text = msgdef.harmless(data.decode("utf-8"), limits)
        definition = msgdef.parse(name, text)
    except Exception as error:  # the vendored parser raises errors of its own that share no class
        raise LogUnreadable("a message definition that is not read", got=str(error)[:120]) from error
    schema = Schema(id=1, name=name, encoding="ros2msg", data=text.encode())
    reference = Ros2Factory().decoder_for("cdr", schema)
    assert reference is not None
    flat = Flat(definition) if Flat.suits(definition) else None
    strict = _within(lambda payload: reference(_Strict(payload)), limits)

    def decode(payload: bytes) -> Message:
        if not plain(payload):
            raise LogUnreadable(
                "a message that is not plain CDR", got=f"encapsulation {bytes(payload[:2]).hex() or 'none'}"
            )
        message = None if flat is None else flat(payload)
        return strict(payload) if message is None else message

    return Codec(decode=decode, definition=definition, views=True)


def _within(decode: Decode, limits: Limits) -> Decode:
    """Refuse a message that would become too many objects."""

    def within(payload: bytes) -> Message:
        if len(payload) > limits.message_bytes:
            raise LogUnreadable("a message longer than the limit message_bytes", got=f"{len(payload)} bytes")
        return decode(payload)

    return within


def _decode_json(data: bytes) -> Message:
    return json.loads(data.decode("utf-8"), parse_constant=float)
