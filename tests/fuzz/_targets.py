"""One harness a parser: each reads a file or folder whole and may raise nothing but our errors."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from mcap.records import Channel, Schema

from worldgate.core import seams
from worldgate.core.digest import sha256
from worldgate.core.errors import WorldgateError
from worldgate.core.streams import Kind

FRAMES = 3
"""Pictures of a stream that are decoded."""


def log_format(name: str) -> Callable[[Path], None]:
    from worldgate.data.logs import open_as

    def read(path: Path) -> None:
        module: Any = seams.load("logs", name)
        module.detect(path)
        folder = open_as(name, path)
        if hasattr(module, "units"):
            module.units(path)
        for log in folder.logs:
            for info in log.streams():
                try:
                    stream = log.read(info.name)
                    assert len(stream.times_ns) == info.count == len(stream), f"{info.name}: rows and count differ"
                    assert stream.times_ns.dtype == np.int64
                    log.read(info.name, (int(stream.times_ns[0]), int(stream.times_ns[0]) + 1) if info.count else None)
                    if isinstance(stream.values, np.ndarray):
                        stream.content_digest()
                    else:
                        stream.frames.read(np.arange(min(info.count, FRAMES), dtype=np.int64))
                except WorldgateError:
                    continue

    return read


def label_format(name: str) -> Callable[[Path], None]:
    from tests.fuzz._corpus import LABELS

    from worldgate.data.labelling.desk import Desk, Timing
    from worldgate.data.labelling.schema import from_tree
    from worldgate.data.labels import load_format

    t0, step = 1_800_000_000_000_000_000, 40_000_000
    frames = t0 + np.arange(100, dtype=np.int64) * step
    log = Timing(
        digest=sha256(b"1"), name="run-7.mcap", start_ns=t0, end_ns=t0 + 100 * step, camera="front", frames_ns=frames
    )
    desk = Desk(schema=from_tree(LABELS, where="push"), logs=(log,))
    module = load_format(name)

    def read(path: Path) -> None:
        module.detect(path)
        found = module.read_labels(path, desk)
        # What was read can be written: a set that cannot is one that should not have been taken.
        target = path.with_name("written.json")
        try:
            if found.sets:
                module.write_labels(target, found.sets, desk)
        finally:
            target.unlink(missing_ok=True)

    return read


def contract() -> Callable[[Path], None]:
    from worldgate.data import contracts

    return lambda path: void(contracts.read(path))


def label_schema() -> Callable[[Path], None]:
    from worldgate.data.labelling import schema

    return lambda path: void(schema.read(path))


def images() -> Callable[[Path], None]:
    from worldgate.data.logs import _images
    from worldgate.data.logs._image_size import stated_shape

    def read(path: Path) -> None:
        data, kind = path.read_bytes(), path.suffix[1:]
        compressed = _images.Encoded(data=data, format=kind)
        stated_shape(compressed)
        sizes = np.frombuffer(data[:8].ljust(8, b"\0"), "<u2").astype(int)
        raw = [
            _images.Encoded(data=data, format=name, height=h, width=w, step=step, bigendian=bool(sizes[3] & 1))
            for name, h, w, step in (
                *((name, 8, 8, 0) for name in _images._RAW),
                *((name, int(sizes[0]), int(sizes[1]), int(sizes[2])) for name in _images._RAW),
            )
        ]
        for image in (compressed, *raw):
            attempt(_images.decode, image, Kind.IMAGE)
            attempt(_images.decode, image, _images.kind_of(image))
        attempt(_images.decode, compressed, Kind.DEPTH)
        attempt(_images.decode_into, compressed, np.zeros((8, 8, 3), np.uint8))

    return read


def definition() -> Callable[[Path], None]:
    from worldgate.data.logs._mcap_decode import codec

    def read(path: Path) -> None:
        encoding = path.suffix[1:]
        message = {"ros1msg": "ros1", "jsonschema": "json"}.get(encoding, "cdr")
        channel = Channel(id=1, topic="/x", message_encoding=message, metadata={}, schema_id=1)
        made = codec(channel, Schema(id=1, name="pkg/msg/Top", encoding=encoding, data=path.read_bytes()))
        if made is not None:
            for payload in (b"\0\1\0\0" + bytes(64), b"\0\1\0\0" + b"\xff" * 64, b""):
                decode_quietly(made.decode, payload)

    return read


def cdr() -> Callable[[Path], None]:
    from rosbags.typesys import Stores, get_typestore

    from worldgate.data.logs._columns import ChannelReader
    from worldgate.data.logs._mcap_decode import codec
    from worldgate.data.logs._messages import ArrayOf, Numbers

    store = get_typestore(Stores.ROS2_HUMBLE)

    def read(path: Path) -> None:
        kind, payload = path.stem.replace("-", "/"), path.read_bytes()
        text = store.generate_msgdef(kind, ros_version=2)[0].encode()
        channel = Channel(id=1, topic="/x", message_encoding="cdr", metadata={}, schema_id=1)
        made = codec(channel, Schema(id=1, name=kind, encoding="ros2msg", data=text))
        assert made is not None
        decode_quietly(made.decode, payload)
        if made.definition is None:
            return
        fields = made.definition.types[made.definition.root]
        known = [f for f in fields if f.primitive and f.type not in {"string", "uint8", "byte"}]
        numbers = [Numbers((f.name,)) if f.count == 0 else ArrayOf(f.name) for f in known]
        source: Any = SimpleNamespace(payloads=lambda channel, rows: (payload for _ in rows))
        reader = ChannelReader(source, 1, made.decode, made.definition)
        decode_quietly(reader.read, numbers, np.arange(5), stamps=any(f.name == "header" for f in fields))

    return read


def clip_cache() -> Callable[[Path], None]:
    from worldgate.data import codecs
    from worldgate.data.codecs._file import ClipFile

    def read(path: Path) -> None:
        file = ClipFile.open(path)
        try:
            reader = codecs.load(file.header.codec).reader(file)
        except WorldgateError:
            file.close()
            raise
        try:
            rows = np.arange(min(file.header.frames, FRAMES))
            if file.header.frame_bytes < 1 << 20:
                reader.into(rows, np.zeros((len(rows), *file.header.shape), file.header.dtype))
        finally:
            reader.close()

    return read


def episode_cache() -> Callable[[Path], None]:
    from worldgate.data import episode_cache as cache

    summary = SimpleNamespace(name="state", count=9)
    record = SimpleNamespace(streams=(summary,), name="x", origin=None, facts={})
    shelf: Any = SimpleNamespace(record=lambda log: record)
    return lambda path: void(cache.load(path, shelf, "e", "log"))


def attempt(call: Callable[..., Any], *args: Any, **more: Any) -> None:
    """A call of which one may fail without ending the input."""
    try:
        call(*args, **more)
    except WorldgateError:
        return


def decode_quietly(decode: Callable[..., Any], *args: Any, **more: Any) -> None:
    """Decoders may raise anything but for want of memory: the container makes a named LogUnreadable of it."""
    try:
        decode(*args, **more)
    except MemoryError:
        raise
    except Exception:
        return


def void(_: object) -> None:
    return


def records(name: str, data: bytes) -> bytes:
    """One TFRecord around a damaged example: behind a wrong CRC nothing would be read."""
    from tests.data.logs.samples import frame_record

    return frame_record(data[12:-4]) if ".tfrecord" in name else data


def clip_digest(name: str, data: bytes) -> bytes:
    """Header and table under the digest they have now, so that what they say is looked at."""
    if len(data) < 48:
        return data
    length = struct.unpack_from("<Q", data, 8)[0]
    if length > len(data):
        return data
    text = data[48 : 48 + length]
    entries = data[48 + length : 48 + length + 4 * 20]
    return data[:16] + bytes.fromhex(sha256(text, entries)) + data[48:]


REPAIR: dict[str, Callable[[str, bytes], bytes]] = {"rlds": records, "clip_cache": clip_digest}
"""What makes a damaged file pass its checksums; done to every second input."""

NOT_A_LOG: dict[str, Callable[[], Callable[[Path], None]]] = {
    "cdr": cdr,
    "clip_cache": clip_cache,
    "contract": contract,
    "definition": definition,
    "episode_cache": episode_cache,
    "images": images,
    "label_schema": label_schema,
    "labelstudio": lambda: label_format("labelstudio"),
    "openlabel": lambda: label_format("openlabel"),
}


def reader(target: str) -> Callable[[Path], None]:
    """What reads the samples of a target."""
    if target in NOT_A_LOG:
        return NOT_A_LOG[target]()
    return log_format("rosbag" if target.startswith("rosbag") else target)
