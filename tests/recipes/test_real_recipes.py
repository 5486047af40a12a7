"""The recipes on real robots: on a made folder of the DROID layout everywhere, on the real logs where they are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from worldgate.cli import main
from worldgate.core.errors import ContractBroken, NotFound
from worldgate.evidence.recompute import RECOMPUTE
from worldgate.recipes import droid, g1
from worldgate.recipes._real import DEBUG, DataConfig, RealConfig, StateConfig, VideoConfig
from worldgate.recipes._real_data import locate
from worldgate.recipes._result import Result
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

ROWS = 90
SMALL = replace(DEBUG, windows=8)


def write_video(path: Path, length: int) -> None:
    """A block that moves over a still floor, so that no camera is blank or frozen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=5, options={"crf": "28", "preset": "ultrafast"})
        video.height, video.width, video.pix_fmt = 192, 320, "yuv420p"
        for k in range(length):
            frame = np.full((192, 320, 3), 90, np.uint8)
            frame[:, :160] = 140
            frame[60:100, 4 + 7 * k : 44 + 7 * k] = (200, 60, 40)
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode(None))


def write_episode(root: Path, number: int, *, obedient: bool) -> None:
    """Six seconds of an arm whose tool goes a fifth of the way to its command at every row, or wanders by itself."""
    rng = np.random.default_rng(number)
    t = np.arange(ROWS)[:, None] / 15.0
    waves = [rng.uniform(0.1, 0.3, 7) * np.sin(rng.uniform(0.5, 4.0, 7) * t + rng.uniform(0, 6, 7)) for _ in range(2)]
    command = np.sum(waves, axis=0)
    towards = command if obedient else np.cumsum(rng.normal(size=(ROWS, 7)) * 0.05, axis=0)
    state = np.zeros((ROWS, 7))
    for k in range(1, ROWS):
        state[k] = state[k - 1] + 0.2 * (towards[k - 1] - state[k - 1])
    joints = state @ np.random.default_rng(99).normal(size=(7, 7))
    tree = {
        "texts": ["follow the command"],
        "success": number % 2,
        "video_length": ROWS // 3,
        "raw_length": ROWS,
        "videos": [{"video_path": f"videos/train/{number}/{i}.mp4"} for i in range(3)],
        "observation.state.joint_position": joints.tolist(),
        "observation.state.cartesian_position": state[:, :6].tolist(),
        "observation.state.gripper_position": state[:, 6].tolist(),
        "action.cartesian_position": command[:, :6].tolist(),
        "action.gripper_position": command[:, 6].tolist(),
        "action.joint_position": joints.tolist(),
        "action.joint_velocity": joints.tolist(),
    }
    write_annotation(root, number, tree)


def write_annotation(root: Path, number: int, tree: dict[str, Any]) -> None:
    (root / "annotation" / "train").mkdir(parents=True, exist_ok=True)
    (root / "annotation" / "train" / f"{number}.json").write_text(json.dumps(tree))
    for i in range(3):
        write_video(root / "videos" / "train" / str(number) / f"{i}.mp4", ROWS // 3)


def make_folder(root: Path, *, episodes: int = 6, obedient: bool = True) -> Path:
    """A folder of the DROID layout: episodes with actions, and one of another set-up that logged none."""
    for number in range(episodes):
        write_episode(root / "main-lab", number, obedient=obedient)
    tree = json.loads((root / "main-lab" / "annotation" / "train" / "0.json").read_text())
    framed = {key: tree[key] for key in ("texts", "success", "video_length", "videos")}
    framed["joints"] = np.asarray(tree["observation.state.joint_position"])[::3, [0, 1, 2, 3, 4, 5, 6, 0]].tolist()
    framed["states"] = np.asarray(tree["observation.state.joint_position"])[::3].tolist()
    write_annotation(root / "other-lab", 0, framed)
    return root


def judge(root: Path, workspace: Path, config: RealConfig = SMALL) -> Result:
    return droid.run(workspace, replace(config, data=DataConfig(root=str(root))))


def verdicts(result: Result, model: str) -> dict[str, str]:
    return {d["signal"]: d["verdict"] for d in result.facts["decisions"] if d["model"] == model}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("made")
    return judge(make_folder(folder / "logs"), folder / "workspace")


def test_logs_without_actions_are_ingested_and_refused_by_the_contract(made: Result) -> None:
    assert (made.facts["ingested"], made.facts["accepted"], made.facts["refused"]) == (7, 6, 1)
    assert "refused: action is missing" in made.report.read_text()


def test_the_control_is_refused_for_every_signal_and_the_good_model_is_not(made: Result) -> None:
    assert made.as_told
    good, control = verdicts(made, "state"), verdicts(made, "state, actions shuffled")
    assert set(good) == set(control) == set(list(droid.ROBOT.epsilon)[:4])
    assert set(control.values()) == {"REJECT"}
    assert "REJECT" not in good.values()


def test_few_episodes_hold_and_say_how_many_are_needed(made: Result) -> None:
    held = [d for d in made.facts["decisions"] if d["model"] == "state"]
    assert {d["verdict"] for d in held} == {"HOLD"}
    assert all("needs at least 14 clean episodes, has 6" in d["why"] for d in held)


def test_every_figure_has_its_interval_and_every_episode_was_judged_once(made: Result) -> None:
    for row in made.facts["figures"]["state"]:
        assert row["episodes"] == 6
        for baseline in ("hold", "velocity"):
            found = row[baseline]
            assert found["lower"] <= found["estimate"] <= found["upper"]
            assert found["width"] == pytest.approx(found["upper"] - found["lower"])


def test_a_promotion_would_still_need_trials_and_says_how_many(made: Result) -> None:
    assert made.facts["promotion"]["verdict"] == "HOLD"
    missing = "; ".join(made.facts["promotion"]["missing"])
    assert "violations: a plan before the first trial, and 59 scenes without a failure" in missing
    assert "success: a plan before the first trial, and 30 scenes without a failure" in missing
    assert "identity: needs" in missing


def test_the_record_of_a_run_verifies_again_and_lineage_reaches_the_logs(made: Result) -> None:
    with Workspace.open(made.workspace) as ws:
        assert verify(ws, recompute=RECOMPUTE).ok
        policies = [ws.get_json(ref.digest) for ref in ws.artifacts("gate_policy")]
        assert {p["population"] for p in policies} == {"real"}
        assert all(p["cross_validation"] for p in policies)
        folds = [ref for ref in ws.artifacts("world_model") if "fold" in ref.name]
        assert len(folds) == 2 * SMALL.state.folds


def test_the_report_loads_nothing(made: Result) -> None:
    page = made.report.read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page
    assert "Real recordings" in page


def test_a_model_whose_actions_carry_nothing_is_refused(tmp_path: Path) -> None:
    result = judge(make_folder(tmp_path / "logs", obedient=False), tmp_path / "workspace")
    assert set(verdicts(result, "state").values()) == {"REJECT"}


def test_too_few_accepted_logs_are_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ContractBroken, match="accepts 2 of 3") as caught:
        judge(make_folder(tmp_path / "logs", episodes=2), tmp_path / "workspace")
    assert "is missing" in str(caught.value)


@pytest.mark.parametrize("name", ["droid", "g1"])
def test_logs_that_are_not_there_are_three_lines_and_nothing_is_made(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORLDGATE_REQUIRE", raising=False)
    assert main(["run", name, "--set", "data.root=nowhere"]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 3
    assert "data.root" in error[1]
    assert f"worldgate run {name} --set data.root=" in error[2]
    assert not list(tmp_path.iterdir())


def test_the_data_folder_is_found_by_option_then_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / droid.ROBOT.folder
    inside.mkdir()
    monkeypatch.setenv("WORLDGATE_DATA", str(tmp_path))
    assert locate(droid.ROBOT, "") == inside
    assert locate(droid.ROBOT, str(tmp_path)) == inside
    assert locate(droid.ROBOT, str(inside)) == inside
    monkeypatch.setenv("WORLDGATE_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(NotFound):
        locate(droid.ROBOT, "")


# ------------------------------------------------------------------- real logs

EPISODES = {"droid": (18, 11), "g1": (6, 6)}
"""Ingested, and accepted by the contract: seven of DROID logged no actions."""


def real(name: str, data: Path, workspace: Path, config: RealConfig) -> Result:
    run = {"droid": droid.run, "g1": g1.run}[name]
    return run(workspace, replace(config, data=DataConfig(root=str(data))))


@pytest.mark.parametrize("name", list(EPISODES))
def test_real_logs_go_through_every_stage(name: str, real_data: Path, tmp_path: Path) -> None:
    result = real(name, real_data, tmp_path / "workspace", DEBUG)
    assert (result.facts["ingested"], result.facts["accepted"]) == EPISODES[name]
    assert result.facts["flagged"] == (6 if name == "g1" else 0), "pictures of g1 renew at half their rate"
    assert result.facts["verified"]
    assert "ADMIT" not in verdicts(result, "state, actions shuffled").values()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", list(EPISODES))
def test_state_beats_both_baselines_at_half_a_second_on_held_out_real_episodes(
    name: str, real_data: Path, tmp_path: Path
) -> None:
    result = real(name, real_data, tmp_path / "workspace", RealConfig(video=VideoConfig(seconds=0.0)))
    assert result.as_told, "the control with shuffled actions is refused for every signal"
    half = [row for row in result.facts["figures"]["state"] if row["seconds"] == 0.5]
    assert half
    for row in half:
        assert row["episodes"] == EPISODES[name][1]
        assert row["hold"]["lower"] > 0
        assert row["velocity"]["lower"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", list(EPISODES))
def test_video_is_trained_judged_and_decided_on_real_logs(name: str, real_data: Path, tmp_path: Path) -> None:
    config = RealConfig(windows=3, state=StateConfig(steps=2, folds=2), video=VideoConfig(seconds=3.0, size=32))
    result = real(name, real_data, tmp_path / "workspace", config)
    signals = [s for s in _real_signals(name) if s.endswith("video_moving")]
    assert list(verdicts(result, "conv")) == signals
    assert result.facts["verified"]


def _real_signals(name: str) -> list[str]:
    return list({"droid": droid, "g1": g1}[name].ROBOT.epsilon)
