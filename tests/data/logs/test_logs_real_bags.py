"""Real bags, arms and cars: rates, gaps and skews as the data folder's README states them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from worldgate.core.streams import Kind, Log, log_digest
from worldgate.core.times import MILLISECOND, SECOND
from worldgate.data.alignment import AlignmentSpec, Policy, StreamAlignment, align
from worldgate.data.alignment_report import report
from worldgate.data.ingest import ingest
from worldgate.data.logs import open_folder


def logs(path: Path) -> dict[str, Log]:
    return {log.name: log for log in open_folder(path).logs}


def gaps_ms(log: Log, stream: str, *, recorded: bool = False) -> Any:
    read = log.read(stream)
    times = read.log_times_ns if recorded and read.log_times_ns is not None else read.times_ns
    return np.diff(times) / MILLISECOND


def rate(log: Log, stream: str) -> float:
    times = log.read(stream).times_ns
    return float((len(times) - 1) * SECOND / (times[-1] - times[0]))


def test_the_husky_and_the_jackal_report_at_their_rates(real_data: Path) -> None:
    bags = logs(real_data / "robot_localization_ros1")
    husky, jackal = bags["test/test1.bag"], bags["test/test2.bag"]
    assert husky.findings == jackal.findings == ()
    odom = "husky_velocity_controller.odom"
    assert rate(husky, odom) == pytest.approx(10, abs=0.1)
    assert gaps_ms(husky, odom, recorded=True).max() == pytest.approx(209, abs=2)
    assert rate(husky, "imu.data.angular_velocity") == pytest.approx(30, abs=0.1)
    assert rate(husky, "fix") == pytest.approx(2.5, abs=0.01)
    times = husky.read(odom).times_ns
    assert (times[-1] - times[0]) / SECOND == pytest.approx(395, abs=1)
    assert rate(jackal, "imu.data.angular_velocity") == pytest.approx(50, abs=0.1)
    jitter = gaps_ms(jackal, "jackal_velocity_controller.odom", recorded=True)
    assert (jitter.max(), rate(jackal, "jackal_velocity_controller.odom")) == pytest.approx((36, 50), abs=1)
    # The simulated clock of the second bag begins at 47 s; it is kept as it is.
    assert jackal.read("imu.data.orientation").times_ns[0] == 47_580_000_000
    kinds = {info.name: (info.kind, info.unit) for info in husky.streams()}
    assert kinds[odom] == (Kind.POSE, "m,m,m,1,1,1,1")
    assert kinds["imu.data.linear_acceleration"] == (Kind.VECTOR, "m/s^2")
    assert husky.read("imu.data.linear_acceleration").array.mean(axis=0) == pytest.approx([0, 9.8, 0], abs=0.5)


def test_every_value_of_a_real_bag_is_the_one_that_rosbags_reads(real_data: Path) -> None:
    path = real_data / "robot_localization_ros1" / "test" / "test1.bag"
    log = open_folder(path).logs[0]
    ours = [log.read(f"imu.data.{name}").array for name in ("orientation", "angular_velocity", "linear_acceleration")]
    stamps = log.read("imu.data.orientation").times_ns
    theirs, times = [], []
    with AnyReader([path]) as reader:
        chosen = [c for c in reader.connections if c.topic == "/imu/data"]
        for connection, _, data in reader.messages(chosen):
            m: Any = reader.deserialize(data, connection.msgtype)
            o, w, a = m.orientation, m.angular_velocity, m.linear_acceleration
            theirs.append([o.x, o.y, o.z, o.w, w.x, w.y, w.z, a.x, a.y, a.z])
            times.append(m.header.stamp.sec * SECOND + m.header.stamp.nanosec)
    np.testing.assert_array_equal(np.concatenate(ours, axis=1), np.array(theirs))
    np.testing.assert_array_equal(stamps, times)


def test_a_rosbag2_folder_is_one_log_and_the_same_one_in_both_storages(real_data: Path) -> None:
    bags = logs(real_data / "rosbag2_resources")
    short = {name.partition("/resources/")[2]: log for name, log in bags.items()}
    single = [f"mcap/reindex_test_bags/multiple_files/multiple_files_{i}.mcap" for i in range(3)]
    assert set(short) == {"mcap/talker", "mcap/wbag", "mcap/cdr_test", "sqlite3/talker", "sqlite3/cdr_test", *single}
    assert log_digest(short["mcap/talker"]) == log_digest(short["sqlite3/talker"])
    assert log_digest(short["mcap/cdr_test"]) == log_digest(short["sqlite3/cdr_test"])
    assert [len(short[name].read("chatter")) for name in single] == [1324, 1324, 529]
    assert short[single[0]].read("chatter").times_ns[0] == 1616653333034080451
    assert short["mcap/talker"].read("topic").array[0] == "Hello, world! 0"
    assert short["mcap/talker"].read("rosout").info.kind is Kind.EVENT
    assert short["mcap/cdr_test"].read("test_topic").array.shape == (3, 13)


def test_five_files_of_a_split_bag_are_read_in_order_and_its_metadata_is_caught_lying(real_data: Path) -> None:
    (wbag,) = open_folder(real_data / "rosbag2_resources/rosbag2_py/test/resources/mcap/wbag").logs
    assert wbag.name == "wbag"
    topics = [letter * 3 for letter in "ABCDEFGH"]
    times = np.concatenate([wbag.read(topic).times_ns for topic in topics])
    assert len(times) == 6074
    spacing = np.diff(np.sort(times))
    assert 0 <= spacing.min() <= spacing.max() <= 4
    assert [f.check for f in wbag.findings] == ["metadata_mismatch", "metadata_mismatch"]
    assert "metadata.yaml says 2623 ns" in wbag.findings[0].message


def test_a_definition_that_does_not_fit_its_messages_is_found_in_a_real_bag(real_data: Path) -> None:
    (talker,) = open_folder(real_data / "rosbag2_resources/rosbag2_py/test/resources/sqlite3/talker").logs
    (finding,) = talker.findings
    assert finding.check == "metadata_mismatch"
    assert "rcl_interfaces/msg/Log" in finding.message
    assert '"msg": "Publishing' in talker.read("rosout").array[0]


def test_the_openarm_s_streams_have_their_own_rates_and_jitter(real_data: Path) -> None:
    folder = open_folder(real_data / "openarm_dataset")
    episodes = {log.name.rpartition("/")[2]: log for log in folder.logs}
    assert set(episodes) == {"episode_0", "episode_3"}
    zero = episodes["episode_0"]
    assert (zero.facts["success"], episodes["episode_3"].facts["success"]) == (False, True)
    assert zero.facts["operator"] == "Tester"
    assert zero.facts["equipment"] == "Test 1.0"
    state = gaps_ms(zero, "observation.state.left")
    found = (state.min(), np.median(state), state.max())
    assert found == pytest.approx((2.6, 4.26, 8.7), abs=0.05)
    action = gaps_ms(zero, "action.left")
    assert (action.min(), action.max()) == pytest.approx((27.8, 35.4), abs=0.05)
    infos = {info.name: info for info in zero.streams()}
    # What the metadata declares and what comes are not the same: a check can hold one against the other.
    assert infos["action.left"].rate_hz == 250.0
    assert rate(zero, "action.left") == pytest.approx(30, abs=0.2)
    assert infos["observation.images.head"].shape == (600, 960, 3)
    head = zero.read("observation.images.head")
    assert head.times_ns[0] == 1772010251618790832
    assert head.frames.read(np.arange(3)).std() > 20
    absent = [f.message for f in folder.findings if "has no frames in 2 of 2" in f.message]
    assert len(absent) == 2


def test_the_car_s_sensors_have_their_own_rates(real_data: Path) -> None:
    (log,) = open_folder(real_data / "comma2k19_segment").logs
    counts = {info.name: info.count for info in log.streams()}
    assert counts["observation.camera.pose"] == 1200
    assert rate(log, "observation.camera.pose") == pytest.approx(20, abs=0.05)
    speed = gaps_ms(log, "observation.state.speed")
    assert rate(log, "observation.state.speed") == pytest.approx(83, abs=0.5)
    assert SECOND / MILLISECOND / np.median(speed) == pytest.approx(89, abs=1)
    assert np.percentile(speed, 99) == pytest.approx(22.8, abs=0.2)
    assert rate(log, "observation.imu.gyro") == pytest.approx(104, abs=0.5)
    assert rate(log, "observation.imu.magnetometer") == pytest.approx(10, abs=0.2)
    assert gaps_ms(log, "observation.gnss.ublox").max() == pytest.approx(197, abs=1)
    radar = gaps_ms(log, "observation.radar")
    assert (radar == 0).mean() == pytest.approx(0.39, abs=0.005)
    # What the docstring says of units and orientation, from the data itself.
    field = np.linalg.norm(log.read("observation.imu.magnetometer").array, axis=1)
    assert 25 < field.mean() < 65, "the Earth's field, in microtesla"
    from scipy.spatial.transform import Rotation

    pose, velocity = log.read("observation.camera.pose").array, log.read("observation.camera.velocity").array
    forward = Rotation.from_quat(pose[:, 3:]).inv().apply(velocity)
    assert np.median(forward, axis=0) == pytest.approx([17.5, 0, 0], abs=1.5)
    fixes = np.diff(log.read("observation.gnss.ublox").array[:, 3])
    assert np.median(fixes) == 100, "milliseconds at 10 Hz"


def test_nearest_samples_of_the_car_are_as_far_from_the_camera_as_the_readme_says(real_data: Path) -> None:
    (log,) = open_folder(real_data / "comma2k19_segment").logs
    names = ("observation.gnss.ublox", "observation.state.speed", "observation.imu.gyro")
    streams = {name: StreamAlignment(policy=Policy.NEAREST) for name in names}
    episode = align(log, AlignmentSpec(reference="observation.camera.pose", streams=streams))
    skews = {name: found.skew for name, found in report(episode).streams.items() if name in names}
    frames = log.read("observation.camera.pose").times_ns
    assert (len(frames), len(episode)) == (1200, 1194)
    for name, p95_ms, max_ms in zip(names, (55, 7.8, 4.6), (114, 42, 33), strict=True):
        assert skews[name].p95_ns / MILLISECOND == pytest.approx(p95_ms, abs=0.5)
        # The README counts the six frames before a sensor's first message or behind its last; an episode has none.
        every = np.abs(log.read(name).times_ns[None] - frames[:, None]).min(axis=1)
        assert every.max() / MILLISECOND == pytest.approx(max_ms, abs=0.5)
        assert skews[name].max_ns < every.max()


def test_real_folders_are_ingested_whole(workspace: Any, real_data: Path) -> None:
    expected = {"robot_localization_ros1": 2, "rosbag2_resources": 6, "openarm_dataset": 2, "comma2k19_segment": 1}
    for name, count in expected.items():
        # The two SQLite bags of rosbag2 are the same logs as their MCAP twins.
        assert len(ingest(workspace, real_data / name)) == count, name
