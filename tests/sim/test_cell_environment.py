from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from worldgate.core.errors import AlreadyExists, NotFound
from worldgate.core.streams import Kind, Origin
from worldgate.core.units import check_unit
from worldgate.data.logs.mcap import McapLog, open_logs
from worldgate.sim.attributes import Attributes
from worldgate.sim.environment import CellEnvironment, EnvironmentConfig
from worldgate.sim.experts import EXPERTS, Expert
from worldgate.sim.record import RecordConfig, record
from worldgate.sim.recorder import START_NS
from worldgate.sim.scenario import from_json, sample
from worldgate.sim.sensing import SensorConfig

FULL = RecordConfig()
SMALL = RecordConfig(sensors=SensorConfig(cameras=("front",), camera_hz=10.0, geometry=(), lidar=False))


def opened(path: Path) -> McapLog:
    (log,) = open_logs(path).logs
    assert isinstance(log, McapLog)
    return log


def test_a_recording_repeats_to_the_byte_and_changes_with_the_seed(tmp_path: Path) -> None:
    attributes = Attributes(person=True, spill=0.1)
    paths = [
        record(tmp_path / f"{k}.mcap", seed=seed, attributes=attributes, duration_s=1.5, config=FULL)
        for k, seed in enumerate((7, 7, 8))
    ]
    first, again, other = (path.read_bytes() for path in paths)
    assert first == again
    assert first != other


def test_a_log_holds_every_sensor_at_its_rate_and_is_marked_simulated(tmp_path: Path) -> None:
    log = opened(record(tmp_path / "run.mcap", seed=1, duration_s=2.0, config=FULL, release="ab" * 32))
    assert log.origin is Origin.SIMULATED
    streams = {info.name: info for info in log.streams()}
    counts = {name: info.count for name, info in streams.items()}
    assert counts["action"] == 20
    for name in ("observation.state", "observation.environment_state", "observation.force"):
        assert abs(counts[name] - 200) <= 1
    cameras = ("images.front", "images.top", "depth.front", "segmentation.front", "normals.front")
    for name in cameras:
        assert abs(counts[f"observation.{name}"] - 60) <= 1
    assert abs(counts["observation.lidar"] - 20) <= 1
    assert streams["observation.depth.front"].kind is Kind.DEPTH
    for info in streams.values():
        check_unit(info.unit, channels=info.shape[0] if len(info.shape) == 1 else None)
    assert log.facts["release"] == "ab" * 32
    assert (log.facts["site"], log.facts["robot"], log.facts["arm"]) == ("north", "nr1", "left")


def test_sensors_of_a_log_keep_their_own_jittered_clocks(tmp_path: Path) -> None:
    log = opened(record(tmp_path / "run.mcap", seed=1, duration_s=2.0, config=FULL))
    state, force = log.read("observation.state"), log.read("observation.force")
    assert not np.isin(state.times_ns, force.times_ns).any()
    assert np.diff(state.times_ns).std() > 100_000
    assert state.log_times_ns is not None and (state.log_times_ns > state.times_ns - 1_000_000).all()
    front, top = log.read("observation.images.front"), log.read("observation.images.top")
    assert abs(front.times_ns[0] - top.times_ns[0]) > 100_000


def test_recorded_depth_and_segmentation_agree_with_the_picture_in_size(tmp_path: Path) -> None:
    log = opened(record(tmp_path / "run.mcap", seed=1, duration_s=0.3, config=FULL))
    depth = log.read("observation.depth.front").frames.read(np.array([2]))
    label = log.read("observation.segmentation.front").frames.read(np.array([2]))
    assert depth.shape == label.shape == (1, 64, 64)
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(label > 0, depth > 0)


def test_contacts_are_events_that_begin_before_they_end(tmp_path: Path) -> None:
    log = opened(record(tmp_path / "run.mcap", seed=3, duration_s=4.0, config=SMALL))
    events = [json.loads(text) for text in log.read("events.contact").array]
    touching: set[tuple[str, str]] = set()
    for event in events:
        pair = (event["a"], event["b"])
        assert (pair in touching) == (event["event"] == "end")
        touching ^= {pair}
    assert any(e["event"] == "begin" and {e["a"], e["b"]} == {"object", "tool_rod"} for e in events)


def test_recording_does_not_change_the_run() -> None:
    finals = []
    for sensors in (None, SMALL.sensors):
        environment = CellEnvironment("south", attributes=Attributes(person=True), sensors=sensors)
        policy = Expert(EXPERTS["noisy"], "south")
        observation = environment.reset(seed=5)
        policy.reset(seed=5)
        for _ in range(30):
            observation = environment.step(policy.act(observation)).observation
        finals.append((observation["observation.environment_state"], environment.outcome()))
    np.testing.assert_array_equal(finals[0][0], finals[1][0])
    assert finals[0][1] == finals[1][1]


def test_an_observation_is_as_old_as_the_sites_delay() -> None:
    environment = CellEnvironment("south", scenario=sample("south", seed=1))
    environment.reset(seed=0)
    assert environment.site.latency_s == 0.04
    for _ in range(3):
        seen = environment.step(np.array([0.15, 0.0])).observation["observation.state"]
    assert environment.cell is not None
    now, speed = environment.cell.state(), 0.3
    assert 0.25 * speed * 0.04 < np.linalg.norm(now[8:10] - seen[8:10]) < 4 * speed * 0.04


def test_cameras_of_an_observation_show_the_faults_too() -> None:
    from worldgate.sim.attributes import CameraFault

    fault = CameraFault(camera="front", mode="black", start_s=0.15, end_s=0.25)
    environment = CellEnvironment(
        "north", attributes=Attributes(camera_faults=(fault,)), config=EnvironmentConfig(cameras=("front", "top"))
    )
    assert environment.reset(seed=0)["observation.images.front"].shape == (64, 64, 3)
    environment.step(np.array([0.0, 0.0]))
    dark = environment.step(np.array([0.0, 0.0])).observation
    assert not dark["observation.images.front"].any()
    assert dark["observation.images.top"].any()


def test_a_run_is_done_when_the_object_has_stayed_in_the_bay_or_time_is_up() -> None:
    inside = CellEnvironment("north", scenario=sample("north", seed=1))
    short = CellEnvironment("north", config=EnvironmentConfig(horizon_s=0.3))
    short.reset(seed=1)
    assert [short.step(np.zeros(2)).done for _ in range(3)] == [False, False, True]
    inside.reset(seed=1)
    assert inside.cell is not None
    inside.cell.data.qpos[4:6] = inside.site.goal
    answers = [inside.step(np.array([-0.08, 0.0])) for _ in range(5)]
    assert [answer.done for answer in answers] == [False] * 4 + [True]
    assert all(answer.facts["success"] == 1.0 for answer in answers)


def test_the_scenario_of_a_log_starts_the_same_run_again(tmp_path: Path) -> None:
    log = opened(record(tmp_path / "run.mcap", site="south", seed=6, attributes=Attributes(person=True), config=SMALL))
    scenario = from_json(json.loads(str(log.facts["scenario"])))
    again = record(tmp_path / "again.mcap", site="south", seed=6, scenario=scenario, config=SMALL)
    assert again.read_bytes() == (tmp_path / "run.mcap").read_bytes()


def test_a_ros2_recording_holds_the_same_numbers(tmp_path: Path) -> None:
    plain = opened(record(tmp_path / "a.mcap", seed=2, duration_s=0.5, config=SMALL))
    ros = opened(
        record(tmp_path / "b.mcap", seed=2, duration_s=0.5, config=RecordConfig(sensors=SMALL.sensors, profile="ros2"))
    )
    np.testing.assert_array_equal(plain.read("observation.state").array, ros.read("observation.state").array)


def test_a_recording_starts_when_it_is_told_to(tmp_path: Path) -> None:
    log = opened(record(tmp_path / "a.mcap", seed=2, duration_s=0.5, config=SMALL, start_ns=START_NS + 10**12))
    assert abs(int(log.read("action").times_ns[0]) - START_NS - 10**12) < 10**8


def test_an_existing_file_is_not_overwritten_and_an_unknown_camera_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(b"mine")
    with pytest.raises(AlreadyExists):
        record(path, duration_s=0.1, config=SMALL)
    assert path.read_bytes() == b"mine"
    with pytest.raises(NotFound, match="one of front, top"):
        record(tmp_path / "b.mcap", duration_s=0.1, config=RecordConfig(sensors=SensorConfig(cameras=("wrist",))))
