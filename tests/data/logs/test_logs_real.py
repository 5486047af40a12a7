"""Real robot logs: counts, streams and times as the data folder's README describes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Kind, Log, log_digest
from worldgate.data.logs import open_folder
from worldgate.data.logs._video import VideoFrames


def test_g1_is_six_of_a_hundred_episodes(real_data: Path) -> None:
    folder = open_folder(real_data / "g1_lerobot_v21")
    assert [log.name for log in folder.logs] == [f"episode_{n:06d}" for n in (28, 29, 30, 31, 59, 82)]
    assert [(f.check, f.value, f.limit) for f in folder.findings] == [("count_mismatch", 6.0, 100.0)]
    counts = []
    for log in folder.logs:
        infos = {info.name: info for info in log.streams()}
        assert infos["observation.state"].shape == infos["action"].shape == (26,)
        assert infos["observation.state"].names[0] == "kLeftShoulderPitch"
        assert infos["observation.images.cam_high"].shape == (480, 640, 3)
        assert len({info.count for info in infos.values()}) == 1
        assert log.findings == ()
        assert log.facts["task"] == "Pick up the yellow bottle on the table."
        counts.append(infos["action"].count)
    assert (min(counts), max(counts), len(counts)) == (221, 280, 6)


def test_g1_frames_decode_lazily_and_keep_their_packets(real_data: Path) -> None:
    log = open_folder(real_data / "g1_lerobot_v21").logs[0]
    camera = log.read("observation.images.cam_high")
    state = log.read("observation.state")
    assert np.abs(camera.times_ns - state.times_ns).max() <= 1
    frames = camera.frames
    assert isinstance(frames, VideoFrames)
    assert frames.index.codec == "av1"
    # The known defect: P-frames that repeat the I-frame before them take almost no bytes.
    repeats = (~frames.keyframes() & (frames.packet_sizes() < 60)).sum()
    assert repeats > 20
    picture = frames.read(np.array([100]))[0]
    assert picture.shape == (480, 640, 3)
    assert picture.std() > 20


def test_bridge_is_25_episodes_of_a_thousand_jpegs(real_data: Path) -> None:
    folder = open_folder(real_data / "octo_bridge_rlds")
    assert len(folder.logs) == 25
    images = 0
    for log in folder.logs:
        infos = {info.name: info for info in log.streams()}
        assert infos["action"].shape == (7,)
        assert infos["observation.state"].shape == (7,)
        assert log.facts["task"]
        cameras = [info for info in infos.values() if info.kind is Kind.IMAGE]
        assert {camera.shape for camera in cameras} == {(64, 64, 3)}
        images += sum(camera.count for camera in cameras)
    assert images == 1000
    frames = folder.logs[0].read("observation.images.image_0").frames
    assert frames.read(np.arange(len(frames))).std() > 20


def droid(real_data: Path) -> list[Log]:
    return list(open_folder(real_data / "droid_ctrlworld").logs)


def test_droid_is_eleven_and_seven_episodes_with_labels(real_data: Path) -> None:
    logs = droid(real_data)
    old = [log for log in logs if log.name.startswith("droid_subset/")]
    new = [log for log in logs if log.name.startswith("droid_new_setup/")]
    assert (len(old), len(new)) == (11, 7)
    train = [bool(log.facts["success"]) for log in old if "/train/" in log.name]
    assert (sum(train), len(train) - sum(train)) == (4, 3)
    assert not any(log.facts["success"] for log in old if "/val/" in log.name)
    assert all(log.facts["success"] for log in new)
    for log in logs:
        cameras = [info for info in log.streams() if info.kind is Kind.IMAGE]
        assert len(cameras) == 3
        assert {camera.shape for camera in cameras} == {(192, 320, 3)}
    # Two recordings of the new laboratory hold one frame more than states.
    mismatched = [log.name for log in logs if log.findings]
    assert mismatched == ["droid_new_setup/val/0003", "droid_new_setup/val/0006"]


def test_droid_image_motion_agrees_with_joint_motion_at_lag_zero(real_data: Path) -> None:
    """The evidence for the time relation that the reader states: shifting frames by one makes it worse."""
    by_lag = {lag: [] for lag in (-2, -1, 0, 1, 2)}  # type: dict[int, list[float]]
    for log in droid(real_data)[7:13]:
        ratio = int(log.facts["rows_per_frame"])
        assert ratio == 3
        state = log.read("observation.state").array
        speed = np.linalg.norm(np.diff(state[::ratio], axis=0), axis=1)
        frames = log.read("observation.images.0").frames
        grey = frames.read(np.arange(len(frames))).mean(axis=3)
        change = np.abs(np.diff(grey, axis=0)).mean(axis=(1, 2))
        for lag, found in by_lag.items():
            a, b = speed[max(0, -lag) :], change[max(0, lag) :]
            n = min(len(a), len(b))
            ranks = [np.argsort(np.argsort(x[:n])) for x in (a, b)]
            found.append(float(np.corrcoef(*ranks)[0, 1]))
    means = {lag: np.mean(found) for lag, found in by_lag.items()}
    assert max(means, key=lambda lag: means[lag]) == 0
    assert means[0] > 0.3


def test_the_malformed_dataset_is_refused_for_the_right_reasons(real_data: Path) -> None:
    with pytest.raises(LogUnreadable) as caught:
        open_folder(real_data / "omx_sim_malformed_lerobot")
    text = str(caught.value)
    for reason in (
        "no codebase_version, features, data_path",
        "no data/*.parquet",
        "2 in info.json, 200 in meta/episodes",
        "all 3 videos of observation.images.top are byte-identical",
    ):
        assert reason in text
    assert caught.value.exit_code == 4
    assert len(caught.value.lines()) == 3


def test_identities_of_real_logs_are_all_different(real_data: Path) -> None:
    digests = [log_digest(log) for log in droid(real_data)]
    assert len(set(digests)) == 18
