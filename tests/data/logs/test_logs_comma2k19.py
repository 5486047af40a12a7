"""comma2k19 segments: mapped arrays, seconds to nanoseconds, and arrays that disagree."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.logs import bag_samples as bags

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Kind, Log
from worldgate.data.logs import open_folder

SPEED = "observation.state.speed"


def only(root: Path) -> Log:
    (log,) = open_folder(root).logs
    return log


def load(file: Path) -> Any:
    return np.load(file, allow_pickle=False)


def test_streams_are_the_dataset_s_signals_with_units(tmp_path: Path) -> None:
    root = bags.make_comma2k19(tmp_path / "a")
    log = only(root)
    units = {info.name: info.unit for info in log.streams()}
    assert units == {
        "observation.radar": "m,m,m/s,1,1",
        SPEED: "m/s",
        "observation.state.steering_angle": "deg",
        "observation.state.wheel_speed": "m/s",
        "observation.gnss.ublox": "deg,deg,m/s,ms,m,deg",
        "observation.imu.gyro": "rad/s",
        "observation.camera.pose": "m,m,m,1,1,1,1",
        "observation.camera.velocity": "m/s",
        "observation.camera.gps_time": "1,s",
    }
    pose = log.read("observation.camera.pose")
    assert pose.info.kind is Kind.POSE
    # The dataset's quaternions begin with w, a pose's end with it.
    np.testing.assert_array_equal(pose.array[:, 6], load(root / "global_pose" / "frame_orientations")[:, 0])
    np.testing.assert_array_equal(pose.array[:, :3], load(root / "global_pose" / "frame_positions"))
    radar = log.read("observation.radar")
    np.testing.assert_array_equal(radar.array[:, 3], load(root / "processed_log" / "CAN" / "radar" / "value")[:, 5])
    assert {info.clock for info in log.streams()} == {"log"}
    assert pose.times_ns[:2].tolist() == [46_408_500_000_000, 46_408_550_000_000]


def test_a_window_reads_its_rows_from_the_mapped_file(tmp_path: Path) -> None:
    log = only(bags.make_comma2k19(tmp_path / "a"))
    part = log.read(SPEED, (46_409_003_000_000, 46_409_103_000_000))
    np.testing.assert_array_equal(part.array, log.read(SPEED).array[10:12])


def test_a_folder_of_segments_names_each_by_its_route(tmp_path: Path) -> None:
    for name in ("car|2018-08-02/10", "car|2018-08-02/11"):
        bags.make_comma2k19(tmp_path / "all" / name)
    assert [log.name for log in open_folder(tmp_path / "all").logs] == ["car|2018-08-02/10", "car|2018-08-02/11"]


def test_arrays_that_differ_in_length_are_read_as_far_as_both_go(tmp_path: Path) -> None:
    root = bags.make_comma2k19(tmp_path / "a")
    file = root / "processed_log" / "CAN" / "speed" / "value"
    bags.save(file, load(file)[:-3])
    log = only(root)
    (finding,) = log.findings
    assert (finding.check, finding.stream, finding.value, finding.limit) == ("count_mismatch", SPEED, 37.0, 40.0)
    assert len(log.read(SPEED)) == 37


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    root = bags.make_comma2k19(tmp_path / "a")
    bags.save(root / "processed_log" / "CAN" / "raw_can" / "t", np.zeros(3))
    (root / "video.hevc").write_bytes(b"\0\0\0\1")
    assert [f.check for f in only(root).findings] == ["undecodable", "undecodable"]
    assert "raw_can" in only(root).findings[0].message


def pickled(file: Path) -> None:
    with file.open("wb") as opened:
        np.save(opened, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def plain_pickle(file: Path) -> None:
    file.write_bytes(pickle.dumps([1.0, 2.0]))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-30])


def huge(file: Path) -> None:
    """A header that claims 8 TB."""
    data = file.read_bytes()
    shape = b"(40, 1)" if b"(40, 1)" in data else b"(40,)"
    claimed = b"(999999999999,)" if shape == b"(40,)" else b"(999999999, 999)"
    file.write_bytes(data.replace(shape + b" " * (len(claimed) - len(shape)), claimed).replace(shape, claimed))


def words(file: Path) -> None:
    bags.save(file, np.array(["a", "b"]))


def cube(file: Path) -> None:
    bags.save(file, np.zeros((2, 2, 2)))


@pytest.mark.parametrize("break_it", [pickled, plain_pickle, cut, huge, words, cube])
@pytest.mark.parametrize("name", ["t", "value"])
def test_an_array_that_is_not_rows_of_numbers_is_refused_and_never_unpickled(
    tmp_path: Path, break_it: Any, name: str
) -> None:
    root = bags.make_comma2k19(tmp_path / "a")
    break_it(root / "processed_log" / "CAN" / "speed" / name)
    with pytest.raises(LogUnreadable) as caught:
        only(root).read(SPEED)
    assert "speed" in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e18])
def test_times_that_are_no_seconds_are_refused(tmp_path: Path, value: float) -> None:
    root = bags.make_comma2k19(tmp_path / "a")
    file = root / "processed_log" / "CAN" / "speed" / "t"
    seconds = load(file)
    seconds[3] = value
    bags.save(file, seconds)
    with pytest.raises(LogUnreadable, match="finite seconds"):
        only(root).read(SPEED)


def test_a_signal_with_other_columns_is_refused(tmp_path: Path) -> None:
    root = bags.make_comma2k19(tmp_path / "a")
    bags.save(root / "processed_log" / "IMU" / "gyro" / "value", np.zeros((40, 4)))
    with pytest.raises(LogUnreadable, match="another shape"):
        open_folder(root)


def test_steps_back_in_time_are_kept(tmp_path: Path) -> None:
    root = bags.make_comma2k19(tmp_path / "a")
    file = root / "processed_log" / "CAN" / "speed" / "t"
    bags.save(file, load(file)[::-1])
    assert (np.diff(only(root).read(SPEED).times_ns) < 0).all()
