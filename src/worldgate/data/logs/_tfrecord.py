"""TFRecord framing and ``tf.train.Example``, without TensorFlow.

A record is: length (uint64), masked CRC-32C of the length, data, masked CRC-32C of the data.
Source: https://www.tensorflow.org/tutorials/load_data/tfrecord; the message is described at run time to the protobuf
package from ``tensorflow/core/example/{example,feature}.proto``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Final

import google_crc32c
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from worldgate.core.errors import LogUnreadable

_HEAD: Final = struct.Struct("<QI")
_TAIL: Final = struct.Struct("<I")
MAX_RECORD: Final = 1 << 31
_PIECE: Final = 1 << 20
_Field = descriptor_pb2.FieldDescriptorProto


@dataclass(frozen=True, slots=True)
class Span:
    """Where a record's data lies in its file, or a stretch that cannot be read."""

    offset: int
    size: int
    problem: str = ""
    """Empty: whole and its CRC agrees."""


def masked_crc(data: bytes) -> int:
    """CRC-32C, rotated and offset, as TFRecord stores it."""
    return _masked(google_crc32c.value(data))


def _crc_of(file: BinaryIO, length: int) -> int:
    """The same of the file's next bytes, which are not held together."""
    crc, left = 0, length
    while left > 0 and (piece := file.read(min(left, _PIECE))):
        crc = google_crc32c.extend(crc, piece)
        left -= len(piece)
    return _masked(crc)


def _masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def scan(path: Path) -> Iterator[Span]:
    """Walk a file: each record and each unreadable stretch; after a damaged length the rest is one stretch."""
    size = path.stat().st_size
    at = 0
    with path.open("rb") as file:
        while at < size:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                yield Span(at, size - at, "the file ends inside a record's head")
                return
            length, crc = _HEAD.unpack(head)
            end = at + _HEAD.size + length + _TAIL.size
            if masked_crc(head[:8]) != crc:
                yield Span(at, size - at, "a damaged record length")
                return
            if length > MAX_RECORD or end > size:
                yield Span(at, size - at, "the file ends inside a record")
                return
            good = _crc_of(file, length) == _TAIL.unpack(file.read(_TAIL.size))[0]
            yield Span(at + _HEAD.size, length, "" if good else "a record whose CRC differs")
            at = end


def read(path: Path, span: Span) -> Any:
    """Read and parse one record as ``tf.train.Example``.

    Raises:
        LogUnreadable: the file changed, or the record is no Example.
    """
    try:
        with path.open("rb") as file:
            file.seek(span.offset)
            data = file.read(span.size)
        example = _example()()
        example.ParseFromString(data)
    except (OSError, DecodeError) as error:
        raise LogUnreadable("a record that is no tf.train.Example", got=str(error)[:80], where=path) from error
    return example


@cache
def _example() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="worldgate/example.proto", package="tensorflow", syntax="proto3")
    lists = (("BytesList", _Field.TYPE_BYTES), ("FloatList", _Field.TYPE_FLOAT), ("Int64List", _Field.TYPE_INT64))
    feature = descriptor_pb2.DescriptorProto(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, kind) in enumerate(lists, start=1):
        message = file.message_type.add(name=name)
        message.field.add(name="value", number=1, type=kind, label=_Field.LABEL_REPEATED)
        field = f"{name[:-4].lower()}_list"
        feature.field.add(
            name=field,
            number=number,
            type=_Field.TYPE_MESSAGE,
            label=_Field.LABEL_OPTIONAL,
            type_name=f".tensorflow.{name}",
            oneof_index=0,
        )
    file.message_type.append(feature)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
    _message_field(entry, "value", 2, ".tensorflow.Feature")
    _message_field(features, "feature", 1, ".tensorflow.Features.FeatureEntry", _Field.LABEL_REPEATED)
    _message_field(file.message_type.add(name="Example"), "features", 1, ".tensorflow.Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


def _message_field(
    message: descriptor_pb2.DescriptorProto,
    name: str,
    number: int,
    type_name: str,
    label: descriptor_pb2.FieldDescriptorProto.Label.ValueType = _Field.LABEL_OPTIONAL,
) -> None:
    message.field.add(name=name, number=number, type=_Field.TYPE_MESSAGE, label=label, type_name=type_name)
