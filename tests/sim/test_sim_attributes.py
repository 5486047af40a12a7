from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from worldgate.core.errors import ConfigError, NotFound
from worldgate.core.streams import Log
from worldgate.data.logs.mcap import open_logs
from worldgate.sim.attributes import PRESETS, Attributes, CameraFault
from worldgate.sim.record import RecordConfig, find_attributes, record
from worldgate.sim.scene import CLASSES
from worldgate.sim.sensing import SensorConfig

FRONT, TOP = "observation.images.front", "observation.images.top"
LIGHT = RecordConfig(sensors=SensorConfig(camera_hz=10.0, geometry=("segmentation",), lidar=True))
NUMBERS = ("observation.state", "observation.environment_state", "observation.force", "action")


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Log]:
    """The same run under every preset, 4 s each."""
    folder = tmp_path_factory.mktemp("presets")
    for name, attributes in PRESETS.items():
        record(folder / f"{name}.mcap", seed=3, attributes=attributes, duration_s=4.0, config=LIGHT)
    return {log.name.removesuffix(".mcap"): log for log in open_logs(folder).logs}


def pictures(log: Log, stream: str = FRONT) -> np.ndarray:
    frames = log.read(stream).frames
    return frames.read(np.arange(len(frames), dtype=np.int64)).astype(np.int16)


def numbers(log: Log, stream: str) -> tuple[np.ndarray, np.ndarray]:
    found = log.read(stream)
    return found.array, found.times_ns


@pytest.mark.parametrize("name", ["glare", "dim", "occluded-camera", "failing-camera", "clock-drift", "dropped-frames"])
def test_what_only_cameras_or_clocks_see_leaves_physics_and_numbers_alone(logs: dict[str, Log], name: str) -> None:
    for stream in NUMBERS:
        for ours, plain in zip(numbers(logs[name], stream), numbers(logs["none"], stream), strict=True):
            np.testing.assert_array_equal(ours, plain)


@pytest.mark.parametrize("name", ["failing-camera", "clock-drift", "dropped-frames"])
def test_a_fault_of_one_camera_leaves_the_other_alone(logs: dict[str, Log], name: str) -> None:
    if name == "dropped-frames":
        assert len(pictures(logs[name], TOP)) < len(pictures(logs["none"], TOP))
    else:
        np.testing.assert_array_equal(pictures(logs[name], TOP), pictures(logs["none"], TOP))


def test_a_spill_changes_how_the_object_moves_and_is_seen_as_a_spill(logs: dict[str, Log]) -> None:
    assert not np.array_equal(*(numbers(logs[n], "observation.environment_state")[0][:390] for n in ("spill", "none")))
    assert (pictures(logs["spill"], "observation.segmentation.front") == CLASSES["spill"]).any()
    assert not (pictures(logs["none"], "observation.segmentation.front") == CLASSES["spill"]).any()


def test_a_spill_looks_darker_than_the_dry_table(logs: dict[str, Log]) -> None:
    wet = pictures(logs["spill"], "observation.segmentation.front")[0] == CLASSES["spill"]
    change = pictures(logs["spill"])[0] - pictures(logs["none"])[0]
    assert change[wet].mean() < -8
    assert abs(change[~wet]).mean() < 1.5


def test_glare_saturates_a_part_of_the_front_camera(logs: dict[str, Log]) -> None:
    bright = [(pictures(logs[name])[0].min(-1) > 245).mean() for name in ("glare", "none")]
    assert bright[0] > 0.01 and bright[1] < 0.001


def test_dim_light_darkens_and_adds_noise(logs: dict[str, Log]) -> None:
    dim, plain = pictures(logs["dim"]), pictures(logs["none"])
    assert dim.mean() < 0.65 * plain.mean()
    still = (slice(0, 2), slice(0, 12), slice(48, 64))
    assert np.diff(dim[still], axis=0).std() > 2 * np.diff(plain[still], axis=0).std()


def test_clutter_is_seen_as_clutter(logs: dict[str, Log]) -> None:
    stream = "observation.segmentation.front"
    assert (pictures(logs["clutter"], stream) == CLASSES["clutter"]).sum() > 10
    assert not (pictures(logs["none"], stream) == CLASSES["clutter"]).any()


def test_a_person_enters_the_view_and_the_measured_place(logs: dict[str, Log]) -> None:
    stream = "observation.segmentation.front"
    share = (pictures(logs["person"], stream) == CLASSES["person"]).mean((1, 2))
    assert share[0] == 0 and share.max() > 0.02
    hand = numbers(logs["person"], "observation.environment_state")[0][:, 5]
    assert hand[0] > 0.9 and hand.min() < 0.5


def test_an_occluded_camera_sees_the_cloth_and_the_other_does_not(logs: dict[str, Log]) -> None:
    share = (pictures(logs["occluded-camera"], "observation.segmentation.front") == CLASSES["occluder"]).mean()
    assert 0.2 < share < 0.7
    top = abs(pictures(logs["occluded-camera"], TOP) - pictures(logs["none"], TOP)).max()
    assert top < 60, "at most a shadow"


def test_a_failing_camera_freezes_to_the_byte_then_goes_black_then_recovers(logs: dict[str, Log]) -> None:
    log = logs["failing-camera"]
    stream = log.read(FRONT)
    seconds = (stream.times_ns - logs["none"].read("action").times_ns[0]) / 1e9
    seen, plain = pictures(log), pictures(logs["none"])
    frozen, black = seen[(seconds > 1.53) & (seconds < 2.95)], seen[(seconds > 3.02) & (seconds < 3.75)]
    assert len(frozen) > 10 and (frozen == frozen[0]).all()
    assert len(black) > 4 and not black.any()
    good = (seconds < 1.45) | (seconds > 3.85)
    np.testing.assert_array_equal(seen[good], plain[good])


def test_clock_drift_moves_stamps_away_from_arrivals(logs: dict[str, Log]) -> None:
    for name, low, high in (("clock-drift", 0.05, 0.12), ("none", -0.03, 0.03)):
        stream = logs[name].read(FRONT)
        assert stream.log_times_ns is not None
        ahead = (stream.times_ns - stream.log_times_ns) / 1e9
        assert low < ahead[-1] - ahead[0] < high


def test_dropped_frames_are_missing_and_the_rest_is_unchanged(logs: dict[str, Log]) -> None:
    lossy, plain = logs["dropped-frames"].read(FRONT), logs["none"].read(FRONT)
    assert 0.5 * len(plain) < len(lossy) < 0.9 * len(plain)
    kept = np.isin(plain.times_ns, lossy.times_ns)
    np.testing.assert_array_equal(pictures(logs["none"])[kept], pictures(logs["dropped-frames"]))


def test_the_facts_say_what_was_unusual(logs: dict[str, Log]) -> None:
    assert logs["none"].facts["attributes"] == ""
    assert logs["failing-camera"].facts["attributes"] == "freeze front 1.5-3s, black front 3-3.8s"


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="clutter"):
        Attributes(clutter=6)
    with pytest.raises(ConfigError, match="start_s < end_s"):
        CameraFault(camera="front", mode="black", start_s=2.0, end_s=1.0)


def test_an_unknown_attribute_or_camera_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="did you mean glare"):
        find_attributes("glar")
    with pytest.raises(NotFound, match="front"):
        record(tmp_path / "a.mcap", attributes=Attributes(occluded_camera="back"), duration_s=0.2)
    assert not list(tmp_path.iterdir())
