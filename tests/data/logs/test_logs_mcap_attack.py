"""A hostile MCAP: whatever it claims, memory and time stay bounded, the fault is named, and the rest is read."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lz4.frame
import numpy as np
import pytest
import zstandard
from google.protobuf import descriptor_pb2
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.opcode import Opcode
from mcap.writer import CompressionType, Writer

from worldgate.core.errors import LogUnreadable, WorldgateError
from worldgate.data.logs import _mcap_chunks as chunks
from worldgate.data.logs import _ros2 as ros2
from worldgate.data.logs._limits import Limits
from worldgate.data.logs._mcap_summary import MAGIC
from worldgate.data.logs.mcap import McapLog

MIB = 1 << 20

pytestmark = pytest.mark.timeout(60)


# -------------------------------------------------------------------- building a file record by record


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<I", len(data)) + data


def record(opcode: int, body: bytes, length: int | None = None) -> bytes:
    return struct.pack("<BQ", opcode, len(body) if length is None else length) + body


def schema(id: int, name: str, encoding: str, data: bytes) -> bytes:
    body = struct.pack("<H", id) + text(name) + text(encoding) + struct.pack("<I", len(data)) + data
    return record(Opcode.SCHEMA, body)


def channel(id: int, topic: str, encoding: str = "json", schema_id: int = 0) -> bytes:
    return record(Opcode.CHANNEL, struct.pack("<HH", id, schema_id) + text(topic) + text(encoding) + b"\0\0\0\0")


def message(id: int, log_ns: int, data: bytes, publish_ns: int | None = None) -> bytes:
    stamps = struct.pack("<HIQQ", id, 0, log_ns, log_ns if publish_ns is None else publish_ns)
    return record(Opcode.MESSAGE, stamps + data)


def number(id: int, log_ns: int, value: float) -> bytes:
    return message(id, log_ns, json.dumps({"v": value}).encode())


def chunk(records: bytes, compression: str = "", *, claimed: int | None = None, packed: bytes | None = None) -> bytes:
    pack = {"": bytes, "zstd": zstandard.compress, "lz4": lz4.frame.compress}
    data = pack[compression](records) if packed is None else packed
    size = len(records) if claimed is None else claimed
    head = struct.pack("<QQQI", 1, 2, size, zlib.crc32(records) if packed is None and claimed is None else 0)
    return record(Opcode.CHUNK, head + text(compression) + struct.pack("<Q", len(data)) + data)


def file(path: Path, *records: bytes) -> Path:
    header = record(Opcode.HEADER, text("") + text("attacker"))
    end = record(Opcode.DATA_END, bytes(4)) + record(Opcode.FOOTER, bytes(20))
    path.write_bytes(MAGIC + header + b"".join(records) + end + MAGIC)
    return path


GOOD = chunk(channel(1, "/good") + number(1, 10, 1.0) + number(1, 11, 2.0), "zstd")
AFTER = chunk(number(1, 12, 3.0), "zstd")


def still_reads(log: McapLog, values: list[float] | None = None) -> None:
    assert log.read("good").array[:, 0].tolist() == (values or [1.0, 2.0, 3.0])


@contextmanager
def within(most: int) -> Iterator[None]:
    """Python's allocations stay below ``most`` bytes."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


# -------------------------------------------------------------------- sizes


@pytest.mark.parametrize("claimed", [100 << 30, 2**64 - 1, (1 << 29) + 1])
@pytest.mark.parametrize("compression", ["zstd", "lz4", ""])
def test_a_chunk_that_claims_a_hundred_gigabytes_is_lost_and_the_others_are_read(
    tmp_path: Path, claimed: int, compression: str
) -> None:
    bomb = chunk(bytes(1000), compression, claimed=claimed)
    with within(4 * MIB):
        log = McapLog(file(tmp_path / "a.mcap", GOOD, bomb, AFTER))
    (finding,) = log.findings
    assert finding.check == "data_lost"
    assert f"claims {claimed} bytes" in finding.message and "chunk_bytes" in finding.message
    still_reads(log)


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize("sized", [True, False])
def test_a_chunk_that_unpacks_to_more_than_it_claims_is_stopped(tmp_path: Path, compression: str, sized: bool) -> None:
    zeros = bytes(64 * MIB)
    if compression == "zstd":
        packed = zstandard.ZstdCompressor(write_content_size=sized).compress(zeros)
    else:
        packed = lz4.frame.compress(zeros, store_size=sized)
    path = file(tmp_path / "a.mcap", GOOD, chunk(b"", compression, claimed=5000, packed=packed), AFTER)
    with within(4 * MIB):
        log = McapLog(path)
    assert [f.check for f in log.findings] == ["data_lost"]
    still_reads(log)


def test_chunks_that_unpack_to_more_than_all_of_them_may_are_stopped(tmp_path: Path) -> None:
    filler = message(1, 9, bytes(MIB))
    bombs = [chunk(filler, "zstd") for _ in range(30)]
    path = file(tmp_path / "a.mcap", GOOD, *bombs)
    log = McapLog(path, limits=Limits(total_bytes=8 * MIB, total_ratio=1))
    assert 20 <= len(log.findings) <= 24
    assert all("total_bytes" in f.message for f in log.findings)
    assert len(McapLog(path).findings) == 0


def test_the_ceiling_of_a_chunk_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file(tmp_path / "a.mcap", GOOD, chunk(message(1, 9, b'{"v": 0}' + b" " * MIB), "zstd"), AFTER)
    assert McapLog(path).findings == ()
    assert "chunk_bytes=1000" in McapLog(path, limits=Limits(chunk_bytes=1000)).findings[0].message
    monkeypatch.setenv("WORLDGATE_LIMITS", "chunk_bytes=1000")
    assert len(McapLog(path).findings) == 1


def test_a_hundred_gigabytes_are_refused_in_a_process_that_has_one(tmp_path: Path) -> None:
    """The operating system's own limit, beside Python's count of its allocations."""
    zeros = zstandard.compress(bytes(1 << 28))
    parts = [chunk(b"", "zstd", claimed=100 << 30), chunk(b"", "zstd", claimed=1 << 28, packed=zeros[:-9])]
    path = file(tmp_path / "a.mcap", GOOD, *parts, AFTER)
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from worldgate.data.logs.mcap import McapLog\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2)\n"
        "log = McapLog(Path(sys.argv[1]))\n"
        "print(len(log.findings), log.read('good').array[:, 0].tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True)
    assert done.stdout.strip() == "2 [1.0, 2.0, 3.0]", done.stderr


def test_more_messages_than_the_limit_are_lost_and_named(tmp_path: Path) -> None:
    path = file(tmp_path / "a.mcap", GOOD, AFTER, chunk(number(1, 13, 4.0) * 5))
    log = McapLog(path, limits=Limits(messages=4))
    assert "limit messages=4" in log.findings[0].message
    still_reads(log)


@pytest.mark.parametrize("size", [9, 31, 100])
def test_a_chunk_of_nothing_but_tiny_records_is_quick(tmp_path: Path, size: int) -> None:
    tiny = record(0x7F, bytes(size - 9)) if size != 31 else message(2, 1, b"")
    path = file(tmp_path / "a.mcap", GOOD, chunk(channel(2, "/tiny") + tiny * (20 * MIB // size), "zstd"), AFTER)
    log = McapLog(path)
    still_reads(log)
    assert len(log.findings) == 1


# -------------------------------------------------------------------- records


def test_an_attachment_of_absurd_size_is_read_past_in_pieces(tmp_path: Path) -> None:
    body = struct.pack("<QQ", 1, 2) + text("a") + text("b") + struct.pack("<Q", 24 * MIB) + bytes(24 * MIB)
    whole = record(Opcode.ATTACHMENT, body + struct.pack("<I", zlib.crc32(body)))
    damaged = record(Opcode.ATTACHMENT, body[:-1] + b"x" + struct.pack("<I", zlib.crc32(body)))
    path = file(tmp_path / "a.mcap", GOOD, whole, AFTER)
    with within(8 * MIB):
        log = McapLog(path, limits=Limits(record_bytes=MIB))
    assert log.findings == ()
    still_reads(log)
    log = McapLog(file(tmp_path / "b.mcap", GOOD, damaged, AFTER))
    assert "attachment whose CRC differs" in log.findings[0].message
    still_reads(log)


@pytest.mark.parametrize("opcode", [Opcode.ATTACHMENT, Opcode.CHUNK, Opcode.METADATA, Opcode.MESSAGE])
@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 1 << 40, 5000])
def test_a_record_longer_than_the_file_ends_the_reading_and_nothing_before_it(
    tmp_path: Path, opcode: Opcode, length: int
) -> None:
    path = file(tmp_path / "a.mcap", GOOD, record(opcode, b"abc", length))
    with within(4 * MIB):
        log = McapLog(path)
    assert [f.check for f in log.findings] == ["data_lost"]
    still_reads(log, [1.0, 2.0])


def test_a_record_beyond_the_limit_is_passed_over(tmp_path: Path) -> None:
    metadata = record(Opcode.METADATA, text("x" * 3 * MIB) + bytes(4))
    log = McapLog(file(tmp_path / "a.mcap", GOOD, metadata, AFTER), limits=Limits(record_bytes=2 * MIB))
    assert "record_bytes" in log.findings[0].message
    still_reads(log)


def test_unknown_records_are_skipped_and_named_and_an_opcode_of_zero_is_damage(tmp_path: Path) -> None:
    log = McapLog(file(tmp_path / "a.mcap", GOOD, record(0x55, b"future"), AFTER))
    assert "unknown type 0x55" in log.findings[0].message
    still_reads(log)
    log = McapLog(file(tmp_path / "b.mcap", GOOD, record(0, b"nothing"), AFTER))
    still_reads(log, [1.0, 2.0])
    assert log.findings[0].check == "data_lost"


def test_records_that_do_not_belong_into_a_chunk_are_skipped_and_named(tmp_path: Path) -> None:
    inner = chunk(number(1, 99, 9.0)) + record(0x66, b"x") + record(Opcode.HEADER, b"")
    log = McapLog(file(tmp_path / "a.mcap", GOOD, chunk(inner + number(1, 12, 3.0), "zstd")))
    assert [f.value for f in log.findings] == [3.0]
    still_reads(log)


@pytest.mark.parametrize("compression", ["", "zstd", "lz4"])
def test_empty_chunks_are_no_fault(tmp_path: Path, compression: str) -> None:
    packed = None if compression == "" else b""
    empty = chunk(b"", compression, packed=packed)
    log = McapLog(file(tmp_path / "a.mcap", empty, GOOD, empty, AFTER, chunk(b"", compression)))
    assert log.findings == ()
    still_reads(log)


def test_a_hundred_thousand_damaged_chunks_are_told_in_a_hundred_findings(tmp_path: Path) -> None:
    log = McapLog(file(tmp_path / "a.mcap", GOOD, record(Opcode.CHUNK, b"") * 100_000, AFTER))
    assert len(log.findings) == 101
    assert log.findings[-1].message == "99900 more losses, 899100 bytes together"
    still_reads(log)


# -------------------------------------------------------------------- indexes


def indexed(path: Path, entries: list[tuple[int, int]], id: int = 1) -> McapLog:
    flat = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    index = record(Opcode.MESSAGE_INDEX, struct.pack("<HI", id, len(flat)) + flat)
    return McapLog(file(path, GOOD, index, AFTER))


def test_a_message_index_is_held_against_its_chunk_and_never_followed(tmp_path: Path) -> None:
    first = len(channel(1, "/good"))
    second = first + len(number(1, 10, 1.0))
    assert indexed(tmp_path / "a.mcap", [(10, first), (11, second)]).findings == ()
    assert indexed(tmp_path / "b.mcap", [(11, second), (10, first)]).findings == ()
    wrong = [
        [(10, first), (11, 2**64 - 1)],
        [(10, first), (11, first)],
        [(10, first)],
        [],
        [(10, second), (11, first)],
        [(10, first), (12, second)],
        [(10, first), (11, second)] * 2,
    ]
    for place, entries in enumerate(wrong):
        log = indexed(tmp_path / f"{place}.mcap", entries)
        assert "1 message indexes disagree" in log.findings[0].message
        still_reads(log)
    assert indexed(tmp_path / "c.mcap", [(10, first)], id=7).findings


def test_a_chunk_index_may_point_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    with path.open("wb") as out:
        writer = Writer(out, chunk_size=60, compression=CompressionType.NONE)
        writer.start()
        topic = writer.register_channel("/good", "json", 0)
        for i in range(20):
            writer.add_message(topic, log_time=i, data=b'{"v": %d}' % i, publish_time=i)
        index = writer._Writer__chunk_indices  # type: ignore[attr-defined]
        index[1].chunk_start_offset = 2**64 - 1
        index[2].chunk_start_offset = 5
        index[3].chunk_start_offset = index[0].chunk_start_offset + 3
        writer.finish()  # type: ignore[no-untyped-call]
    assert McapLog(path).read("good").array[:, 0].tolist() == list(range(20))
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b'{"v": 9}') - 40] ^= 0xFF
    path.write_bytes(bytes(damaged))
    log = McapLog(path)
    assert log.findings
    assert len(log.read("good")) < 20


# -------------------------------------------------------------------- channels, schemas, clocks


def test_an_id_with_two_meanings_is_two_streams(tmp_path: Path) -> None:
    name = "std_msgs/msg/Float64MultiArray"
    array = ros2.encoder("std_msgs/Float64MultiArray")({"layout": {"dim": [], "data_offset": 0}, "data": [7.0, 8.0]})
    again = schema(5, name, "ros2msg", ros2.definition("std_msgs/Float64MultiArray").encode())
    redefined = chunk(
        number(1, 12, 3.0) + again + channel(1, "/other", "cdr", 5) + message(1, 13, array) + message(1, 14, array)
    )
    log = McapLog(file(tmp_path / "a.mcap", GOOD, redefined, chunk(message(1, 15, array))))
    still_reads(log)
    assert log.read("other").array.tolist() == [[7.0, 8.0]] * 3
    assert log.read("other").times_ns.tolist() == [13, 14, 15]
    (finding,) = log.findings
    assert "given two meanings" in finding.message and "/good, then /other" in finding.message


def test_a_schema_that_changes_leaves_the_channels_before_it_alone(tmp_path: Path) -> None:
    def point(*values: float) -> bytes:
        return b"\0\1\0\0" + struct.pack(f"<{len(values)}d", *values)

    one, two = schema(1, "p/msg/P", "ros2msg", b"float64 x"), schema(1, "p/msg/P", "ros2msg", b"float64 x\nfloat64 y")
    log = McapLog(
        file(
            tmp_path / "a.mcap",
            chunk(one + channel(1, "/a", "cdr", 1) + message(1, 1, point(1.0))),
            chunk(two + channel(2, "/b", "cdr", 1) + message(2, 2, point(2.0, 3.0)) + message(1, 3, point(4.0))),
        )
    )
    assert log.read("a").array.tolist() == [[1.0], [4.0]]
    assert log.read("b").array.tolist() == [[2.0, 3.0]]
    assert "schema 1" in log.findings[0].message


def test_all_ids_on_one_topic_are_opened_in_time(tmp_path: Path) -> None:
    count = 5_000
    body = b"".join(channel(i, "/same") + number(i, i, 1.0) for i in range(1, count))
    log = McapLog(file(tmp_path / "a.mcap", chunk(body)))
    names = [info.name for info in log.streams()]
    assert len(set(names)) == count - 1
    assert names[:3] == ["same", "same#2", "same#3"]


def test_redefinition_without_end_ends(tmp_path: Path) -> None:
    flips = b"".join(channel(1, f"/{i}") for i in range(70_000))
    log = McapLog(file(tmp_path / "a.mcap", GOOD, chunk(flips), AFTER))
    assert any("without end" in f.message for f in log.findings)
    assert log.read("good").array[:, 0].tolist()[:2] == [1.0, 2.0]


def big_protobuf() -> bytes:
    out = descriptor_pb2.FileDescriptorSet()
    made = out.file.add(name="a.proto", package="a", syntax="proto3").message_type.add(name="B")
    for i in range(100_000):
        made.field.add(name=f"f{i}", number=i + 1, type=1, label=1)
    return bytes(out.SerializeToString())


@pytest.mark.parametrize(
    ("name", "encoding", "message_encoding", "data"),
    [
        ("a/msg/B", "ros2msg", "cdr", b"a/B b"),
        ("a/msg/B", "ros2msg", "cdr", "\n".join(f"int8 f{i}" for i in range(10**6)).encode()),
        ("a/msg/B", "ros2msg", "cdr", b"\n" * (2 * MIB)),
        ("a/msg/B", "ros2msg", "cdr", b"\xff\xfe"),
        ("a.B", "protobuf", "protobuf", big_protobuf()),
        ("a.B", "protobuf", "protobuf", b"\x0a\xff\xff\xff\xff\x0f"),
        ("a.B", "jsonschema", "flatbuffer", b"x"),
        ("", "", "\u2603" * 1000, b""),
    ],
)
def test_a_schema_bomb_costs_its_channel_and_no_more(
    tmp_path: Path, name: str, encoding: str, message_encoding: str, data: bytes
) -> None:
    bad = chunk(schema(9, name, encoding, data) + channel(9, "/bad", message_encoding, 9) + message(9, 1, bytes(64)))
    log = McapLog(file(tmp_path / "a.mcap", GOOD, bad, AFTER))
    still_reads(log)
    assert [info.name for info in log.streams()] == ["good"]
    assert [(f.check, f.stream, f.value) for f in log.findings] == [("undecodable", "/bad", 1.0)]


@pytest.mark.parametrize(
    "payload",
    [b'{"v": ' + b"[" * 100_000, b'{"v": 1e999999}', b'{"v": ' + b"9" * 100_000 + b"}", b"{" * 50, b"\xff\xff", b""],
)
def test_json_bombs_are_named(tmp_path: Path, payload: bytes) -> None:
    log = McapLog(file(tmp_path / "a.mcap", GOOD, chunk(channel(2, "/bad") + message(2, 1, payload)), AFTER))
    still_reads(log)
    assert log.findings or log.read("bad").array.tolist() == [[np.inf]]


def test_a_message_too_long_to_take_apart_is_named(tmp_path: Path) -> None:
    long = chunk(channel(2, "/long") + message(2, 1, b"[" + b"0," * MIB + b"0]"), "zstd")
    path = file(tmp_path / "a.mcap", GOOD, long, AFTER)
    log = McapLog(path, limits=Limits(message_bytes=MIB))
    assert "message_bytes" in log.findings[0].message
    still_reads(log)


def test_clocks_that_reset_and_step_back_are_read_as_they_stand(tmp_path: Path) -> None:
    stamps = [1_700_000_000 * 10**9, 5, 0, 1_700_000_001 * 10**9, 1_600_000_000 * 10**9, 2**63 - 1]
    write = ros2.encoder("sensor_msgs/JointState")
    headers = [100, -50, 0, -(2**31) * 10**9, 99, 101]
    rows = [
        message(2, stamp, write({"header": ros2.header(header, "b"), "name": ["j"], "position": [float(i)]}))
        for i, (stamp, header) in enumerate(zip(stamps, headers, strict=True))
    ]
    definition = ros2.definition("sensor_msgs/JointState").encode()
    setup = schema(2, "sensor_msgs/msg/JointState", "ros2msg", definition) + channel(2, "/j", "cdr", 2)
    log = McapLog(file(tmp_path / "a.mcap", chunk(setup + b"".join(rows))))
    stream = log.read("j.position")
    assert stream.times_ns.tolist() == headers
    assert stream.log_times_ns is not None and stream.log_times_ns.tolist() == stamps
    assert stream.array[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert len(log.read("j.position", (-100, 1))) == 2
    assert log.findings == ()
    beyond = chunk(number(1, 2**63, 1.0))
    log = McapLog(file(tmp_path / "b.mcap", GOOD, beyond, AFTER))
    assert "beyond int64" in log.findings[0].message
    still_reads(log)


# -------------------------------------------------------------------- mutation


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.sampled_from([0, 0, 0, 0, 5, 22, 300]), min_size=1, max_size=400), cut=st.integers(0, 12))
def test_the_walk_by_runs_is_the_walk_record_by_record(sizes: list[int], cut: int) -> None:
    data = b"".join(record(0x05 if size != 5 else 0x03, bytes(size)) * (1 + 40 * (size == 300)) for size in sizes)
    expected, at = [], 0
    while at < len(data):
        expected.append(at)
        at += 9 + struct.unpack_from("<Q", data, at + 1)[0]
    assert chunks.record_starts(data).tolist() == expected
    if 0 < cut < 9:
        with pytest.raises(ValueError, match="outside"):
            chunks.record_starts(data[:-cut])


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Every kind of message without any CRC or compression, so that damage reaches the decoders."""
    path = tmp_path_factory.mktemp("attack") / "a.mcap"
    with path.open("wb") as out:
        writer = Writer(out, chunk_size=3000, compression=CompressionType.NONE, enable_crcs=False)
        writer.start(library="recorder")
        rows: dict[str, list[dict[str, Any]]] = {
            "sensor_msgs/JointState": [
                {"header": ros2.header(7 + i, "b"), "name": ["a", "bc"], "position": [i, 1.0], "effort": [0.5, i]}
                for i in range(12)
            ],
            "geometry_msgs/PoseStamped": [{"header": ros2.header(9 + i, "map")} for i in range(12)],
            "std_msgs/Float64MultiArray": [{"data": [1.0, 2.0, float(i)]} for i in range(12)],
            "std_msgs/String": [{"data": "x" * i} for i in range(12)],
            "sensor_msgs/Image": [
                {
                    "header": ros2.header(i, "c"),
                    "height": 4,
                    "width": 4,
                    "step": 12,
                    "encoding": "rgb8",
                    "data": bytes(48),
                }
                for i in range(12)
            ],
        }
        for name, messages in rows.items():
            id = writer.register_schema(ros2.schema_name(name), "ros2msg", ros2.definition(name).encode())
            topic = writer.register_channel(f"/{name.split('/')[1]}", "cdr", id)
            for i, fields in enumerate(messages):
                writer.add_message(topic, log_time=i, data=ros2.encoder(name)(fields), publish_time=i)
        plain = writer.register_channel("/json", "json", 0)
        for i in range(12):
            writer.add_message(plain, log_time=i, data=b'{"v": %d, "w": 2}' % i, publish_time=i)
        writer.finish()  # type: ignore[no-untyped-call]
    assert len(McapLog(path).streams()) == 7
    return path.read_bytes()


@pytest.mark.parametrize("start", [1, 2**40, 2**63, 2**64 - 1])
def test_a_footer_that_points_outside_the_file_is_read_past(tmp_path: Path, start: int) -> None:
    whole = file(tmp_path / "a.mcap", channel(1, "/n"), number(1, 5, 2.5))
    data = whole.read_bytes()
    place = len(data) - len(MAGIC) - 20
    whole.write_bytes(data[:place] + struct.pack("<Q", start) + data[place + 8 :])
    assert [info.count for info in McapLog(whole).streams()] == [1]


@settings(max_examples=250, deadline=None)
@given(
    edits=st.lists(
        st.tuples(
            st.floats(0, 1, exclude_max=True),
            st.sampled_from(["set", "cut", "copy", "long"]),
            st.integers(0, 255),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_mutations_that_no_crc_tells_raise_nothing_but_our_errors(
    edits: list[tuple[float, str, int]], unguarded: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray(unguarded)
    for place, kind, value in edits:
        at = int(place * len(data))
        if kind == "set":
            data[at : at + 1] = bytes([value])
        elif kind == "cut":
            del data[at : at + value]
        elif kind == "copy":
            data[at:at] = data[at // 2 : at // 2 + value]
        else:
            data[at : at + 4] = struct.pack("<I", 0xFFFFFF00 | value)
    path = tmp_path_factory.getbasetemp() / "mutated.mcap"
    path.write_bytes(bytes(data))
    try:
        log = McapLog(path)
    except LogUnreadable:
        return
    for info in log.streams():
        try:
            stream = log.read(info.name)
            assert len(stream) == info.count
            stream.content_digest()
            if not isinstance(stream.values, np.ndarray):
                stream.frames.read(np.arange(len(stream), dtype=np.int64))
        except WorldgateError:
            pass
