"""OpenArm datasets: per-stream stamps, both layouts of arms and cameras, and metadata held against the files."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.data.logs import bag_samples as bags
from tests.data.logs import samples

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Kind, Log, log_digest
from worldgate.data.logs import _images as images
from worldgate.data.logs import open_folder
from worldgate.data.logs._image_size import stated_shape

LEFT = "observation.state.left"


def first(root: Path) -> Log:
    return open_folder(root).logs[0]


def rewrite(root: Path, change: Any) -> Path:
    tree = json.loads((root / "metadata.yaml").read_text())
    change(tree)
    (root / "metadata.yaml").write_text(json.dumps(tree))
    return root


def test_streams_are_named_with_units_declared_rates_and_their_own_stamps(tmp_path: Path) -> None:
    log = first(bags.make_openarm(tmp_path / "a"))
    infos = {info.name: info for info in log.streams()}
    assert set(infos) == {
        LEFT,
        "observation.velocity.left",
        "observation.state.lifter",
        "action.left",
        "observation.images.head",
    }
    state = infos[LEFT]
    assert (state.unit, state.rate_hz, state.clock, state.names[0], state.names[-1]) == (
        "rad",
        250.0,
        "publish",
        "joint1",
        "gripper",
    )
    assert infos["observation.state.lifter"].unit == ""
    assert infos["action.left"].kind is Kind.ACTION
    assert infos["action.left"].rate_hz == 30.0
    np.testing.assert_array_equal(log.read(LEFT).array, samples.numbers(20, 8))
    assert log.read("action.left").times_ns[0] - log.read(LEFT).times_ns[0] == 7
    assert dict(log.facts) == {
        "task": "fold the cloth",
        "success": False,
        "operator": "someone",
        "location": "here",
        "operation_type": "teleop",
        "equipment": "cell 1.0",
        "embodiments": "OpenArm 2.0",
    }


def test_the_newer_layout_with_archives_and_state_files_reads_the_same(tmp_path: Path) -> None:
    old, new = bags.make_openarm(tmp_path / "old"), bags.make_openarm(tmp_path / "new")
    rewrite(new, lambda tree: tree.update(version="0.4.0"))
    for episode in (new / "episodes").iterdir():
        action = episode / "action" / "arms" / "left"
        table = pq.read_table(action / "qpos.parquet").rename_columns(["timestamp", "qpos"])
        (action / "qpos.parquet").unlink()
        pq.write_table(table, action / "state.parquet")
        camera = episode / "cameras" / "head"
        with tarfile.open(camera.with_suffix(".tar"), "w") as archive:
            for file in sorted(camera.iterdir(), reverse=True):
                archive.add(file, arcname=file.name)
                file.unlink()
        camera.rmdir()
    before, after = open_folder(old).logs, open_folder(new).logs
    assert [log_digest(log) for log in before] == [log_digest(log) for log in after]
    picture = after[0].read("observation.images.head").frames.read(np.array([4]))
    np.testing.assert_array_equal(picture, before[0].read("observation.images.head").frames.read(np.array([4])))


def test_a_cartesian_arm_is_a_pose_with_a_gripper(tmp_path: Path) -> None:
    root = bags.make_openarm(tmp_path / "a", 1)
    file = root / "episodes" / "0" / "action" / "arms" / "right" / "state.parquet"
    bags.write_rows(file, samples.START_NS + np.arange(3), {"pose": samples.numbers(3, 8)})
    info = first(root).read("action.pose.right").info
    assert info.names == ("x", "y", "z", "qw", "qx", "qy", "qz", "gripper")


def test_nulls_become_nan_and_keep_their_row(tmp_path: Path) -> None:
    root = bags.make_openarm(tmp_path / "a", 1)
    file = root / "episodes" / "0" / "obs" / "lifter" / "elevation.parquet"
    values = pa.array([[1.0], None, [None], [4.0]], type=pa.list_(pa.float32()))
    stamps = pa.array(samples.START_NS + np.arange(4), type=pa.timestamp("ns"))
    pq.write_table(pa.table({"timestamp": stamps, "value": values}), file)
    np.testing.assert_array_equal(first(root).read("observation.state.lifter").array[:, 0], [1, np.nan, np.nan, 4])


def test_a_window_reads_only_the_row_groups_that_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = bags.make_openarm(tmp_path / "a", 1)
    file = root / "episodes" / "0" / "obs" / "arms" / "left" / "state.parquet"
    pq.write_table(pq.read_table(file), file, row_group_size=5)
    log, asked = first(root), []
    original = pq.ParquetFile.read_row_group

    def counted(self: Any, group: int, columns: Any) -> Any:
        asked.append((group, *columns))
        return original(self, group, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    start = samples.START_NS + 5 * 4_000_000
    assert len(log.read(LEFT, (start, start + 1))) == 1
    assert [entry for entry in asked if entry[1] == "qpos"] == [(1, "qpos")]


def test_metadata_and_files_that_disagree_are_findings(tmp_path: Path) -> None:
    root = bags.make_openarm(tmp_path / "a")
    rewrite(root, lambda tree: tree["equipment"]["perceptions"]["cameras"].update(wrist={}))
    rewrite(root, lambda tree: tree["episodes"][1].update(id="7"))
    (root / "episodes" / "0" / "cameras" / "head" / "thumb.jpeg").write_bytes(b"")
    folder = open_folder(root)
    assert [log.name for log in folder.logs] == ["episode_0"]
    assert sorted((f.check, f.message) for f in folder.findings) == [
        ("count_mismatch", "episode 1 is not described and not read"),
        ("data_lost", "episode 7 is described and absent"),
        ("metadata_mismatch", "camera wrist is declared and has no frames in 1 of 1 episodes"),
    ]
    assert [f.message for f in folder.logs[0].findings] == ["1 files of camera head are no stamped images"]


@pytest.mark.parametrize("id", ["../0", "/etc", ".", "a/../.."])
def test_an_episode_cannot_leave_its_dataset(tmp_path: Path, id: str) -> None:
    root = rewrite(bags.make_openarm(tmp_path / "a"), lambda tree: tree["episodes"][0].update(id=id))
    with pytest.raises(LogUnreadable, match="outside of its dataset"):
        open_folder(root)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tree: tree.update(version="0.1.0"), "version that is not read"),
        (lambda tree: tree.pop("version"), "version that is not read"),
        (lambda tree: tree.pop("equipment"), "no log format recognises"),
        (lambda tree: tree["equipment"].pop("perceptions"), "does not follow OpenArm"),
        (lambda tree: tree["episodes"][0].update(task_index=9), "does not follow OpenArm"),
        (lambda tree: tree.update(tasks=None), "does not follow OpenArm"),
    ],
)
def test_metadata_of_another_form_is_refused(tmp_path: Path, change: Any, reason: str) -> None:
    with pytest.raises(LogUnreadable, match=reason):
        open_folder(rewrite(bags.make_openarm(tmp_path / "a"), change))


@pytest.mark.parametrize(
    "text", ["equipment: [\nepisodes:", "equipment: !!python/object:os.system x\nepisodes: 1", "equipment: episodes"]
)
def test_yaml_that_is_broken_or_would_make_objects_is_refused(tmp_path: Path, text: str) -> None:
    root = bags.make_openarm(tmp_path / "a")
    (root / "metadata.yaml").write_text(text)
    with pytest.raises(LogUnreadable):
        open_folder(root)


def break_stamps(file: Path) -> None:
    table = pq.read_table(file)
    stamps = pa.array([None, *range(1, table.num_rows)], type=pa.int64()).cast(pa.timestamp("ns"))
    pq.write_table(table.set_column(0, "timestamp", stamps), file)


def break_lengths(file: Path) -> None:
    table = pq.read_table(file)
    values = [[0.0] * (8 if i else 7) for i in range(table.num_rows)]
    pq.write_table(table.set_column(1, "qpos", pa.array(values, type=pa.list_(pa.float32()))), file)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def other_columns(file: Path) -> None:
    pq.write_table(pa.table({"time": [1], "qpos": [1.0]}), file)


@pytest.mark.parametrize("break_it", [break_stamps, break_lengths, cut, other_columns])
def test_a_damaged_table_is_refused_by_name(tmp_path: Path, break_it: Any) -> None:
    root = bags.make_openarm(tmp_path / "a", 1)
    break_it(root / "episodes" / "0" / "obs" / "arms" / "left" / "state.parquet")
    with pytest.raises(LogUnreadable) as caught:
        first(root).read(LEFT)
    assert "state.parquet" in str(caught.value)


def test_a_damaged_frame_is_named_when_it_is_read(tmp_path: Path) -> None:
    root = bags.make_openarm(tmp_path / "a", 1)
    frames = sorted((root / "episodes" / "0" / "cameras" / "head").iterdir())
    for file in (frames[0], frames[2]):
        file.write_bytes(file.read_bytes()[:50])
    stream = first(root).read("observation.images.head")
    assert stream.frames.read(np.array([1])).shape == (1, 32, 48, 3)
    for broken in (0, 2):
        with pytest.raises(LogUnreadable, match="cut off"):
            stream.frames.read(np.array([broken]))


@pytest.mark.parametrize("format", ["jpeg", "png"])
@pytest.mark.parametrize("size", [(1, 1), (17, 640), (480, 3)])
def test_the_stated_size_is_the_decoded_size(format: str, size: tuple[int, int]) -> None:
    encoded = images.Encoded(data=images.encode(np.zeros((*size, 3), np.uint8), format), format=format)
    assert stated_shape(encoded) == images.decode(encoded, Kind.IMAGE).shape


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xc0\x00\x11\x08", b"\xff\xd8\xff\xe0\x00\x00" + bytes(50), b"GIF89a"]
)
def test_a_header_that_says_nothing_gives_no_size(data: bytes) -> None:
    assert stated_shape(images.Encoded(data=data, format="jpeg")) is None
