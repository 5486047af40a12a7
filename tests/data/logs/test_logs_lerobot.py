"""LeRobot: v3.0 written and read back, v2.1 read, disagreement reported, broken datasets refused with every reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.data.logs import samples

from worldgate.core.errors import AlreadyExists, LogUnreadable, UsageError
from worldgate.core.streams import Kind, Origin
from worldgate.data.logs import _lerobot_stats, open_folder
from worldgate.data.logs.lerobot import Layout, LeRobotWriter

CAMERA = samples.CAMERA


@pytest.fixture(scope="module")
def v3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.make_lerobot(tmp_path_factory.mktemp("lerobot") / "v3")


@pytest.fixture
def v21(tmp_path: Path) -> Path:
    return samples.make_lerobot_v21(tmp_path / "v21")


def copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def edit_info(root: Path, **changes: Any) -> None:
    path = root / "meta" / "info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_is_written_reads_back(v3: Path) -> None:
    folder = open_folder(v3)
    assert folder.findings == ()
    assert [log.name for log in folder.logs] == ["episode_000000", "episode_000001", "episode_000002"]
    for number, log in enumerate(folder.logs):
        length = 20 + number
        assert log.origin is Origin.SIMULATED
        task = "push the block" if number else "wait"
        assert log.facts == {"task": task, "robot": "sample", "success": number > 0, "seed": number}
        state = log.read("observation.state")
        assert (state.info.unit, state.info.names, state.info.kind) == ("rad", ("a", "b", "c"), Kind.VECTOR)
        assert (state.info.clock, state.info.rate_hz) == ("frame", 30.0)
        np.testing.assert_array_equal(state.array, samples.numbers(length))
        assert state.array.dtype == np.float32
        assert log.read("action").info.kind is Kind.ACTION
        expected = np.rint(np.arange(length) * 1e9 / 30).astype(np.int64)
        np.testing.assert_array_equal(state.times_ns, expected)
        camera = log.read(CAMERA)
        np.testing.assert_array_equal(camera.times_ns, expected)
        error = camera.frames.read(np.arange(length)).astype(int) - samples.pictures(length)
        assert np.abs(error).mean() < 8


def test_streams_to_lerobot_to_streams_to_lerobot_keeps_every_number(v3: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    with LeRobotWriter(second, fps=30, robot_type="sample", origin=Origin.SIMULATED) as writer:
        for log in open_folder(v3).logs:
            infos = {i.name: i for i in log.streams()}
            numbers = {n: log.read(n).array for n, i in infos.items() if i.kind is not Kind.IMAGE}
            frames = {CAMERA: log.read(CAMERA).frames.read(np.arange(infos[CAMERA].count))}
            facts = {k: v for k, v in log.facts.items() if k not in {"task", "robot"}}
            writer.add_episode(numbers, frames, task=str(log.facts["task"]), infos=infos, facts=facts)
    first, again = open_folder(v3).logs, open_folder(second).logs
    for a, b in zip(first, again, strict=True):
        assert (a.facts, a.origin, a.streams()) == (b.facts, b.origin, b.streams())
        for name in ("observation.state", "action"):
            assert a.read(name).content_digest() == b.read(name).content_digest()
    info = json.loads((second / "meta" / "info.json").read_text())
    assert info == json.loads((v3 / "meta" / "info.json").read_text())


def test_the_layout_is_the_one_lerobot_loads(v3: Path) -> None:
    info = json.loads((v3 / "meta" / "info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 63, 2)
    assert info["splits"] == {"train": "0:3"}
    assert info["worldgate"]["origin"] == "simulated"
    assert info["features"][CAMERA]["info"]["video.codec"] == "h264"
    tasks = pq.read_table(v3 / "meta" / "tasks.parquet")
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    assert tasks.to_pydict() == {"task_index": [0, 1], "task": ["wait", "push the block"]}
    episodes = pq.read_table(v3 / "meta" / "episodes" / "chunk-000" / "file-000.parquet").to_pydict()
    assert episodes["dataset_from_index"] == [0, 20, 41]
    assert episodes["dataset_to_index"] == [20, 41, 63]
    assert episodes[f"videos/{CAMERA}/from_timestamp"] == pytest.approx([0, 20 / 30, 41 / 30])
    for stat in ("min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"):
        assert len(episodes[f"stats/action/{stat}"]) == 3
    assert np.shape(episodes[f"stats/{CAMERA}/mean"]) == (3, 3, 1, 1)
    data = pq.read_table(v3 / "data" / "chunk-000" / "file-000.parquet")
    assert data.schema.field("observation.state").type == pa.list_(pa.float32(), 3)
    assert data.column("index").to_pylist() == list(range(63))
    assert data.schema.field("timestamp").type == pa.float32()


def test_files_roll_over_and_episodes_are_still_found(tmp_path: Path) -> None:
    layout = Layout(data_bytes=1500, video_bytes=1, files_a_chunk=2)
    root = samples.make_lerobot(tmp_path / "many", episodes=5, layout=layout)
    assert len(list((root / "data").rglob("*.parquet"))) > 1
    assert (root / "videos" / CAMERA / "chunk-001" / "file-000.mp4").is_file()
    for number, log in enumerate(open_folder(root).logs):
        assert log.findings == ()
        np.testing.assert_array_equal(log.read("action").array, samples.numbers(20 + number, 2))
        last = log.read(CAMERA).frames.read(np.array([19 + number]))[0].astype(int)
        assert np.abs(last - samples.pictures(20 + number)[-1]).mean() < 8


def test_statistics_over_episodes_are_those_of_all_rows() -> None:
    rows = [samples.numbers(n) * n for n in (5, 9, 30)]
    pooled = _lerobot_stats.aggregate([{"a": _lerobot_stats.of_rows(r)} for r in rows])["a"]
    whole = _lerobot_stats.of_rows(np.concatenate(rows))
    for name in ("min", "max", "mean", "std", "count"):
        np.testing.assert_allclose(pooled[name], whole[name], rtol=1e-6)


def test_statistics_of_the_largest_numbers_do_not_overflow() -> None:
    most = np.finfo(np.float64).max
    rows = np.array([[-most, 1.0], [most, 3.0]])
    pooled = _lerobot_stats.aggregate([{"a": _lerobot_stats.of_rows(rows)}] * 2)["a"]
    np.testing.assert_allclose(pooled["mean"], [0.0, 2.0])
    np.testing.assert_allclose(pooled["std"], [most, 1.0])


def test_nothing_is_visible_before_the_end_or_after_a_failure(tmp_path: Path) -> None:
    root = tmp_path / "set"
    with pytest.raises(RuntimeError), LeRobotWriter(root, fps=10, robot_type="", origin=Origin.REAL) as writer:
        writer.add_episode({"action": samples.numbers(4)}, {CAMERA: samples.pictures(4)}, task="t")
        assert not root.exists()
        raise RuntimeError
    assert not root.exists()
    with pytest.raises(AlreadyExists, match="unfinished"):
        LeRobotWriter(root, fps=10, robot_type="", origin=Origin.REAL)
    LeRobotWriter.recover(root).close()
    assert [path.name for path in tmp_path.iterdir()] == ["set"], "what was finished outlives an error"
    shutil.rmtree(root)
    with pytest.raises(RuntimeError), LeRobotWriter(root, fps=10, robot_type="", origin=Origin.REAL, keep=False) as w:
        w.add_episode({"action": samples.numbers(4)}, {}, task="t")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == [], "unless it can be made again"
    with pytest.raises(UsageError, match="no episodes"), LeRobotWriter(root, fps=10, robot_type="", origin=Origin.REAL):
        pass
    assert list(tmp_path.iterdir()) == []
    root.mkdir()
    with pytest.raises(AlreadyExists):
        LeRobotWriter(root, fps=10, robot_type="", origin=Origin.REAL)


@pytest.mark.parametrize(
    ("numbers", "frames"),
    [
        ({"action": samples.numbers(4)}, {CAMERA: samples.pictures(5)}),
        ({"action": samples.numbers(0)}, {}),
        ({"action": np.zeros((4, 0, 2))}, {}),
        ({"action": np.array([["a"]] * 4)}, {}),
        ({"timestamp": samples.numbers(4)}, {}),
        ({"../x": samples.numbers(4)}, {}),
        ({"action": samples.numbers(4)}, {CAMERA: samples.pictures(4, 31, 48)}),
        ({"action": samples.numbers(4)}, {CAMERA: samples.pictures(4).astype(np.float32)}),
        ({}, {}),
    ],
)
def test_what_lerobot_cannot_hold_is_refused(tmp_path: Path, numbers: Any, frames: Any) -> None:
    writer = LeRobotWriter(tmp_path / "set", fps=10, robot_type="", origin=Origin.REAL)
    with pytest.raises(UsageError):
        writer.add_episode(numbers, frames, task="t")
    with pytest.raises(UsageError):
        writer.close()


def test_an_episode_with_other_features_is_refused(tmp_path: Path) -> None:
    with LeRobotWriter(tmp_path / "set", fps=10, robot_type="", origin=Origin.REAL) as writer:
        writer.add_episode({"action": samples.numbers(4)}, {}, task="t")
        for other in ({"action": samples.numbers(4, 2)}, {"action": np.zeros((4, 3))}, {"b": samples.numbers(4)}):
            with pytest.raises(UsageError, match="differ"):
                writer.add_episode(other, {}, task="t")
    assert len(open_folder(tmp_path / "set").logs) == 1


# -------------------------------------------------------------------- v2.1, and data that disagree


def test_v21_names_are_found_however_they_are_nested(v21: Path) -> None:
    log = open_folder(v21).logs[0]
    assert log.read("observation.state").info.names == ("a", "b", "c")
    assert log.read("action").info.names == ("a", "b", "c")
    assert log.read(CAMERA).info.shape == (32, 48, 3)
    assert log.origin is Origin.REAL
    np.testing.assert_array_equal(log.read("action").array, samples.numbers())


def test_a_subset_is_a_finding_not_a_refusal(v21: Path) -> None:
    for part in ("data/chunk-000/episode_000001.parquet", f"videos/chunk-000/{CAMERA}/episode_000001.mp4"):
        (v21 / part).unlink()
    folder = open_folder(v21)
    assert len(folder.logs) == 1
    (finding,) = folder.findings
    assert (finding.check, finding.value, finding.limit, finding.unit) == ("count_mismatch", 1, 2, "episodes")


def test_rows_frames_and_metadata_that_disagree_are_findings(v21: Path) -> None:
    samples.encode_video(v21 / "videos/chunk-000" / CAMERA / "episode_000000.mp4", samples.pictures(17), 30)
    line = {"episode_index": 0, "tasks": ["push"], "length": 25}
    lines = (v21 / "meta" / "episodes.jsonl").read_text().splitlines()
    (v21 / "meta" / "episodes.jsonl").write_text("\n".join([json.dumps(line), lines[1]]))
    bad, good = open_folder(v21).logs
    assert {(f.check, f.stream, f.value, f.limit) for f in bad.findings} == {
        ("count_mismatch", "", 20.0, 25.0),
        ("count_mismatch", CAMERA, 17.0, 20.0),
    }
    assert good.findings == ()
    assert len(bad.read(CAMERA)) == 17


def test_what_is_declared_of_a_video_goes_with_its_frames_and_is_held_against_it(v21: Path) -> None:
    from worldgate.data.checks import run

    info = json.loads((v21 / "meta" / "info.json").read_text())
    said = {"video.fps": 15, "video.codec": "hevc", "video.height": 480, "video.pix_fmt": 7}
    edit_info(v21, features={**info["features"], CAMERA: {**info["features"][CAMERA], "info": said}})
    log = open_folder(v21).logs[0]
    declared = log.read(CAMERA).frames.declared  # type: ignore[attr-defined]
    assert {key: declared[key] for key in ("rate_hz", "codec", "height")} == {
        "rate_hz": 15,
        "codec": "hevc",
        "height": 480,
    }
    assert "pix_fmt" not in declared, "a number is no format"
    found = [f.message for f in run("metadata", log)]
    assert any(m.startswith("declared rate 15 Hz") for m in found)
    assert any(m.startswith("declared height 480") for m in found)
    assert any(m.startswith("declared codec hevc") for m in found)


def test_v3_totals_that_disagree_are_findings(v3: Path, tmp_path: Path) -> None:
    root = copy(v3, tmp_path / "v3")
    edit_info(root, total_episodes=9, total_frames=64)
    assert {(f.unit, f.value, f.limit) for f in open_folder(root).findings} == {
        ("episodes", 3, 9),
        ("frames", 63, 64),
    }


def test_timestamps_that_are_not_the_quotient_are_kept(v21: Path) -> None:
    path = v21 / "data/chunk-000/episode_000000.parquet"
    table = pq.read_table(path)
    times = table.column("timestamp").to_numpy().copy()
    times[5] = 0.5
    index = table.schema.get_field_index("timestamp")
    pq.write_table(table.set_column(index, "timestamp", pa.array(times)), path)
    got = open_folder(v21).logs[0].read("action").times_ns
    assert got[5] == 500_000_000
    assert got[6] == 200_000_000


def reasons(root: Path) -> str:
    with pytest.raises(LogUnreadable) as caught:
        open_folder(root)
    assert caught.value.exit_code == 4
    assert len(caught.value.lines()) <= 3
    return str(caught.value)


def test_each_reason_to_refuse_is_named(v21: Path, v3: Path, tmp_path: Path) -> None:
    (v21 / "videos/chunk-000" / CAMERA / "episode_000001.mp4").unlink()
    assert f"episode 1 has no video of {CAMERA}" in reasons(v21)
    shutil.rmtree(v21 / "data")
    assert "no data/*.parquet" in reasons(v21)
    (v21 / "meta" / "episodes.jsonl").write_text("{broken")
    assert "meta/episodes.jsonl cannot be used" in reasons(v21)
    edit_info(v21, codebase_version="v9")
    assert "version v9" in reasons(v21)
    (v21 / "meta" / "info.json").write_text("[]")
    assert "meta/info.json is not an object" in reasons(v21)

    missing = copy(v3, tmp_path / "missing")
    (missing / "videos" / CAMERA / "chunk-000" / "file-000.mp4").unlink()
    assert f"videos/{CAMERA}/chunk-000/file-000.mp4 is missing" in reasons(missing)
    crashed = copy(v3, tmp_path / "crashed")
    file = crashed / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
    file.write_bytes(file.read_bytes()[:-8])
    assert "a parquet file that cannot be read" in reasons(crashed)


def test_a_parquet_without_its_footer_or_columns_is_refused_when_read(v21: Path) -> None:
    path = v21 / "data/chunk-000/episode_000000.parquet"
    data = path.read_bytes()
    path.write_bytes(data[:-40])
    with pytest.raises(LogUnreadable, match="cannot be read"):
        open_folder(v21).logs[0].read("action")
    path.write_bytes(data)
    pq.write_table(pq.read_table(path).drop_columns(["action"]), path)
    with pytest.raises(LogUnreadable, match="expected column"):
        open_folder(v21).logs[0].read("action")


def test_a_video_that_is_cut_off_is_refused_when_read(v21: Path) -> None:
    path = v21 / "videos/chunk-000" / CAMERA / "episode_000000.mp4"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(LogUnreadable):
        open_folder(v21).logs[0].read(CAMERA)


@pytest.mark.parametrize(
    "template",
    [
        "../{episode_index}",
        "/etc/{episode_index}",
        "{episode_index.__class__}",
        "{other}",
        "{episode_index",
        "{}",
    ],
)
def test_a_path_template_that_leaves_the_folder_or_looks_inside_objects_is_refused(v21: Path, template: str) -> None:
    edit_info(v21, data_path=template)
    with pytest.raises(LogUnreadable, match="path"):
        open_folder(v21)


def test_several_datasets_below_a_folder_keep_their_names_apart(v3: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        copy(v3, tmp_path / name)
    names = [log.name for log in open_folder(tmp_path).logs]
    assert len(set(names)) == 6
    assert names[0] == "a/episode_000000"
