"""The whole way: a log's clocks estimated, written as TOML, pasted, and the skew gone; on made and real logs."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldgate.core.config import decode
from worldgate.core.streams import Kind, log_digest
from worldgate.data.alignment import AlignmentSpec, StreamAlignment, align
from worldgate.data.alignment_report import report
from worldgate.data.clocks.estimate import clocks, lags
from worldgate.data.clocks.model import ClockModel
from worldgate.data.clocks.sheet import sheet
from worldgate.data.logs import open_folder

SECOND = 1_000_000_000
MS = 1_000_000
START = 1_767_600_000 * SECOND


def drifting(fakes: Any) -> Any:
    """A camera whose clock runs 1 % fast and is reset to zero half way, beside joints whose clock is the recorder's."""
    rng = np.random.default_rng(0)
    ticks = START + np.arange(800, dtype=np.int64) * 10 * MS
    shutter = START + np.arange(240, dtype=np.int64) * 33 * MS
    stamps = START + ((shutter - START) * 1.01).astype(np.int64)
    stamps[120:] -= stamps[120]
    delay = rng.integers(2 * MS, 6 * MS, 240)
    images = fakes.Frames(rng.integers(0, 255, (240, 8, 8, 3), dtype=np.uint8))
    return fakes.log(
        fakes.stream("joints", ticks, log_times_ns=ticks + MS, clock="header"),
        fakes.stream("camera", stamps, images, kind=Kind.IMAGE, log_times_ns=shutter + delay, clock="header"),
    )


def test_a_reset_and_drifting_camera_is_mended_by_the_lines_that_are_printed(fakes: Any) -> None:
    log = drifting(fakes)
    spec = AlignmentSpec(reference="joints", streams={"joints": StreamAlignment(), "camera": StreamAlignment()})
    found = sheet(log, spec, cameras=False)
    assert found.after is not None
    tree = tomllib.loads("\n".join(found.toml))["alignment"]["logs"]
    models = {n: decode(ClockModel, t, where="toml") for n, t in tree[log_digest(log)].items()}
    assert list(models) == ["camera"]
    assert [step.message for step in models["camera"].steps] == [120]
    assert models["camera"].drift_ppm == pytest.approx(-9901, abs=100)
    mended = align(log, replace(spec, logs={log_digest(log): models}))
    camera = mended.streams["camera"]
    true = START + camera.index * 33 * MS
    assert np.abs(camera.source_ns - true).max() < 8 * MS, "the least delay of 2 ms stays in"
    assert np.abs(camera.skew_ns).max() < 26 * MS
    assert [s.number for s in report(mended).streams["camera"].segments] == [0, 1]


def test_clocks_that_agree_get_no_model(fakes: Any) -> None:
    rng = np.random.default_rng(1)
    ticks = START + np.arange(600, dtype=np.int64) * 10 * MS
    log = fakes.log(fakes.stream("a", ticks, log_times_ns=ticks + rng.integers(MS, 9 * MS, 600), clock="header"))
    (clock,) = clocks(log)
    assert clock.line is not None
    assert clock.model is None
    assert 0 < clock.line.offset_ns < 3 * MS
    assert sheet(log, cameras=False).toml == ()


@pytest.mark.parametrize("ppm", [20_000.0, -3_000.0])
def test_the_cells_drifting_camera_is_found_within_its_error(tmp_path: Path, ppm: float) -> None:
    record = pytest.importorskip("worldgate.sim.record").record
    attributes = pytest.importorskip("worldgate.sim.attributes").Attributes(clock_drift_ppm=ppm, clock_offset_ms=15.0)
    path = record(tmp_path / "run.mcap", seed=3, duration_s=10, attributes=attributes)
    by_name = {c.stream: c for c in clocks(open_folder(path).logs[0])}
    camera = by_name["observation.images.front"]
    assert camera.line is not None
    assert camera.model is not None
    slow = (1 / (1 + ppm * 1e-6) - 1) * 1e6  # a clock that runs fast must be slowed down
    assert camera.line.drift_ppm == pytest.approx(slow, abs=1.2 * camera.line.drift_error_ppm + 60)
    for name, clock in by_name.items():
        if not name.endswith(".front"):
            assert clock.model is None, name


def test_the_cells_arm_follows_its_commands(tmp_path: Path) -> None:
    record = pytest.importorskip("worldgate.sim.record").record
    path = record(tmp_path / "run.mcap", seed=0, duration_s=10)
    (found,) = lags(open_folder(path).logs[0], cameras=False)
    assert (found.leading, found.following) == ("action", "observation.state")
    assert 80 * MS < found.lag.lag_ns < 250 * MS
    assert found.lag.error_ns < 40 * MS


def test_a_real_huskys_imu_clock_drifts_against_the_recorder_and_its_odometry_does_not(real_data: Path) -> None:
    pytest.importorskip("rosbags")
    logs = {log.name: log for log in open_folder(real_data / "robot_localization_ros1").logs}
    by_name = {c.stream: c for c in clocks(logs["test/test1.bag"])}
    imu, odometry = by_name["imu.data.angular_velocity"], by_name["husky_velocity_controller.odom"]
    assert imu.line is not None
    assert odometry.line is not None
    assert imu.line.drift_ppm == pytest.approx(-37.3, abs=imu.line.drift_error_ppm)
    assert imu.line.drift_error_ppm < 8
    assert imu.model is not None
    assert abs(odometry.line.drift_ppm) < 1
    assert odometry.model is None


def test_comma2k19s_gnss_lies_55_ms_from_the_camera_at_the_95th_percentile(real_data: Path) -> None:
    (log,) = open_folder(real_data / "comma2k19_segment").logs
    names = ("observation.camera.pose", "observation.gnss.ublox", "observation.state.speed")
    spec = AlignmentSpec(reference=names[0], streams={name: StreamAlignment() for name in names})
    found = report(align(log, spec)).streams
    assert found["observation.gnss.ublox"].skew.p95_ns / MS == pytest.approx(55, abs=1)
    assert found["observation.state.speed"].skew.p95_ns / MS == pytest.approx(7.8, abs=0.5)


def test_droids_arm_follows_its_commands_by_a_fifth_of_a_second(real_data: Path) -> None:
    log = open_folder(real_data / "droid_ctrlworld" / "droid_subset").logs[0]
    found = {lag.leading: lag.lag for lag in lags(log, cameras=False)}
    assert found["action.joint_position"].lag_ns / MS == pytest.approx(222, abs=20)
    assert found["action.joint_position"].correlation > 0.9
    assert "action.joint_velocity" not in found, "a speed is not compared with a place"
