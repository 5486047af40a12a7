"""What fuzzing found, each as small as it can be shown. New ones stand below the older."""

from __future__ import annotations

import json
import resource
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mcap.records import Channel, Schema
from tests.data.logs import bag_samples, samples
from tests.fuzz import _corpus

from worldgate.core.config import read_toml, value_of
from worldgate.core.errors import ConfigError, DataRefused, LogUnreadable
from worldgate.core.streams import Kind, Origin
from worldgate.data import episode_cache
from worldgate.data.logs import _images as images
from worldgate.data.logs import _mapping as mapping
from worldgate.data.logs import _yaml as yaml
from worldgate.data.logs import open_folder
from worldgate.data.logs._mcap_decode import codec
from worldgate.data.logs._tables import TableFile

DEEP, LONG = "[" * 3000, "9" * 5000


@pytest.mark.parametrize("value", [DEEP, LONG])
def test_toml_too_deep_or_of_too_many_digits_is_not_valid_toml(tmp_path: Path, value: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(f"v = {value}\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_toml(file)
    assert mapping.meant(file, default="table") == "table", "detection never raises"


@pytest.mark.parametrize("value", [DEEP, LONG])
def test_set_with_a_value_beyond_the_parser_is_text(value: str) -> None:
    assert value_of(value) == value


def test_yaml_of_many_open_brackets_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    file = tmp_path / "metadata.yaml"
    file.write_text(f"a: {DEEP}")
    with pytest.raises(LogUnreadable, match="nested beyond 100 levels"):
        yaml.read_yaml(file)
    file.write_text(f"a: {'[' * 60}1{']' * 60}\nb: {[[1]] * 200}")
    assert len(yaml.read_yaml(file)["b"]) == 200


@pytest.mark.parametrize("size", ["1e999", float("inf"), None])
def test_a_tensor_of_no_size_is_refused(tmp_path: Path, size: object) -> None:
    root = samples.make_rlds(tmp_path / "set", episodes=1)
    text = (root / "features.json").read_text()
    changed = text.replace('"dimensions": ["2"]', f'"dimensions": [{json.dumps(size)}]')
    assert changed != text
    (root / "features.json").write_text(changed)
    with pytest.raises(DataRefused):
        for log in open_folder(root).logs:
            log.read("action")


def test_an_array_whose_header_ends_within_brackets_is_refused(tmp_path: Path) -> None:
    root = bag_samples.make_comma2k19(tmp_path / "drive")
    file = root / "processed_log" / "CAN" / "speed" / "value"
    data = file.read_bytes()
    file.write_bytes(data.replace(b"}", b"L", 1))
    with pytest.raises(LogUnreadable):
        open_folder(root)


def test_a_time_column_of_text_that_is_not_utf8_is_refused_by_row(tmp_path: Path) -> None:
    root = samples.make_table(tmp_path / "set", runs=1)
    file = root / "run_0" / "commands.parquet"
    held = pq.read_table(file)
    raw = pa.array([b"\xf4\xff"] * len(held), type=pa.binary())
    times = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
    pq.write_table(held.set_column(0, "t", times), file)
    described = root / "worldgate-log.toml"
    described.write_text(described.read_text().replace('time = "t"', 'time = "t"\ntime_unit = "iso"'))
    with pytest.raises(LogUnreadable, match="no time"):
        open_folder(root).logs[0].streams()


def test_a_damaged_page_of_a_parquet_file_is_refused(tmp_path: Path) -> None:
    root = bag_samples.make_openarm(tmp_path / "set", episodes=1)
    file = next(root.rglob("qpos.parquet"))
    data = bytearray(file.read_bytes())
    first = pq.ParquetFile(file).metadata.row_group(0).column(1)
    place = first.dictionary_page_offset or first.data_page_offset
    data[place : place + 24] = np.full(24, 255, np.uint8).tobytes()
    file.write_bytes(bytes(data))
    with pytest.raises(LogUnreadable):
        open_folder(root).logs[0].read("action.arms.left.qpos")


@pytest.mark.parametrize(("encoding", "definition"), [("ros1", "ros1msg"), ("cdr", "ros2idl"), ("cdr", "ros2msg")])
def test_a_definition_that_is_not_utf8_is_refused(encoding: str, definition: str) -> None:
    channel = Channel(id=1, topic="/x", message_encoding=encoding, metadata={}, schema_id=1)
    with pytest.raises(LogUnreadable):
        codec(channel, Schema(id=1, name="pkg/msg/Top", encoding=definition, data=b"int8 \xff"))


def test_a_damaged_connection_within_a_chunk_is_named_and_the_bag_is_read(tmp_path: Path) -> None:
    file = bag_samples.make_rosbag1(tmp_path / "a.bag")
    data = bytearray(file.read_bytes())
    place = data.index(b"message_definition=")
    data[place : place + 19] = b"message_definition!"
    # Behind a damaged index the chunk is listed from its own bytes, and the connection in it is read.
    index = data.index(b"op=\x04")
    data[data.index(b"ver=", index) + 4] = 7
    file.write_bytes(bytes(data))
    log = open_folder(file).logs[0]
    assert any("a damaged connection" in finding.message for finding in log.findings)
    assert {info.count for info in log.streams()} == {12}


@pytest.mark.parametrize("format", ["png", "webp"])
@pytest.mark.parametrize("claimed", [0xFFFA0145, 0x7FFFFFFF])
def test_a_png_whose_chunk_claims_gigabytes_costs_none(format: str, claimed: int) -> None:
    data = bytearray(images.encode(samples.pictures(1)[0], "png"))
    place = data.index(b"IDAT") - 4
    data[place : place + 4] = struct.pack(">I", claimed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for kind in (Kind.IMAGE, Kind.DEPTH):
        with pytest.raises(LogUnreadable, match="does not decode"):
            images.decode(images.Encoded(data=bytes(data), format=format), kind)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 18, "KiB"


@pytest.mark.parametrize("format", ["yuyv", "uyvy", "yuv422"])
def test_an_image_of_shared_colours_with_an_odd_width_is_refused(format: str) -> None:
    odd = images.Encoded(format=format, data=bytes(2 * 3 * 2), height=2, width=3, step=0, bigendian=False)
    with pytest.raises(LogUnreadable, match="share a colour"):
        images.decode(odd, Kind.IMAGE)


def test_a_parquet_file_with_a_column_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"grip": [1.0]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"grip", b"gr\x80p"))
    with pytest.raises(LogUnreadable):
        TableFile(path=path).check(["grip"])


def test_a_cached_episode_that_does_not_say_its_alignment_is_made_again(tmp_path: Path) -> None:
    _corpus.numbers_cache(tmp_path)
    cache = tmp_path / "numbers" / "cache"
    held = SimpleNamespace(name="a", origin=Origin.REAL, facts={}, streams=(SimpleNamespace(name="state", count=9),))
    shelf: Any = SimpleNamespace(record=lambda log: held)
    assert episode_cache.load(cache, shelf, "e", "log") is not None
    path = episode_cache.path_of(cache, "e")
    data = path.read_bytes()
    assert data.count(b"alignment") == 1
    path.write_bytes(data.replace(b"alignment", b"alignmenu"))
    assert episode_cache.load(cache, shelf, "e", "log") is None
