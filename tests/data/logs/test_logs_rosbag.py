"""ROS bags: the same streams whatever stores them, recorded order, and bad bags named instead of guessed at."""

from __future__ import annotations

import json
import shutil
import sqlite3
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore
from tests.data.logs import bag_samples as bags
from tests.data.logs import samples

from worldgate.core.errors import DataRefused, LogUnreadable, MissingExtra, WorldgateError
from worldgate.core.streams import Kind, Log, log_digest
from worldgate.data.ingest import ingest
from worldgate.data.logs import _ros_types as ros_types
from worldgate.data.logs import _rosbag1 as rosbag1
from worldgate.data.logs import open_folder
from worldgate.data.logs._messages import ArrayOf, Numbers
from worldgate.data.logs._ros1_columns import Ros1Reader
from worldgate.data.logs.mcap import McapLog

START = samples.START_NS


def only(path: Path) -> Log:
    (log,) = open_folder(path).logs
    return log


def checks(log: Log) -> list[str]:
    return [finding.check for finding in log.findings]


# -------------------------------------------------------------------- one identity


def test_one_recording_has_one_identity_whatever_stores_it(tmp_path: Path) -> None:
    made = {
        "sqlite": bags.make_rosbag2(tmp_path / "sqlite"),
        "mcap": bags.make_rosbag2(tmp_path / "mcap", storage="mcap"),
        "split": bags.make_split_rosbag2(tmp_path / "split"),
        "split mcap": bags.make_split_rosbag2(tmp_path / "splitmcap", "mcap"),
        "file": bags.make_rosbag2(tmp_path / "file", packed="file"),
        "messages": bags.make_rosbag2(tmp_path / "messages", packed="message"),
    }
    assert {name: log_digest(only(path)) for name, path in made.items()} == dict.fromkeys(
        made, log_digest(only(made["sqlite"]))
    )
    lone = next((tmp_path / "mcap").glob("*.mcap"))
    assert log_digest(McapLog(lone)) == log_digest(only(made["mcap"]))


def test_ros_1_and_ros_2_give_the_same_streams(tmp_path: Path) -> None:
    one, two = only(bags.make_rosbag1(tmp_path / "a.bag")), only(bags.make_rosbag2(tmp_path / "b"))
    assert one.streams() == two.streams()
    assert log_digest(one) == log_digest(two)


def as_mcap(bag: Path, path: Path) -> Path:
    """A ROS 1 bag as converters write it into MCAP: the messages as they are, with encoding ``ros1``."""
    from mcap.writer import Writer

    source = rosbag1.Rosbag1(bag)
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start(profile="ros1")
        for number, channel in source.channels.items():
            schema = source.schemas[number]
            made = writer.register_schema(schema.name, schema.encoding, schema.data)
            id = writer.register_channel(channel.topic, "ros1", made)
            rows = range(len(source.messages[number]))
            for t, data in zip(source.messages[number].log_ns, source.payloads(number, rows), strict=True):
                writer.add_message(id, log_time=t, data=data, publish_time=t)
        writer.finish()  # type: ignore[no-untyped-call]
    return path


def test_ros_1_messages_in_mcap_are_the_same_log_as_their_bag(tmp_path: Path) -> None:
    bag = bags.make_rosbag1(tmp_path / "a.bag")
    log = only(as_mcap(bag, tmp_path / "a.mcap"))
    assert log.findings == ()
    assert log_digest(log) == log_digest(only(bag))


def test_without_rosbags_such_an_mcap_is_no_smaller_log_but_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = as_mcap(bags.make_rosbag1(tmp_path / "a.bag"), tmp_path / "a.mcap")
    ros_types._store.cache_clear()
    ros_types.ros1_definition.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "rosbags.typesys", None)
    with pytest.raises(MissingExtra) as caught:
        open_folder(path)
    assert "worldgate[ros]" in str(caught.value)


def test_streams_carry_names_units_frames_and_both_clocks(tmp_path: Path) -> None:
    log = only(bags.make_rosbag1(tmp_path / "a.bag"))
    infos = {info.name: info for info in log.streams()}
    assert set(infos) == {
        "arm.joints.position",
        "imu.data.orientation",
        "imu.data.angular_velocity",
        "imu.data.linear_acceleration",
        "camera.jpeg",
        "camera.raw",
        "note",
    }
    rate = infos["imu.data.angular_velocity"]
    assert (rate.unit, rate.names, rate.frame, rate.clock) == ("rad/s", ("x", "y", "z"), "imu", "header")
    assert infos["imu.data.orientation"].names == ("qx", "qy", "qz", "qw")
    assert infos["note"].clock == "log"
    stream = log.read("imu.data.linear_acceleration")
    assert stream.times_ns[0] == START
    assert stream.log_times_ns is not None
    assert set(stream.log_times_ns - stream.times_ns) == {bags.LATE_NS}
    expected = np.random.default_rng(5).normal(size=(12, 10))[:, 7:]
    np.testing.assert_array_equal(stream.array, expected)
    frames = log.read("camera.raw").frames
    np.testing.assert_array_equal(frames.read(np.array([3, 0])), samples.pictures(12)[[3, 0]])


def test_an_imu_without_orientation_has_no_such_stream(tmp_path: Path) -> None:
    messages = [
        ("/imu", "sensor_msgs/msg/Imu", START + i, bags.imu(bags.ROS1, START + i, range(10), orientation=False))
        for i in range(3)
    ]
    names = [info.name for info in only(bags.write_rosbag1(tmp_path / "a.bag", messages)).streams()]
    assert names == ["imu.angular_velocity", "imu.linear_acceleration"]


def sensor(kind: str, **fields: Any) -> Any:
    return bags.message(bags.ROS2, kind, header=bags.header(bags.ROS2, START), **fields)


def special_messages() -> list[tuple[Any, dict[str, tuple[list[float], str]]]]:
    """Messages, and the streams that they must become: suffix to values and unit."""
    xyz, turn = bags.vector3(bags.ROS2, (1, 2, 3)), bags.vector3(bags.ROS2, (0, 0, 0, 1), "Quaternion")
    spin = bags.vector3(bags.ROS2, (4, 5, 6))
    twist = bags.message(bags.ROS2, "geometry_msgs/msg/Twist", linear=xyz, angular=spin)
    pose = bags.message(
        bags.ROS2, "geometry_msgs/msg/Pose", position=bags.vector3(bags.ROS2, (7, 8, 9), "Point"), orientation=turn
    )
    c36, c9 = np.zeros(36), np.arange(9.0)
    status = bags.message(bags.ROS2, "sensor_msgs/msg/NavSatStatus", status=-1, service=3)
    odometry = sensor(
        "nav_msgs/msg/Odometry",
        child_frame_id="body",
        pose=bags.message(bags.ROS2, "geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=c36),
        twist=bags.message(bags.ROS2, "geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=c36),
    )
    fix = sensor(
        "sensor_msgs/msg/NavSatFix",
        status=status,
        latitude=42.5,
        longitude=-71.25,
        altitude=7.0,
        position_covariance=c9,
        position_covariance_type=1,
    )
    battery = sensor(
        "sensor_msgs/msg/BatteryState",
        **dict.fromkeys(("voltage", "temperature", "current", "charge", "capacity", "design_capacity"), 0.5),
        percentage=0.25,
        power_supply_status=2,
        power_supply_health=1,
        power_supply_technology=3,
        present=True,
        cell_voltage=np.zeros(0, np.float32),
        cell_temperature=np.zeros(0, np.float32),
        location="",
        serial_number="",
    )
    speeds = "m/s,m/s,m/s,rad/s,rad/s,rad/s"
    accel = bags.message(bags.ROS2, "geometry_msgs/msg/Accel", linear=xyz, angular=spin)
    point = bags.vector3(bags.ROS2, (1, 2, 3), "Point")
    limits = {"radiation_type": 0, "field_of_view": 1.0, "min_range": 0.0, "max_range": 9.0}
    six: list[float] = [1, 2, 3, 4, 5, 6]
    three: list[float] = [1, 2, 3]
    scalars = [
        (sensor(f"sensor_msgs/msg/{kind}", **{field: 0.5}, variance=0.0), {"": ([0.5], unit)})
        for kind, field, unit in (
            ("Temperature", "temperature", "degC"),
            ("FluidPressure", "fluid_pressure", "Pa"),
            ("Illuminance", "illuminance", "lx"),
            ("RelativeHumidity", "relative_humidity", "1"),
        )
    ]
    joy = sensor("sensor_msgs/msg/Joy", axes=np.array([0.5, -1], np.float32), buttons=np.array([1], np.int32))
    magnetic = sensor("sensor_msgs/msg/MagneticField", magnetic_field=xyz, magnetic_field_covariance=c9)
    return [
        *scalars,
        (odometry, {"": ([7, 8, 9, 0, 0, 0, 1], "m,m,m,1,1,1,1"), ".twist": (six, speeds)}),
        (fix, {"": ([42.5, -71.25, 7.0], "deg,deg,m"), ".covariance": ([*range(9)], "m^2"), ".status": ([-1, 3], "1")}),
        (battery, {"": ([0.5] * 6 + [0.25], "V,degC,A,A*h,A*h,A*h,1"), ".status": ([2, 1, 3, 1], "1")}),
        (magnetic, {"": (three, "T")}),
        (sensor("sensor_msgs/msg/Range", range=2.5, **limits), {"": ([2.5], "m")}),
        (sensor("geometry_msgs/msg/PointStamped", point=point), {"": (three, "m")}),
        (sensor("geometry_msgs/msg/Vector3Stamped", vector=xyz), {"": (three, "")}),
        (sensor("geometry_msgs/msg/QuaternionStamped", quaternion=turn), {"": ([0, 0, 0, 1], "1")}),
        (sensor("geometry_msgs/msg/AccelStamped", accel=accel), {"": (six, speeds.replace("/s", "/s^2"))}),
        (sensor("geometry_msgs/msg/TwistStamped", twist=twist), {"": (six, speeds)}),
        (joy, {".axes": ([0.5, -1], "1"), ".buttons": ([1], "1")}),
    ]


@pytest.mark.parametrize("case", special_messages(), ids=lambda case: case[0].__msgtype__)
@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_each_known_message_becomes_streams_with_units(
    tmp_path: Path, case: tuple[Any, dict[str, tuple[list[float], str]]], storage: Any
) -> None:
    message, expected = case
    bag = bags.write_rosbag2(tmp_path / "bag", [("/x", message.__msgtype__, START + 5, message)] * 2, storage=storage)
    log = only(bag)
    assert {info.name for info in log.streams()} == {f"x{suffix}" for suffix in expected}
    for suffix, (values, unit) in expected.items():
        stream = log.read(f"x{suffix}")
        assert stream.info.unit == unit
        assert stream.info.frame == ("body" if suffix == ".twist" else "base")
        assert stream.times_ns.tolist() == [START, START]
        np.testing.assert_array_equal(stream.array, np.array([values, values], dtype=np.float64))


# -------------------------------------------------------------------- properties


def joints(times: list[int], values: list[list[float]], store: Any) -> list[bags.Message]:
    return [
        ("/j", "sensor_msgs/msg/JointState", t, bags.joint_state(store, t, v))
        for t, v in zip(times, values, strict=True)
    ]


@settings(max_examples=25, deadline=None)
@given(
    data=st.lists(
        st.tuples(
            st.integers(1, 2**31 * 10**9 - 1),
            st.lists(st.floats(width=64), min_size=3, max_size=3),
            st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
        ),
        min_size=1,
        max_size=30,
    ),
    compression=st.sampled_from(["", "bz2", "lz4"]),
)
def test_random_messages_written_by_rosbags_come_back_equal(
    tmp_path_factory: pytest.TempPathFactory, data: list[tuple[int, list[float], str]], compression: str
) -> None:
    root = tmp_path_factory.mktemp("bags")
    times, values, texts = [d[0] for d in data], [d[1] for d in data], [d[2] for d in data]

    def recording(store: Any) -> list[bags.Message]:
        kind = "std_msgs/msg/String"
        notes = [("/n", kind, t, bags.message(store, kind, data=x)) for t, x in zip(times, texts, strict=True)]
        return [*joints(times, values, store), *notes]

    made = [
        bags.write_rosbag1(root / "a.bag", recording(bags.ROS1), compression=compression),
        bags.write_rosbag2(root / "db3", recording(bags.ROS2)),
        bags.write_rosbag2(root / "mcap", recording(bags.ROS2), storage="mcap"),
    ]
    for path in made:
        log = only(path)
        stream = log.read("j.position")
        # In the order in which they were recorded, whatever their times.
        assert stream.times_ns.tolist() == times
        np.testing.assert_array_equal(stream.array, np.array(values))
        assert log.read("n").array.tolist() == texts


MIXED = (
    "Header header\nbyte b\nchar c\nbool q\nint16 i\nfloat32 f\nuint64 u\nfloat64[3] fixed\nstring text\nint32 last\n"
)
MIXED += "=" * 80 + "\nMSG: std_msgs/Header\nuint32 seq\ntime stamp\nstring frame_id\n"


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 2**32 - 1),
            st.integers(-128, 127),
            st.integers(0, 255),
            st.booleans(),
            st.floats(width=32),
            st.integers(0, 2**64 - 1),
            st.sampled_from(["", "a", "base", "Grüße", "base_link"]),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_columns_of_ros_1_messages_equal_those_that_rosbags_decodes_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int, bool, float, int, str]]
) -> None:
    """Texts of changing lengths move every field behind them; the sequence number is no part of the layout."""
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import get_types_from_msg

    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(MIXED, "a_msgs/msg/Mixed"))
    payloads = []
    for i, (seq, b, c, q, f, u, text) in enumerate(rows):
        stamp = store.types["builtin_interfaces/msg/Time"](sec=i, nanosec=i + 1)
        header = store.types["std_msgs/msg/Header"](seq=seq, stamp=stamp, frame_id=text)
        made = store.types["a_msgs/msg/Mixed"](header, b, c, q, -i, f, u, np.full(3, f), text, i)
        payloads.append(bytes(store.serialize_ros1(made, "a_msgs/msg/Mixed")))
    path = tmp_path_factory.mktemp("bags") / "a.bag"
    with Writer(path) as writer:
        connection = writer.add_connection("/m", "a_msgs/msg/Mixed", msgdef=MIXED, md5sum="0" * 32)
        for i, payload in enumerate(payloads):
            writer.write(connection, i, payload)
    bag = rosbag1.Rosbag1(path)
    definition = ros_types.ros1_definition("a_msgs/Mixed", MIXED)
    assert definition is not None
    values = [Numbers(("b", "c", "q", "i", "f", "u", "last")), ArrayOf("fixed")]
    decode, every = ros_types.ros1_decoder("a_msgs/Mixed", MIXED), np.arange(len(rows), dtype=np.int64)
    fast, slow = (Ros1Reader(bag, 1, decode, known) for known in (definition, None))
    for ours, theirs in zip(fast.read(values, every)[0], slow.read(values, every)[0], strict=True):
        np.testing.assert_array_equal(ours.array(len(rows), ""), theirs.array(len(rows), ""))
    np.testing.assert_array_equal(fast.stamps(every), slow.stamps(every))
    assert slow.decoded == len(rows)
    assert fast.decoded <= slow.decoded


def test_messages_of_one_layout_are_not_decoded_one_by_one(tmp_path: Path) -> None:
    path = bags.write_rosbag1(tmp_path / "a.bag", joints([*range(1, 501)], [[float(i)] for i in range(500)], bags.ROS1))
    bag = rosbag1.Rosbag1(path)
    text = bag.schemas[1].data.decode()
    kind = "sensor_msgs/JointState"
    reader = Ros1Reader(bag, 1, ros_types.ros1_decoder(kind, text), ros_types.ros1_definition(kind, text))
    (gathered,), _ = reader.read([ArrayOf("position")], np.arange(500, dtype=np.int64))
    assert gathered.array(500, "")[:, 0].tolist() == [float(i) for i in range(500)]
    assert reader.decoded <= 2


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(0, 6), min_size=1, max_size=12), compression=st.sampled_from(["", "bz2", "lz4"]))
def test_the_walk_finds_what_rosbags_finds(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], compression: str
) -> None:
    """Several topics, several chunks: every payload is the one that the reference reader gives."""
    path = tmp_path_factory.mktemp("bags") / "a.bag"
    kind = "std_msgs/msg/String"
    messages = [
        (f"/t{topic}", kind, 10**9 + 1000 * row + topic, bags.message(bags.ROS1, kind, data=f"{topic}/{row}"))
        for topic, count in enumerate(sizes)
        for row in range(count)
    ]
    bags.write_rosbag1(
        path, messages or [("/t", kind, 1, bags.message(bags.ROS1, kind, data=""))], compression=compression
    )
    bag = rosbag1.Rosbag1(path)
    ours = {
        bag.channels[channel].topic: [
            (int(t), payload) for t, payload in zip(found.log_ns, bag.payloads(channel, range(len(found))), strict=True)
        ]
        for channel, found in bag.messages.items()
    }
    theirs: dict[str, list[tuple[int, bytes]]] = {}
    with AnyReader([path]) as reader:
        for connection, time_ns, data in reader.messages():
            theirs.setdefault(connection.topic, []).append((time_ns, bytes(data)))
    assert ours == theirs
    assert bag.findings == []


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("originals")
    one = bags.write_rosbag1(root / "a.bag", joints([1, 2, 3], [[1.0], [2.0], [3.0]], bags.ROS1), compression="bz2")
    two = bags.write_rosbag2(root / "b", joints([1, 2, 3], [[1.0], [2.0], [3.0]], bags.ROS2))
    return [one, *two.glob("*.db3")]


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.booleans(), which=st.integers(0, 1))
def test_no_byte_changed_or_cut_raises_anything_but_our_own_errors(
    tmp_path_factory: pytest.TempPathFactory, originals: list[Path], at: int, value: int, cut: bool, which: int
) -> None:
    data = bytearray(originals[which].read_bytes())
    place = at % len(data)
    data[place] = value
    path = tmp_path_factory.mktemp("bad") / originals[which].name
    path.write_bytes(data[:place] if cut else data)
    try:
        for log in open_folder(path).logs:
            for info in log.streams():
                log.read(info.name)
    except WorldgateError:
        pass


# -------------------------------------------------------------------- time


def test_clocks_of_1970_and_steps_back_are_kept_as_they_are(tmp_path: Path) -> None:
    times = [5_000_000_000, 6_000_000_000, 2_000_000_000, 3_000_000_000]
    values = [[float(i)] for i in range(4)]
    for path in (
        bags.write_rosbag1(tmp_path / "a.bag", joints(times, values, bags.ROS1)),
        bags.write_rosbag2(tmp_path / "b", joints(times, values, bags.ROS2)),
    ):
        stream = only(path).read("j.position")
        assert stream.times_ns.tolist() == times
        assert stream.array[:, 0].tolist() == [0, 1, 2, 3]
        window = only(path).read("j.position", (2_000_000_000, 5_000_000_001))
        assert window.array[:, 0].tolist() == [0, 2, 3]


def test_parts_of_a_split_bag_follow_each_other_in_time_whatever_they_are_called(tmp_path: Path) -> None:
    log = only(bags.make_split_rosbag2(tmp_path / "bag"))
    assert log.name == "run"
    stream = log.read("note")
    assert stream.array.tolist() == [f"step {i}" for i in range(12)]
    frames = log.read("camera.raw").frames
    order = np.array([11, 0, 6, 5, 11])
    np.testing.assert_array_equal(frames.read(order), samples.pictures(12)[order])


def test_several_publishers_of_a_topic_are_one_stream(tmp_path: Path) -> None:
    from rosbags.rosbag1 import Writer

    kind = "std_msgs/msg/String"
    with Writer(tmp_path / "a.bag") as writer:
        both = [writer.add_connection("/n", kind, typestore=bags.ROS1, callerid=who) for who in ("/a", "/b")]
        for i in range(6):
            data = bags.ROS1.serialize_ros1(bags.message(bags.ROS1, kind, data=str(i)), kind)
            writer.write(both[i % 2], 10 + i, data)
    log = only(tmp_path / "a.bag")
    assert log.read("n").array.tolist() == [*"012345"]


# -------------------------------------------------------------------- bad ROS 1 bags


def unclosed(path: Path) -> Path:
    """As a crash leaves it: no index at the end, and none named in the header."""
    data = bytearray(path.read_bytes())
    at = data.index(b"index_pos=") + len(b"index_pos=")
    (index_at,) = struct.unpack_from("<Q", data, at)
    struct.pack_into("<Q", data, at, 0)
    path.write_bytes(data[:index_at])
    return path


@pytest.mark.parametrize("compression", ["", "bz2", "lz4"])
def test_a_bag_that_was_never_closed_is_recovered(tmp_path: Path, compression: str) -> None:
    whole = bags.make_rosbag1(tmp_path / "whole.bag", compression)
    broken = unclosed(Path(shutil.copy(whole, tmp_path / "broken.bag")))
    log = only(broken)
    assert checks(log) == ["integrity"]
    assert "never closed" in log.findings[0].message
    assert log_digest(log) == log_digest(only(whole))


def chunked(path: Path, compression: str = "") -> tuple[Path, list[int]]:
    """A bag of 80 texts in several chunks, and where the chunks' bytes begin."""
    from rosbags.rosbag1 import Writer

    writer = Writer(path)
    writer.chunk_threshold = 2000
    if compression:
        writer.set_compression(Writer.CompressionFormat[compression.upper()])
    kind = "std_msgs/msg/String"
    with writer:
        connection = writer.add_connection("/n", kind, typestore=bags.ROS1)
        for i in range(80):
            data = bags.ROS1.serialize_ros1(bags.message(bags.ROS1, kind, data=f"{i:060d}"), kind)
            writer.write(connection, START + i, data)
    starts = sorted(rosbag1.Rosbag1(path)._chunks)
    assert len(starts) >= 4
    return path, starts


def test_a_truncated_bag_keeps_every_complete_chunk_and_names_the_loss(tmp_path: Path) -> None:
    path, starts = chunked(tmp_path / "a.bag")
    whole = only(path).read("n")
    size = starts[-1] + 300
    path.write_bytes(path.read_bytes()[:size])
    log = only(path)
    assert checks(log) == ["data_lost", "integrity"]
    loss, kept = log.findings[0], log.read("n")
    assert 0 < len(kept) < len(whole)
    assert kept.array.tolist() == whole.array[: len(kept)].tolist()
    assert 300 < loss.value < 400
    assert f"at byte {size - int(loss.value)}:" in loss.message
    assert loss.spans_ns == ((START + len(kept), 2**63 - 1),)


def test_truncation_at_any_byte_keeps_a_prefix_or_refuses(tmp_path: Path) -> None:
    path, _ = chunked(tmp_path / "a.bag")
    data = path.read_bytes()
    whole = only(path).read("n").array.tolist()
    seen = set()
    for size in range(13, len(data), 61):
        path.write_bytes(data[:size])
        try:
            log = only(path)
        except LogUnreadable:
            continue
        assert log.findings
        kept = log.read("n").array.tolist()
        assert kept == whole[: len(kept)]
        seen.add(len(kept))
    assert len(seen) >= 4
    assert max(seen) == 80


def test_damage_in_the_middle_costs_one_chunk(tmp_path: Path) -> None:
    path, starts = chunked(tmp_path / "a.bag")
    data = bytearray(path.read_bytes())
    data[starts[1] - 4 : starts[1]] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    log = only(path)
    assert checks(log) == ["data_lost"]
    rows = [int(text) for text in log.read("n").array]
    assert 40 <= len(rows) < 80
    ((start, stop),) = log.findings[0].spans_ns
    assert {START + i for i in range(80)} - {START + i for i in rows} == set(range(start, stop))


def test_a_chunk_that_does_not_unpack_is_an_error_when_it_is_read(tmp_path: Path) -> None:
    path, starts = chunked(tmp_path / "a.bag", "bz2")
    data = bytearray(path.read_bytes())
    data[starts[2] + 40 : starts[2] + 60] = bytes(20)
    path.write_bytes(data)
    log = only(path)
    assert len(log.read("n", (START, START + 10))) == 10
    with pytest.raises(LogUnreadable, match="a damaged chunk"):
        log.read("n")


@pytest.mark.parametrize("claimed", [2**31, 1000])
@pytest.mark.parametrize("compression", ["none", "bz2", "lz4", "brotli"])
def test_a_chunk_that_claims_another_size_is_refused_before_it_is_unpacked(compression: str, claimed: int) -> None:
    import bz2

    import lz4.frame

    bomb = bytes(1 << 22)
    data = {"bz2": bz2.compress(bomb), "lz4": lz4.frame.compress(bomb)}.get(compression, bomb)
    with pytest.raises(ValueError, match=r"claims|unknown"):
        rosbag1.unpack(data, compression, claimed)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"#ROSBAG V1.2\n" + bytes(100), "not a ROS 1 bag of version 2.0"),
        (b"#ROSBAG V2.0\n", "without its header"),
        (b"#ROSBAG V2.0\n" + b"\xff" * 50, "without its header"),
    ],
)
def test_what_only_begins_like_a_bag_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.bag"
    path.write_bytes(content)
    with pytest.raises(LogUnreadable, match=reason):
        open_folder(path)


def test_an_encrypted_bag_is_refused(tmp_path: Path) -> None:
    def entry(name: bytes, value: bytes) -> bytes:
        return struct.pack("<I", len(name) + 1 + len(value)) + name + b"=" + value

    numbers = entry(b"index_pos", bytes(8)) + entry(b"conn_count", bytes(4)) + entry(b"chunk_count", bytes(4))
    head = entry(b"op", b"\x03") + numbers + entry(b"encryptor", b"rosbag/AesCbcEncryptor")
    (tmp_path / "a.bag").write_bytes(b"#ROSBAG V2.0\n" + struct.pack("<I", len(head)) + head + struct.pack("<I", 0))
    with pytest.raises(LogUnreadable, match="encrypted"):
        open_folder(tmp_path / "a.bag")


def test_a_definition_that_does_not_parse_leaves_its_topic_out_by_name(tmp_path: Path) -> None:
    from rosbags.rosbag1 import Writer

    with Writer(tmp_path / "a.bag") as writer:
        bad = writer.add_connection("/bad", "a_msgs/msg/Bad", msgdef="what is this?\n", md5sum="0" * 32)
        writer.write(bad, 1, b"\0" * 8)
        kind = "std_msgs/msg/String"
        good = writer.add_connection("/good", kind, typestore=bags.ROS1)
        writer.write(good, 2, bags.ROS1.serialize_ros1(bags.message(bags.ROS1, kind, data="x"), kind))
    log = only(tmp_path / "a.bag")
    assert [info.name for info in log.streams()] == ["good"]
    assert checks(log) == ["undecodable"]
    assert log.findings[0].stream == "/bad"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a/B", "int32 x\n" + "=" * 80 + "\nMSG: a/C:\n  import os\nint32 y\n"),
        ("a/B:\n    import os\nclass C", "int32 x\n"),
        ("a/B", 'string X="""\\nimport os\n'),
        ("a/B", "int32 class\n"),
    ],
)
def test_a_definition_cannot_bring_code_of_its_own(name: str, text: str) -> None:
    """rosbags runs what it generates from a definition, so a name or value must never be more than that."""
    try:
        decode = ros_types.ros1_decoder(name, text)
    except LogUnreadable:
        return
    assert "os" not in vars(__import__("sys").modules["rosbags.usertypes"])
    assert callable(decode)


# -------------------------------------------------------------------- bad rosbag2 folders


def test_metadata_that_contradicts_the_files_is_found_and_the_files_are_believed(tmp_path: Path) -> None:
    root = bags.make_split_rosbag2(tmp_path / "bag")
    whole = log_digest(only(root))
    tree = json.loads((root / "metadata.yaml").read_text())
    info = tree["rosbag2_bagfile_information"]
    info["topics_with_message_count"][0]["message_count"] += 5
    info["topics_with_message_count"][1]["topic_metadata"]["type"] = "sensor_msgs/msg/Joy"
    info["starting_time"]["nanoseconds_since_epoch"] += 7
    (root / "metadata.yaml").write_text(json.dumps(tree))
    log = only(root)
    assert log_digest(log) == whole
    assert sorted(checks(log)) == ["count_mismatch", "metadata_mismatch", "metadata_mismatch"]
    text = " ".join(finding.message for finding in log.findings)
    for said in ("metadata.yaml says 17", "sensor_msgs/msg/Joy", "starts at"):
        assert said in text


def test_a_named_file_that_is_absent_is_data_lost_and_the_rest_is_read(tmp_path: Path) -> None:
    root = bags.make_split_rosbag2(tmp_path / "bag")
    (root / "run_1.db3").unlink()
    log = only(root)
    assert checks(log) == ["data_lost"]
    assert "run_1.db3" in log.findings[0].message
    assert len(log.read("note")) == 6
    (root / "run_0.db3").unlink()
    with pytest.raises(LogUnreadable, match="without its files"):
        open_folder(root)


def test_a_file_that_metadata_does_not_name_is_not_read_and_said(tmp_path: Path) -> None:
    root = bags.make_split_rosbag2(tmp_path / "bag")
    shutil.copy(root / "run_0.db3", root / "run_7.db3")
    log = only(root)
    assert checks(log) == ["metadata_mismatch"]
    assert len(log.read("note")) == 12


@pytest.mark.parametrize("text", ["rosbag2_bagfile_information: [unclosed", "rosbag2_bagfile_information: {}"])
def test_metadata_that_cannot_be_used_is_said_and_the_files_are_read(tmp_path: Path, text: str) -> None:
    root = bags.make_split_rosbag2(tmp_path / "bag")
    whole = log_digest(only(root))
    (root / "metadata.yaml").write_text(text)
    log = only(root)
    assert checks(log) == ["integrity"]
    assert log_digest(log) == whole


@pytest.mark.parametrize("name", ["../run_0.db3", "/etc/passwd", "a/../../run_0.db3"])
def test_a_bag_cannot_name_files_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    root = bags.make_split_rosbag2(tmp_path / "bag")
    shutil.copy(root / "run_0.db3", tmp_path / "run_0.db3")
    bags.write_metadata(root, bags.recording(bags.ROS2), [name], "sqlite3")
    with pytest.raises(LogUnreadable, match="outside of its folder"):
        open_folder(root)


def test_a_link_that_leaves_the_folder_is_refused_at_ingest(tmp_path: Path, workspace: Any) -> None:
    root = bags.make_split_rosbag2(tmp_path / "bag")
    (root / "run_0.db3").rename(tmp_path / "elsewhere.db3")
    (root / "run_0.db3").symlink_to(tmp_path / "elsewhere.db3")
    with pytest.raises(DataRefused, match="a link that leaves its folder"):
        ingest(workspace, root)


def test_a_bag_is_ingested_as_one_log_and_read_back_from_the_store(tmp_path: Path, workspace: Any) -> None:
    from worldgate.data.ingest import Shelf

    root = bags.make_split_rosbag2(tmp_path / "bag")
    (ref,) = ingest(workspace, root)
    assert ref.digest == log_digest(only(root))
    assert len(Shelf(workspace).open(ref.digest).read("note")) == 12


def database(path: Path, *statements: str) -> Path:
    with sqlite3.connect(path) as opened:
        for statement in statements:
            opened.execute(statement)
    opened.close()
    return path


def lone(root: Path) -> Path:
    """The single ``.db3`` of a made bag."""
    (file,) = bags.make_rosbag2(root).glob("*.db3")
    return file


def test_a_lone_db3_file_is_a_log(tmp_path: Path) -> None:
    file = lone(tmp_path / "bag")
    alone = shutil.copy(file, tmp_path / "alone.db3")
    assert log_digest(only(Path(alone))) == log_digest(only(tmp_path / "bag"))


@pytest.mark.parametrize("table", ["topics", "messages"])
def test_a_database_without_rosbag_tables_is_refused(tmp_path: Path, table: str) -> None:
    file = database(lone(tmp_path / "bag"), f"ALTER TABLE {table} RENAME TO other")
    with pytest.raises(LogUnreadable, match="no rosbag2 file") as caught:
        open_folder(file)
    assert table in str(caught.value)


def test_a_view_in_place_of_a_table_is_refused(tmp_path: Path) -> None:
    """A view would run whatever query the file's maker wrote."""
    file = database(
        lone(tmp_path / "bag"),
        "DROP TABLE messages",
        "CREATE VIEW messages AS SELECT 1 AS id, 1 AS topic_id, 1 AS timestamp, zeroblob(999999999) AS data",
    )
    with pytest.raises(LogUnreadable, match="no rosbag2 file"):
        open_folder(file)


def test_a_database_of_old_schema_takes_standard_definitions(tmp_path: Path) -> None:
    """Before version 4 a bag held no definitions."""
    whole = only(bags.make_rosbag2(tmp_path / "whole"))
    file = database(lone(tmp_path / "bag"), "DROP TABLE message_definitions", "DROP TABLE schema")
    log = only(Path(shutil.copy(file, tmp_path / "old.db3")))
    assert log.findings == ()
    assert log_digest(log) == log_digest(whole)


def test_a_stored_definition_that_does_not_fit_is_replaced_by_the_standard_one_and_said(tmp_path: Path) -> None:
    whole = log_digest(only(bags.make_rosbag2(tmp_path / "whole")))
    wrong = "UPDATE message_definitions SET encoded_message_definition = 'uint8 level' WHERE topic_type = '{}'"
    file = database(lone(tmp_path / "bag"), wrong.format("std_msgs/msg/String"))
    log = only(file)
    assert checks(log) == ["metadata_mismatch"]
    assert log_digest(log) == whole
    other = database(
        lone(tmp_path / "bag2"),
        "UPDATE topics SET type = 'a/msg/B' WHERE name = '/note'",
        "UPDATE message_definitions SET topic_type = 'a/msg/B' WHERE topic_type = 'std_msgs/msg/String'",
        wrong.format("a/msg/B"),
    )
    log = only(other)
    assert checks(log) == ["metadata_mismatch", "undecodable"]
    assert "note" not in {info.name for info in log.streams()}


def test_a_truncated_database_keeps_what_comes_before_the_damage(tmp_path: Path) -> None:
    file = lone(tmp_path / "bag")
    with sqlite3.connect(file) as opened:
        row = opened.execute("SELECT topic_id, timestamp, data FROM messages LIMIT 1").fetchone()
        opened.executemany("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", [row] * 3000)
    opened.close()
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 3 // 4])
    log = only(file)
    assert checks(log)[0] == "data_lost"
    assert 0 < len(log.read("arm.joints.position")) < 3012


def test_a_journal_beside_a_database_is_named_as_not_read(tmp_path: Path) -> None:
    file = lone(tmp_path / "bag")
    file.with_name(file.name + "-wal").write_bytes(b"x" * 100)
    assert checks(only(file)) == ["data_lost"]


def test_a_folder_whose_name_means_something_in_a_url_is_read(tmp_path: Path) -> None:
    root = bags.make_rosbag2(tmp_path / "bag").rename(tmp_path / "a?mode=rwc#b %20")
    assert len(only(root).read("note")) == 12


def test_a_compressed_file_that_grows_beyond_all_measure_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bomb.db3.zstd").write_bytes(zstandard.compress(bytes(1 << 28), level=19))
    with pytest.raises(LogUnreadable, match="grows beyond all measure"):
        open_folder(tmp_path / "bomb.db3.zstd")


def test_a_compressed_message_that_is_damaged_is_named_when_it_is_read(tmp_path: Path) -> None:
    root = bags.make_rosbag2(tmp_path / "bag", packed="message")
    (file,) = root.glob("*.db3")
    database(file, "UPDATE messages SET data = x'28b52ffd00' WHERE id = (SELECT max(id) FROM messages)")
    log = only(root)
    with pytest.raises(LogUnreadable, match="does not unpack"):
        log.read("note")


def test_temporary_files_go_with_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gc
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    log = only(bags.make_rosbag2(tmp_path / "bag", packed="file"))
    assert len(list((tmp_path / "temporary").iterdir())) == 1
    assert len(log.read("note")) == 12
    del log
    gc.collect()
    assert not list((tmp_path / "temporary").iterdir())


def test_a_folder_of_bags_is_a_log_each_and_mcap_leaves_it_alone(tmp_path: Path) -> None:
    bags.make_rosbag1(tmp_path / "all" / "one.bag")
    bags.make_rosbag2(tmp_path / "all" / "two")
    bags.make_split_rosbag2(tmp_path / "all" / "three", "mcap")
    samples.make_mcap(tmp_path / "all" / "four.mcap")
    folder = open_folder(tmp_path / "all")
    assert folder.format == "rosbag"
    assert [log.name for log in folder.logs] == ["three", "two", "four.mcap", "one.bag"]
    assert [log.origin for log in folder.logs] == ["real", "real", "simulated", "real"]


def test_opening_a_bag_reads_no_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening looks at the first message of a topic and at no other."""
    asked: list[int] = []
    original = rosbag1.Rosbag1.payloads

    def counted(self: Any, channel: int, rows: Any) -> Any:
        rows = list(rows)
        asked.extend(rows)
        return original(self, channel, rows)

    monkeypatch.setattr(rosbag1.Rosbag1, "payloads", counted)
    log = only(bags.make_rosbag1(tmp_path / "a.bag"))
    log.streams()
    assert set(asked) == {0}
    asked.clear()
    frames = log.read("camera.jpeg").frames
    asked.clear()
    frames.read(np.array([7]))
    assert asked == [7]
    assert log.read("camera.jpeg").info.kind is Kind.IMAGE
