"""RLDS and DROID: nested features and JSON become streams; damage is named, paths stay inside, times are honest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.logs import samples

from worldgate.core.errors import LogUnreadable, NotFound, WorldgateError
from worldgate.core.streams import Kind
from worldgate.data.logs import _tfrecord as tfrecord
from worldgate.data.logs import open_folder, rlds

SHARD = "sample-train.tfrecord-00000-of-00001"


def test_an_rlds_episode_is_streams_and_facts(tmp_path: Path) -> None:
    folder = open_folder(samples.make_rlds(tmp_path / "set"))
    assert [log.name for log in folder.logs] == [f"train/episode_{i:06d}" for i in range(3)]
    log = folder.logs[1]
    kinds = {info.name: (info.kind, info.count, info.shape) for info in log.streams()}
    assert kinds == {
        "action": (Kind.ACTION, 21, (2,)),
        "is_last": (Kind.VECTOR, 21, (1,)),
        "language_instruction": (Kind.TEXT, 21, ()),
        "observation.state": (Kind.VECTOR, 21, (3,)),
        "observation.images.front": (Kind.IMAGE, 21, (32, 48, 3)),
    }
    np.testing.assert_array_equal(log.read("observation.state").array, samples.numbers(21))
    assert log.read("is_last").array.ravel().tolist() == [0] * 20 + [1]
    assert log.facts["task"] == "put the carrot away"
    assert log.facts["episode_id"] == 4
    assert log.read("action").times_ns[1] == 100_000_000
    assert "assumed 10 Hz" in str(log.facts["rate_source"])


def test_a_known_dataset_has_its_control_rate(tmp_path: Path) -> None:
    root = samples.make_rlds(tmp_path / "set")
    info = json.loads((root / "dataset_info.json").read_text())
    (root / "dataset_info.json").write_text(json.dumps({**info, "name": "bridge_dataset"}))
    log = open_folder(root).logs[0]
    assert log.read("action").times_ns[1] == 200_000_000
    assert "control rate of bridge_dataset" in str(log.facts["rate_source"])


def test_a_truncated_tfrecord_keeps_whole_records_and_says_the_loss(tmp_path: Path) -> None:
    root = samples.make_rlds(tmp_path / "set")
    path = root / SHARD
    data, size = path.read_bytes(), len(samples.frame_record(samples.example(22)))
    for cut in (1, 5, size - 1, size - 10):
        path.write_bytes(data[:-cut])
        folder = open_folder(root)
        assert len(folder.logs) == 2
        lost = [f for f in folder.findings if f.check == "data_lost"]
        assert [f.value for f in lost] == [size - cut]
        assert [f.value for f in folder.findings if f.check == "count_mismatch"] == [2.0]


def test_a_record_whose_crc_differs_is_left_out_and_named(tmp_path: Path) -> None:
    root = samples.make_rlds(tmp_path / "set")
    data = bytearray((root / SHARD).read_bytes())
    first = len(samples.frame_record(samples.example(20)))
    data[first + 40] ^= 1
    (root / SHARD).write_bytes(bytes(data))
    folder = open_folder(root)
    assert [log.read("action").info.count for log in folder.logs] == [20, 22]
    assert "CRC" in folder.findings[0].message


def test_a_folder_without_one_whole_record_is_refused(tmp_path: Path) -> None:
    root = samples.make_rlds(tmp_path / "set")
    (root / SHARD).write_bytes((root / SHARD).read_bytes()[:50])
    with pytest.raises(LogUnreadable, match="no whole record"):
        open_folder(root)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"featuresDict": {"features": {"a": {"text": {}}}}}'])
def test_a_features_file_that_names_no_steps_is_refused(tmp_path: Path, text: str) -> None:
    root = samples.make_rlds(tmp_path / "set")
    (root / "features.json").write_text(text)
    with pytest.raises(LogUnreadable):
        open_folder(root)


def test_a_feature_that_does_not_fit_its_shape_is_refused(tmp_path: Path) -> None:
    root = samples.make_rlds(tmp_path / "set")
    text = (root / "features.json").read_text()
    (root / "features.json").write_text(text.replace('"dimensions": ["3"]', '"dimensions": ["4"]'))
    with pytest.raises(LogUnreadable, match="differ in length"):
        open_folder(root).logs[0].read("action")


def test_one_shard_can_be_opened_alone(tmp_path: Path) -> None:
    root = samples.make_rlds(tmp_path / "set")
    assert len(open_folder(root / SHARD).logs) == 3
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / SHARD).write_bytes((root / SHARD).read_bytes())
    with pytest.raises(LogUnreadable):
        open_folder(tmp_path / "bare")
    with pytest.raises(NotFound):
        rlds.open_logs(tmp_path / "bare")


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_flipped_bytes_in_an_example_raise_nothing_else(
    place: float, value: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With a CRC that was made for the damaged bytes, so that the parser meets them."""
    root = tmp_path_factory.getbasetemp() / "flipped"
    if not root.exists():
        samples.make_rlds(root)
    data = bytearray(samples.example())
    data[int(place * len(data))] = value
    (root / SHARD).write_bytes(samples.frame_record(bytes(data)))
    try:
        log = open_folder(root).logs[0]
        for info in log.streams():
            stream = log.read(info.name)
            if info.kind is Kind.IMAGE:
                stream.frames.read(np.arange(len(stream)))
    except WorldgateError:
        return
    assert log.streams()


def test_the_masked_crc_is_the_one_of_the_specification() -> None:
    # crc32c("123456789") is 0xE3069283 (RFC 3720); rotated right by 15, plus 0xA282EAD8.
    crc = 0xE3069283
    assert tfrecord.masked_crc(b"123456789") == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


# -------------------------------------------------------------------- DROID


def edit(root: Path, **changes: Any) -> Path:
    path = root / "annotation" / "train" / "4.json"
    tree = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in tree.items() if v is not None}))
    return root


def test_three_rows_go_with_a_frame(tmp_path: Path) -> None:
    (log,) = open_folder(samples.make_droid(tmp_path)).logs
    assert log.name == "train/4"
    assert log.facts["success"] is True
    assert log.facts["task"] == "pick the block"
    state, camera = log.read("observation.state"), log.read("observation.images.1")
    assert (state.info.rate_hz, camera.info.rate_hz, len(state), len(camera)) == (15.0, 5.0, 55, 19)
    np.testing.assert_array_equal(state.times_ns[::3], camera.times_ns)
    assert np.abs(np.diff(state.times_ns) - 1e9 / 15).max() <= 1
    assert log.read("action").info.names == ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
    assert log.read("action.joint_velocity").info.unit.split(",") == ["rad/s"] * 7


def test_one_row_a_frame_without_a_raw_length(tmp_path: Path) -> None:
    root = edit(
        samples.make_droid(tmp_path),
        raw_length=None,
        joints=samples.numbers(19, 8).tolist(),
        states=samples.numbers(19, 7).tolist(),
    )
    (log,) = open_folder(root).logs
    assert log.findings == ()
    assert {i.name for i in log.streams() if i.kind is Kind.VECTOR} == {"observation.state", "observation.state.tool"}
    np.testing.assert_array_equal(log.read("observation.state").times_ns, log.read("observation.images.0").times_ns)


def test_frames_and_rows_that_disagree_are_findings(tmp_path: Path) -> None:
    root = samples.make_droid(tmp_path)
    samples.encode_video(root / "videos/train/4/1.mp4", samples.pictures(21), 5)
    (log,) = open_folder(edit(root, video_length=18)).logs
    assert {(f.stream, f.value, f.limit) for f in log.findings} == {
        ("observation.images.1", 21.0, 19.0),
        ("", 18.0, 19.0),
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"videos": [{"video_path": "../../../../etc/passwd"}]},
        {"videos": [{"video_path": "/etc/passwd"}]},
        {"videos": [{"video_path": "videos/train/4/\0.mp4"}]},
        {"videos": [{"video_path": "videos/train/4/9.mp4"}]},
        {"videos": []},
        {"videos": "0.mp4"},
        {"action.gripper_position": [0.0]},
        {"action.gripper_position": ["a"] * 55},
        {"action.joint_position": [[1.0, 2.0]] * 55},
        {"observation.state.joint_position": None},
    ],
)
def test_an_annotation_that_cannot_be_used_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(LogUnreadable):
        open_folder(edit(samples.make_droid(tmp_path), **changes))


def test_an_annotation_that_is_not_json_is_refused(tmp_path: Path) -> None:
    root = samples.make_droid(tmp_path)
    for text in ("{", "[1]", "[" * 5000):
        (root / "annotation" / "train" / "4.json").write_text(text)
        with pytest.raises(LogUnreadable):
            open_folder(root)
