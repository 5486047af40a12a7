"""ROS bags: the same streams whatever stores them, with every clock and unit, in the order of recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore
from tests.data.logs import bag_samples as bags
from tests.data.logs import samples

from worldgate.core.errors import MissingExtra, WorldgateError
from worldgate.core.streams import Kind, Log, log_digest
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


# -------------------------------------------------------------------- folders, laziness


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
