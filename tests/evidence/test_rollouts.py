"""Predictions that come as files are judged as a model would be, and refused where they answer another question."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.evidence import worlds_to_judge as small

from worldgate.core.digest import to_json
from worldgate.core.errors import AlreadyExists, DataRefused, NotFound, UsageError
from worldgate.core.streams import Array, Origin
from worldgate.core.worlds import Prompt
from worldgate.data.logs.lerobot import LeRobotWriter
from worldgate.evidence import rollouts
from worldgate.evidence.gap import gap
from worldgate.evidence.gap_report import GapConfig

STATE, FRONT = "observation.state", "observation.images.front"
CONFIG = GapConfig(windows=2, horizon_s=0.5)


@pytest.fixture
def episodes(fakes: ModuleType) -> list[Any]:
    return [fakes.episode(i, video=True) for i in range(3)]


def predict(task: Any, gain: float = 1.0) -> Array:
    """What an outsider's model would do with a task file: nothing of this project is needed."""
    last, actions = task[f"state:{STATE}"][-1], task["actions"]
    return (last + gain * np.cumsum(actions, axis=0)).astype(np.float64)


def fill(tasks: Path, out: Path, fakes: ModuleType, *, change: Callable[[dict[str, Any]], None] | None = None) -> Path:
    told = json.loads((tasks / "tasks.json").read_text())
    out.mkdir()
    entries = []
    for number, task in enumerate(told["tasks"]):
        with np.load(tasks / task["file"], allow_pickle=False) as arrays:
            states = predict(arrays)
        pq.write_table(pa.table({STATE: list(states)}), out / f"r{number}.parquet")
        write_video(out / f"r{number}.mp4", fakes.pictures(states))
        entries.append(
            {
                "context": task["context"],
                "actions": task["actions"],
                "states": f"r{number}.parquet",
                "frames": {FRONT: f"r{number}.mp4"},
            }
        )
    manifest = {"schema": rollouts.SCHEMA, "model": told["model"], "format": "files", "rollouts": entries}
    if change is not None:
        change(manifest)
    (out / "rollouts.json").write_text(json.dumps(manifest))
    return out


def write_video(path: Path, frames: Array) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=10, options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "rgb24"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture
def tasks(tmp_path: Path, episodes: list[Any], fakes: ModuleType) -> Path:
    folder = tmp_path / "tasks"
    spec = fakes.spec(video=True)
    assert rollouts.write_tasks(folder, spec, episodes, CONFIG, read_frames=fakes.read_frames) == 12
    return folder


def test_predictions_in_a_folder_are_judged_as_the_model_that_made_them(
    tasks: Path, tmp_path: Path, episodes: list[Any], fakes: ModuleType
) -> None:
    folder = fill(tasks, tmp_path / "out", fakes)
    judged = rollouts.judge(folder, episodes, CONFIG, read_frames=fakes.read_frames)
    direct = gap(fakes.FakeModel(spec=fakes.spec(video=True)), episodes, CONFIG, read_frames=fakes.read_frames)
    for a, b in zip(judged.episodes, direct.episodes, strict=True):
        for name, errors in a.signals.items():
            for contender in ("model", "shuffled", "hold"):
                found, expected = (np.array(e.curve(contender), float) for e in (errors, b.signals[name]))
                np.testing.assert_allclose(found, expected, atol=1e-6)
    assert judged.predictions == rollouts.read(folder).digest
    assert direct.predictions == ""


def test_a_lerobot_dataset_of_predictions_is_judged(tmp_path: Path, fakes: ModuleType) -> None:
    episodes, spec = [fakes.episode(i) for i in range(2)], fakes.spec()
    tasks, out = tmp_path / "tasks", tmp_path / "out"
    rollouts.write_tasks(tasks, spec, episodes, CONFIG)
    told = json.loads((tasks / "tasks.json").read_text())
    entries = []
    with LeRobotWriter(out, fps=10, robot_type="ur5", origin=Origin.IMAGINED) as writer:
        for task in told["tasks"]:
            with np.load(tasks / task["file"], allow_pickle=False) as arrays:
                streams = {STATE: predict(arrays), "action": arrays["actions"]}
            index = writer.add_episode(streams, {}, task="predict")
            entries.append({"context": task["context"], "actions": task["actions"], "episode_index": index})
    manifest = {"schema": rollouts.SCHEMA, "model": to_json(spec), "format": "lerobot", "rollouts": entries}
    (out / "rollouts.json").write_text(json.dumps(manifest))
    judged = rollouts.judge(out, episodes, CONFIG)
    direct = gap(fakes.FakeModel(), episodes, CONFIG)
    np.testing.assert_allclose(
        judged.episodes[1].signals[STATE].model, direct.episodes[1].signals[STATE].model, atol=1e-6
    )


def other_context(manifest: dict[str, Any]) -> None:
    manifest["rollouts"][0]["context"] = "f" * 64


def other_actions(manifest: dict[str, Any]) -> None:
    for entry in manifest["rollouts"]:
        entry["actions"] = "f" * 64 if entry is manifest["rollouts"][0] else entry["actions"]


def twice(manifest: dict[str, Any]) -> None:
    manifest["rollouts"].append(manifest["rollouts"][0])


def outside(manifest: dict[str, Any]) -> None:
    manifest["rollouts"][0]["states"] = "../tasks/tasks.json"


def absolute(manifest: dict[str, Any]) -> None:
    manifest["rollouts"][0]["states"] = "/etc/hostname"


def nul(manifest: dict[str, Any]) -> None:
    manifest["rollouts"][0]["frames"] = {FRONT: "r0\0.mp4"}


def missing(manifest: dict[str, Any]) -> None:
    manifest["rollouts"][0]["frames"] = {}


def not_a_video(manifest: dict[str, Any]) -> None:
    manifest["rollouts"][0]["frames"] = {FRONT: "r0.parquet"}


def not_a_table(manifest: dict[str, Any]) -> None:
    manifest["rollouts"][0]["states"] = "r0.mp4"


def other_schema(manifest: dict[str, Any]) -> None:
    manifest["schema"] = "worldgate/rollouts/2"


def other_format(manifest: dict[str, Any]) -> None:
    manifest["format"] = "pickle"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (other_context, "no prediction from this context|under other actions"),
        (other_actions, "under other actions"),
        (twice, "two predictions"),
        (outside, "inside the folder"),
        (absolute, "inside the folder"),
        (nul, "inside the folder"),
        (missing, "no pictures for a camera"),
        (not_a_video, "video that cannot be read"),
        (not_a_table, "states that cannot be read"),
        (other_schema, "not a manifest"),
        (other_format, "files or lerobot"),
    ],
)
def test_predictions_that_answer_another_question_are_refused(
    tasks: Path,
    tmp_path: Path,
    episodes: list[Any],
    fakes: ModuleType,
    change: Callable[[dict[str, Any]], None],
    match: str,
) -> None:
    folder = fill(tasks, tmp_path / "out", fakes, change=change)
    with pytest.raises(DataRefused, match=match):
        rollouts.judge(folder, episodes, CONFIG, read_frames=fakes.read_frames)


def test_predictions_made_for_other_episodes_are_refused(tasks: Path, tmp_path: Path, fakes: ModuleType) -> None:
    folder = fill(tasks, tmp_path / "out", fakes)
    others = [fakes.episode(i, video=True) for i in (7, 8)]
    with pytest.raises(DataRefused, match="no prediction from this context"):
        rollouts.judge(folder, others, CONFIG, read_frames=fakes.read_frames)


def test_a_prediction_that_ends_too_early_is_refused(
    tasks: Path, tmp_path: Path, episodes: list[Any], fakes: ModuleType
) -> None:
    folder = fill(tasks, tmp_path / "out", fakes)
    pq.write_table(pa.table({STATE: [[0.0, 0.0]]}), folder / "r0.parquet")
    with pytest.raises(DataRefused, match="ends too early"):
        rollouts.judge(folder, episodes, CONFIG, read_frames=fakes.read_frames)


def test_a_link_that_leaves_the_folder_is_refused(
    tasks: Path, tmp_path: Path, episodes: list[Any], fakes: ModuleType
) -> None:
    folder = fill(tasks, tmp_path / "out", fakes)
    (folder / "r0.parquet").rename(tmp_path / "elsewhere.parquet")
    (folder / "r0.parquet").symlink_to(tmp_path / "elsewhere.parquet")
    with pytest.raises(DataRefused, match="inside the folder"):
        rollouts.judge(folder, episodes, CONFIG, read_frames=fakes.read_frames)


def test_a_folder_without_a_manifest_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no manifest"):
        rollouts.read(tmp_path)


def test_a_manifest_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rollouts.json").write_bytes(b"\x80\x04pickle")
    with pytest.raises(DataRefused, match="not JSON"):
        rollouts.read(tmp_path)


def test_a_folder_has_one_sample_a_window(tasks: Path, tmp_path: Path, fakes: ModuleType) -> None:
    model = rollouts.read(fill(tasks, tmp_path / "out", fakes))
    with pytest.raises(UsageError, match="one prediction"):
        model.open(Prompt(), samples=2, seed=0)


def test_tasks_never_overwrite_a_folder(tasks: Path, episodes: list[Any], fakes: ModuleType) -> None:
    with pytest.raises(AlreadyExists):
        rollouts.write_tasks(tasks, fakes.spec(video=True), episodes, CONFIG, read_frames=fakes.read_frames)


# ------------------------------------------------------------------ depth and class ids


def measured(tmp_path: Path, *, shift: float = 0.0, change: Callable[[Path], None] | None = None) -> Path:
    """Predictions of depth alone, in npy files: the last known picture, moved away."""
    tasks, out = tmp_path / "tasks", tmp_path / "out"
    held, spec = [small.episode(i) for i in range(2)], small.spec(states=False, cameras=(small.DEPTH,))
    rollouts.write_tasks(tasks, spec, held, CONFIG, read_frames=small.read_frames)
    told = json.loads((tasks / "tasks.json").read_text())
    out.mkdir()
    entries = []
    for number, task in enumerate(told["tasks"]):
        with np.load(tasks / task["file"], allow_pickle=False) as arrays:
            last = arrays[f"frames:{small.DEPTH}"][-1]
            np.save(out / f"r{number}.npy", np.repeat(last[None] * (1 + shift), len(arrays["actions"]), axis=0))
        named = {key: task[key] for key in ("context", "actions")}
        entries.append({**named, "frames": {small.DEPTH: f"r{number}.npy"}})
    if change is not None:
        change(out / "r0.npy")
    manifest = {"schema": rollouts.SCHEMA, "model": told["model"], "format": "files", "rollouts": entries}
    (out / "rollouts.json").write_text(json.dumps(manifest))
    return out


def test_depth_comes_in_as_arrays(tmp_path: Path) -> None:
    folder = measured(tmp_path, shift=0.1)
    found = rollouts.judge(folder, [small.episode(i) for i in range(2)], CONFIG, read_frames=small.read_frames)
    errors = found.episodes[0].signals[f"{small.DEPTH}/depth_abs_rel"]
    assert errors.model[0] == pytest.approx(0.1 + (errors.hold[0] or 0.0), abs=0.01)


def another_size(path: Path) -> None:
    np.save(path, np.zeros((5, 4, 4)))


def too_short(path: Path) -> None:
    np.save(path, np.zeros((1, small.SIDE, small.SIDE)))


def objects(path: Path) -> None:
    np.save(path, np.array([None]), allow_pickle=True)


def no_array(path: Path) -> None:
    path.write_bytes(b"PK")


@pytest.mark.parametrize("change", [another_size, too_short, objects, no_array])
def test_arrays_that_do_not_fit_are_refused(change: Callable[[Path], None], tmp_path: Path) -> None:
    folder = measured(tmp_path, change=change)
    with pytest.raises(DataRefused):
        rollouts.judge(folder, [small.episode(i) for i in range(2)], CONFIG, read_frames=small.read_frames)


def test_a_lerobot_dataset_of_predictions_holds_no_depth(tmp_path: Path) -> None:
    spec = small.spec(states=False, cameras=(small.DEPTH,))
    entry = rollouts.Entry(context="c", actions="a", episode_index=0)
    manifest = rollouts.Manifest(schema=rollouts.SCHEMA, model=spec, format="lerobot", rollouts=(entry,))
    log = LerobotLogFake()
    with pytest.raises(DataRefused, match="colour alone"):
        rollouts.RecordedModel(tmp_path, manifest, "d", {0: log}).load(entry, 1)  # type: ignore[dict-item]


class LerobotLogFake:
    name = "episode_000000"


# ------------------------------------------------------------------ pictures of a LeRobot dataset


def as_lerobot(tasks: Path, out: Path, fakes: ModuleType) -> Path:
    """Predictions of states and pictures as a LeRobot dataset."""
    told = json.loads((tasks / "tasks.json").read_text())
    entries = []
    with LeRobotWriter(out, fps=10, robot_type="ur5", origin=Origin.IMAGINED) as writer:
        for task in told["tasks"]:
            with np.load(tasks / task["file"], allow_pickle=False) as arrays:
                states, actions = predict(arrays), arrays["actions"]
            frames = {FRONT: fakes.pictures(states)}
            index = writer.add_episode({STATE: states, "action": actions}, frames, task="predict")
            entries.append({"context": task["context"], "actions": task["actions"], "episode_index": index})
    manifest = {"schema": rollouts.SCHEMA, "model": told["model"], "format": "lerobot", "rollouts": entries}
    (out / "rollouts.json").write_text(json.dumps(manifest))
    return out


def test_pictures_of_a_lerobot_dataset_are_judged(
    tasks: Path, tmp_path: Path, episodes: list[Any], fakes: ModuleType
) -> None:
    folder = as_lerobot(tasks, tmp_path / "out", fakes)
    judged = rollouts.judge(folder, episodes, CONFIG, read_frames=fakes.read_frames)
    direct = gap(fakes.FakeModel(spec=fakes.spec(video=True)), episodes, CONFIG, read_frames=fakes.read_frames)
    name = f"{FRONT}/video_mse"
    found, exact = (np.array(r.episodes[0].signals[name].model, float) for r in (judged, direct))
    np.testing.assert_allclose(found, exact, atol=0.003)

    manifest = json.loads((folder / "rollouts.json").read_text())
    manifest["rollouts"][0]["episode_index"] = 99
    (folder / "rollouts.json").write_text(json.dumps(manifest))
    with pytest.raises(DataRefused, match="no such episode"):
        rollouts.judge(folder, episodes, CONFIG, read_frames=fakes.read_frames)


def test_a_video_that_ends_too_early_is_refused(
    tasks: Path, tmp_path: Path, episodes: list[Any], fakes: ModuleType
) -> None:
    folder = fill(tasks, tmp_path / "out", fakes)
    write_video(folder / "r0.mp4", fakes.pictures(np.zeros((2, 2))))
    with pytest.raises(DataRefused, match=r"ends too early[\s\S]*2 of 5 frames"):
        rollouts.judge(folder, episodes, CONFIG, read_frames=fakes.read_frames)


def test_tasks_of_a_model_without_actions_hold_none(tmp_path: Path, fakes: ModuleType) -> None:
    spec = fakes.spec(action=None)
    assert rollouts.write_tasks(tmp_path / "tasks", spec, [fakes.episode(0)], CONFIG) == 2
    with np.load(tmp_path / "tasks" / "task_00000.npz", allow_pickle=False) as task:
        assert set(task) == {f"state:{STATE}", "actions"}
        assert task["actions"].shape == (5, 0)
