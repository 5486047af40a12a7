"""MCAP: what is written reads back equal in both profiles, and foreign messages become the right streams."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from mcap_protobuf.decoder import DecoderFactory as ProtobufFactory
from mcap_ros2.decoder import DecoderFactory as Ros2Factory
from tests.data.logs import samples

from worldgate.core.errors import AlreadyExists, LogUnreadable, NotFound, UsageError
from worldgate.core.streams import Kind, Origin, Stream, StreamInfo, log_digest
from worldgate.data.logs import _images as images
from worldgate.data.logs import _ros2 as ros2
from worldgate.data.logs.mcap import ImageOptions, McapLog, McapWriter, write_log

PROFILES = ("foxglove", "ros2")


@pytest.mark.parametrize("profile", PROFILES)
def test_every_kind_reads_back_equal(tmp_path: Path, profile: str) -> None:
    log = McapLog(samples.make_mcap(tmp_path / "run.mcap", profile))
    assert log.origin is Origin.SIMULATED
    assert log.facts == {"task": "push", "success": True}
    assert log.findings == ()
    written = {s.info.name: s for s in samples.every_kind()}
    assert {info.name for info in log.streams()} == set(written)
    for name, before in written.items():
        after = log.read(name)
        assert after.info == replace(before.info, topic=f"/{name}")
        np.testing.assert_array_equal(after.times_ns, before.times_ns)
        np.testing.assert_array_equal(after.log_times_ns, before.log_times_ns)
        values = after.values
        values = values if isinstance(values, np.ndarray) else values.read(np.arange(len(after)))
        assert values.dtype == before.array.dtype
        np.testing.assert_array_equal(values, before.array)


def test_both_profiles_and_all_compressions_have_one_identity(tmp_path: Path) -> None:
    digests = {log_digest(McapLog(samples.make_mcap(tmp_path / f"{p}.mcap", p))) for p in PROFILES}
    for compression in ("none", "lz4", "zstd"):
        path = tmp_path / f"{compression}.mcap"
        with McapWriter(path, origin=Origin.SIMULATED, compression=compression, chunk_bytes=4096) as writer:  # type: ignore[arg-type]
            for stream in samples.every_kind():
                writer.add_stream(stream.info)
                assert stream.log_times_ns is not None
                for i, value in enumerate(stream.array):
                    writer.write(stream.info.name, int(stream.log_times_ns[i]), value, int(stream.times_ns[i]))
        digests.add(log_digest(McapLog(path)))
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (
            "foxglove",
            {
                "/observation.state": "worldgate.FloatArray",
                "/observation.tool": "foxglove.PoseInFrame",
                "/observation.images.front": "foxglove.CompressedImage",
                "/observation.depth.front": "foxglove.RawImage",
                "/note": "foxglove.Log",
                "/events.contact": "worldgate.Event",
            },
        ),
        (
            "ros2",
            {
                "/observation.state": "sensor_msgs/msg/JointState",
                "/observation.force": "geometry_msgs/msg/WrenchStamped",
                "/observation.wide": "std_msgs/msg/Float64MultiArray",
                "/observation.tool": "geometry_msgs/msg/PoseStamped",
                "/observation.images.front": "sensor_msgs/msg/CompressedImage",
                "/observation.depth.front": "sensor_msgs/msg/Image",
                "/note": "std_msgs/msg/String",
            },
        ),
    ],
)
def test_the_official_reader_sees_standard_schemas_with_stamps(
    tmp_path: Path, profile: str, expected: dict[str, str]
) -> None:
    path = samples.make_mcap(tmp_path / "run.mcap", profile)
    schemas = {}
    with path.open("rb") as file:
        factories = [ProtobufFactory(), Ros2Factory()]
        topics = [topic for topic in expected if topic != "/events.contact" or profile == "ros2"]
        reader = make_reader(file, validate_crcs=True, decoder_factories=factories)
        for schema, channel, message, decoded in reader.iter_decoded_messages(topics=topics):
            assert schema is not None
            schemas[channel.topic] = schema.name
            if channel.topic == "/observation.tool":
                stamp = decoded.timestamp if profile == "foxglove" else decoded.header.stamp
                sec, nanos = (stamp.seconds, stamp.nanos) if profile == "foxglove" else (stamp.sec, stamp.nanosec)
                assert sec * 10**9 + nanos == message.publish_time
    assert schemas.items() <= {**expected}.items()
    assert set(schemas) == set(topics)


def test_a_planar_scan_becomes_a_laser_scan(tmp_path: Path) -> None:
    scan = samples.stream("observation.lidar", Kind.VECTOR, samples.numbers(4, 16), unit="m", frame="lidar")
    for profile, schema in (("foxglove", "foxglove.LaserScan"), ("ros2", "sensor_msgs/msg/LaserScan")):
        path = tmp_path / f"{profile}.mcap"
        with McapWriter(path, origin=Origin.SIMULATED, profile=profile) as writer:  # type: ignore[arg-type]
            writer.add_stream(scan.info, scan_rad=(-1.5, 1.5))
            for t, value in zip(scan.times_ns, scan.array, strict=True):
                writer.write("observation.lidar", t, value)
        with path.open("rb") as file:
            assert {s.name for s, _, _ in make_reader(file).iter_messages() if s} == {schema}
        back = McapLog(path).read("observation.lidar")
        np.testing.assert_array_equal(back.array, scan.array)
        assert back.array.dtype == np.float32


def test_imagined_streams_stand_beside_real_ones_and_stay_marked(tmp_path: Path) -> None:
    real = samples.stream("observation.state", Kind.VECTOR, samples.numbers(5))
    dream = samples.stream("observation.state", Kind.VECTOR, samples.numbers(5) + 1)
    path = tmp_path / "both.mcap"
    write_log(path, [real], origin=Origin.REAL, imagined=[dream])
    log = McapLog(path)
    assert log.origin is Origin.REAL
    topics = {info.name: info.topic for info in log.streams()}
    assert topics == {
        "observation.state": "/observation.state",
        "imagined.observation.state": "/imagined/observation.state",
    }
    np.testing.assert_array_equal(log.read("imagined.observation.state").array, dream.array)
    np.testing.assert_array_equal(log.read("observation.state").array, real.array)


def test_a_file_of_ours_whose_origin_is_lost_is_refused(tmp_path: Path) -> None:
    path = samples.make_mcap(tmp_path / "run.mcap")
    data = path.read_bytes()
    assert data.count(b"simulated") > 2
    path.write_bytes(data.replace(b"simulated", b"simulatex"))
    # Chunks are compressed, so the channels inside still say it; the record's loss alone is survived.
    assert McapLog(path).origin is Origin.SIMULATED
    bare = tmp_path / "bare.mcap"
    with bare.open("wb") as file:
        writer = Writer(file)
        writer.start(library="worldgate")
        writer.finish()  # type: ignore[no-untyped-call]
    with pytest.raises(LogUnreadable, match="origin"):
        McapLog(bare)


def test_nothing_half_written_is_visible_and_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    info = StreamInfo(name="a", kind=Kind.VECTOR, count=-1)
    with pytest.raises(RuntimeError, match="stop"), McapWriter(path, origin=Origin.REAL) as writer:
        writer.add_stream(info)
        writer.write("a", 1, [1.0])
        assert not path.exists()
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []
    with McapWriter(path, origin=Origin.REAL) as writer:
        writer.add_stream(info)
    assert [p.name for p in tmp_path.iterdir()] == ["run.mcap"]
    with pytest.raises(AlreadyExists):
        McapWriter(path, origin=Origin.REAL)


def test_a_declared_stream_without_messages_reads_as_empty(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    with McapWriter(path, origin=Origin.REAL) as writer:
        writer.add_stream(StreamInfo(name="a", kind=Kind.VECTOR, count=-1, shape=(2,), names=("x", "y")))
        writer.add_stream(StreamInfo(name="c", kind=Kind.IMAGE, count=-1))
    log = McapLog(path)
    assert log.read("a").array.shape == (0, 2)
    assert len(log.read("c").frames) == 0
    assert len({log.read(name).content_digest() for name in ("a", "c")}) == 2


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        (Kind.VECTOR, [1.0, 2.0], [1.0, 2.0, 3.0]),
        (Kind.VECTOR, np.zeros(2, np.float32), np.zeros(2)),
        (Kind.IMAGE, np.zeros((4, 4, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)),
        (Kind.IMAGE, np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.float32)),
        (Kind.EVENT, "{}", "{broken"),
        (Kind.EVENT, {}, {"x": float("nan")}),
        (Kind.VECTOR, np.array([2**53]), np.array([2**53 + 1])),
        (Kind.SEGMENTATION, np.zeros((4, 4), np.int32), np.full((4, 4), 70_000, np.int32)),
    ],
)
def test_a_value_that_does_not_fit_its_stream_is_refused(tmp_path: Path, kind: Kind, first: Any, second: Any) -> None:
    with McapWriter(tmp_path / "run.mcap", origin=Origin.REAL) as writer:
        writer.add_stream(StreamInfo(name="a", kind=kind, count=-1))
        writer.write("a", 1, first)
        with pytest.raises(UsageError):
            writer.write("a", 2, second)
    assert McapLog(tmp_path / "run.mcap").read("a").info.count == 1


def test_undeclared_twice_declared_and_negative_times_are_refused(tmp_path: Path) -> None:
    info = StreamInfo(name="a", kind=Kind.VECTOR, count=-1)
    with McapWriter(tmp_path / "run.mcap", origin=Origin.REAL) as writer:
        assert writer.add_stream(info) == "a"
        with pytest.raises(NotFound):
            writer.write("b", 1, [1.0])
        with pytest.raises(AlreadyExists):
            writer.add_stream(info)
        with pytest.raises(UsageError, match="from 0 on"):
            writer.write("a", -1, [1.0])


def test_jpeg_is_smaller_and_close(tmp_path: Path) -> None:
    camera = samples.stream("c", Kind.IMAGE, samples.pictures(4, 96, 128))
    sizes = {}
    for name, options in (("png", None), ("jpeg", ImageOptions(format="jpeg", quality=80))):
        path = tmp_path / f"{name}.mcap"
        write_log(path, [camera], origin=Origin.REAL, image=options)
        sizes[name] = path.stat().st_size
        back = McapLog(path).read("c").frames.read(np.arange(4))
        error = np.abs(back.astype(int) - camera.array.astype(int)).mean()
        assert error == 0 if name == "png" else error < 12
    assert sizes["jpeg"] != sizes["png"]


# -------------------------------------------------------------------- files of others


def foreign(path: Path, channels: list[tuple[str, str, str, bytes, list[bytes]]], publish: int = 0) -> McapLog:
    """Write messages as any recorder would: (topic, schema, encoding, schema data, payloads)."""
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.NONE)
        writer.start(profile="ros2", library="recorder")
        for topic, schema, encoding, data, payloads in channels:
            schema_id = writer.register_schema(schema, encoding, data) if schema else 0
            kind = {"ros2msg": "cdr", "protobuf": "protobuf", "ros2idl": "cdr"}.get(encoding, "json")
            channel = writer.register_channel(topic, kind, schema_id)
            for i, payload in enumerate(payloads):
                writer.add_message(channel, log_time=1000 + i, data=payload, publish_time=1000 + i + publish)
        writer.finish()  # type: ignore[no-untyped-call]
    return McapLog(path)


def cdr(name: str, messages: list[dict[str, Any]], topic: str = "/x") -> tuple[str, str, str, bytes, list[bytes]]:
    encode = ros2.encoder(name)
    payloads = [encode(m) for m in messages]
    return topic, ros2.schema_name(name), "ros2msg", ros2.definition(name).encode(), payloads


def test_a_joint_state_becomes_a_stream_a_field_on_the_header_clock(tmp_path: Path) -> None:
    messages = [
        {
            "header": ros2.header(5_000_000_007 + i, "base"),
            "name": ["j1", "j2"],
            "position": [float(i), 1.0],
            "velocity": [0.5, float(i)],
        }
        for i in range(3)
    ]
    log = foreign(tmp_path / "a.mcap", [cdr("sensor_msgs/JointState", messages, "/arm/joint_states")])
    assert [i.name for i in log.streams()] == ["arm.joint_states.position", "arm.joint_states.velocity"]
    position = log.read("arm.joint_states.position")
    assert position.info.names == ("j1", "j2")
    assert (position.info.clock, position.info.frame, position.info.topic) == ("header", "base", "/arm/joint_states")
    assert position.times_ns.tolist() == [5_000_000_007, 5_000_000_008, 5_000_000_009]
    assert position.log_times_ns is not None
    assert position.log_times_ns.tolist() == [1000, 1001, 1002]
    assert position.array.tolist() == [[0, 1], [1, 1], [2, 1]]
    assert len(log.read("arm.joint_states.velocity", (5_000_000_008, 5_000_000_009))) == 1


def test_without_header_the_publish_time_is_used_where_it_says_more_than_the_log_time(tmp_path: Path) -> None:
    message = [{"layout": {"dim": [], "data_offset": 0}, "data": [1.5, 2.5]}]
    channel = cdr("std_msgs/Float64MultiArray", message)
    published = foreign(tmp_path / "a.mcap", [channel], publish=-3).read("x")
    assert (published.info.clock, published.times_ns.tolist()) == ("publish", [997])
    logged = foreign(tmp_path / "b.mcap", [channel]).read("x")
    assert (logged.info.clock, logged.times_ns.tolist(), logged.log_times_ns) == ("log", [1000], None)
    assert logged.array.tolist() == [[1.5, 2.5]]


@pytest.mark.parametrize(
    ("encoding", "element", "kind"),
    [
        ("rgb8", np.uint8, Kind.IMAGE),
        ("bgr8", np.uint8, Kind.IMAGE),
        ("mono8", np.uint8, Kind.IMAGE),
        ("32FC1", np.float32, Kind.DEPTH),
        ("16UC1", np.uint16, Kind.DEPTH),
    ],
)
def test_raw_images_with_padded_rows_and_either_byte_order(
    tmp_path: Path, encoding: str, element: type, kind: Kind
) -> None:
    channels = 3 if encoding in {"rgb8", "bgr8"} else 1
    pixels = np.arange(4 * 6 * channels).reshape(4, 6, channels).astype(element)
    for big in (False, True):
        body = pixels.astype(np.dtype(element).newbyteorder(">" if big else "<")).reshape(4, -1).view(np.uint8)
        padded = np.concatenate([body, np.full((4, 5), 99, np.uint8)], axis=1)
        message = {
            "header": ros2.header(9, "cam"),
            "height": 4,
            "width": 6,
            "encoding": encoding,
            "is_bigendian": int(big),
            "step": padded.shape[1],
            "data": padded.tobytes(),
        }
        log = foreign(tmp_path / f"{big}.mcap", [cdr("sensor_msgs/Image", [message])])
        info = log.streams()[0]
        got = log.read("x").frames.read(np.array([0]))[0]
        assert info.kind is kind
        expected: np.ndarray[Any, Any] = pixels if channels == 3 else pixels[..., 0]
        if encoding == "bgr8":
            expected = pixels[..., ::-1]
        elif encoding == "mono8":
            expected = np.repeat(pixels, 3, axis=2)
        elif encoding == "16UC1":
            expected = pixels[..., 0].astype(np.float32) / np.float32(1000)
        np.testing.assert_array_equal(got, expected)


def test_json_messages_become_vectors_events_and_images(tmp_path: Path) -> None:
    picture = images.encode(samples.pictures(1)[0], "png")
    image = {"timestamp": {"sec": 3, "nsec": 5}, "frame_id": "c", "format": "png"}
    encoded = {**image, "data": base64.b64encode(picture).decode()}
    log = foreign(
        tmp_path / "a.mcap",
        [
            ("/list", "any", "jsonschema", b"{}", [b'{"timestamp": {"sec": 1, "nsec": 2}, "values": [1, 2.5]}']),
            ("/numbers", "", "", b"", [b'{"vx": 1, "wz": -2}']),
            ("/deep", "any", "jsonschema", b"{}", [b'{"a": {"b": [1, "x"]}}']),
            ("/image", "foxglove.CompressedImage", "jsonschema", b"{}", [json.dumps(encoded).encode()]),
        ],
    )
    assert log.read("list").array.tolist() == [[1.0, 2.5]]
    assert log.read("list").times_ns.tolist() == [1_000_000_002]
    assert log.read("numbers").info.names == ("vx", "wz")
    assert log.read("numbers").array.tolist() == [[1.0, -2.0]]
    assert json.loads(log.read("deep").array[0]) == {"a": {"b": [1, "x"]}}
    stream = log.read("image")
    assert stream.times_ns.tolist() == [3_000_000_005]
    np.testing.assert_array_equal(stream.frames.read(np.array([0]))[0], samples.pictures(1)[0])


def test_pose_wrench_twist_and_transform_are_known_by_type(tmp_path: Path) -> None:
    axes = {"x": 1.0, "y": 2.0, "z": 3.0}
    turn = {"x": 0.0, "y": 0.0, "z": 0.6, "w": 0.8}
    vector = "float64 x\nfloat64 y\nfloat64 z"
    separator = "\n" + "=" * 80 + "\n"
    twist = (
        f"geometry_msgs/Vector3 linear\ngeometry_msgs/Vector3 angular{separator}MSG: geometry_msgs/Vector3\n{vector}"
    )
    pose = cdr(
        "geometry_msgs/PoseStamped",
        [{"header": ros2.header(5, "map"), "pose": {"position": axes, "orientation": turn}}],
        "/p",
    )
    wrench = cdr(
        "geometry_msgs/WrenchStamped",
        [{"header": ros2.header(5, "w"), "wrench": {"force": axes, "torque": axes}}],
        "/w",
    )
    from mcap_ros2._dynamic import serialize_dynamic

    twist_bytes = serialize_dynamic("geometry_msgs/msg/Twist", twist)["geometry_msgs/msg/Twist"](
        {"linear": axes, "angular": axes}
    )
    log = foreign(
        tmp_path / "a.mcap",
        [pose, wrench, ("/t", "geometry_msgs/msg/Twist", "ros2msg", twist.encode(), [twist_bytes])],
    )
    kinds = {i.name: i.kind for i in log.streams()}
    assert kinds == {"p": Kind.POSE, "w": Kind.VECTOR, "t": Kind.VECTOR}
    assert log.read("p").array.tolist() == [[1, 2, 3, 0, 0, 0.6, 0.8]]
    assert log.read("w").array.tolist() == [[1, 2, 3, 1, 2, 3]]
    assert log.read("t").info.unit == "m/s,m/s,m/s,rad/s,rad/s,rad/s"


def test_messages_that_cannot_be_decoded_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    good = cdr("std_msgs/String", [{"data": "hello"}], "/ok")
    idl = ("/idl", "x/msg/Y", "ros2idl", b"module x {};", [b"\0\1\0\0\0"])
    short = (*cdr("sensor_msgs/JointState", [{}], "/short")[:4], [b"\0\1"])
    log = foreign(tmp_path / "a.mcap", [good, idl, short])
    assert [i.name for i in log.streams()] == ["ok"]
    assert log.read("ok").array.tolist() == ["hello"]
    assert {(f.check, f.stream, f.value) for f in log.findings} == {
        ("undecodable", "/idl", 1.0),
        ("undecodable", "/short", 1.0),
    }


def test_vectors_of_changing_length_are_refused_when_read(tmp_path: Path) -> None:
    layout = {"dim": [], "data_offset": 0}
    messages = [{"layout": layout, "data": [1.0] * n} for n in (2, 3)]
    log = foreign(tmp_path / "a.mcap", [cdr("std_msgs/Float64MultiArray", messages)])
    with pytest.raises(LogUnreadable, match="differ in length"):
        log.read("x")


def test_two_channels_of_one_topic_are_two_streams(tmp_path: Path) -> None:
    channel = cdr("std_msgs/String", [{"data": "a"}])
    log = foreign(tmp_path / "a.mcap", [channel, channel])
    assert [i.name for i in log.streams()] == ["x", "x#2"]
    assert len(log.read("x#2")) == 1


def test_a_stream_written_with_log_clock_reads_its_log_times(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    with McapWriter(path, origin=Origin.REAL) as writer:
        writer.add_stream(StreamInfo(name="a", kind=Kind.VECTOR, count=-1))
        writer.write("a", 100, [1.0], publish_time_ns=90)
    stream: Stream = McapLog(path).read("a")
    assert (stream.times_ns.tolist(), stream.log_times_ns) == ([100], None)


def test_fields_are_found_in_objects_and_mappings_alike() -> None:
    from worldgate.data.logs._messages import stamp_ns

    assert stamp_ns({"timestamp": "2026-11-22T10:00:00.000000001Z"}) == 1_795_341_600_000_000_001
    assert stamp_ns(SimpleNamespace(header=SimpleNamespace(stamp=SimpleNamespace(sec=2, nanosec=3)))) == 2_000_000_003
    assert stamp_ns({"header": {"stamp": {"sec": 0, "nanosec": 0}}}) is None
