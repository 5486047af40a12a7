"""worldgate train policy, policy evaluate and policy import: from recorded runs of a task to figures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from worldgate.cli import main
from worldgate.control import training
from worldgate.core.errors import Interrupted
from worldgate.evidence.gate_evidence import TRAINING_SCHEMA
from worldgate.record.workspace import Workspace

pytest.importorskip("torch")
GOLDEN = Path(__file__).parents[1] / "golden" / "lerobot_act"
QUICK = ("--set", "phase.steps=6", "--set", "loop.evaluate_every=6", "--set", "loop.checkpoint_every=2")
GOAL = ("--set", 'goal=["observation.state"]')


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    """What a command answers as JSON."""
    assert main([*arguments, "--json"]) == code, capsys.readouterr().err
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, code: int) -> str:
    assert main([*arguments]) == code
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a dataset ``rooms``, a release ``walker`` that takes goals and a world model ``dynamics``."""
    folder = tmp_path_factory.mktemp("policies")
    walker = ["act", "rooms", "--name", "walker", "--size", "debug", *QUICK, *GOAL]
    for command in (
        ["init", str(folder / "ws"), "--person", "ada"],
        ["sim", "task", "two_room", str(folder / "logs"), "--runs", "6", "--contract", str(folder / "rooms.toml")],
        ["ingest", str(folder / "logs"), "-w", str(folder / "ws")],
        ["snapshot", str(folder / "rooms.toml"), "--name", "rooms", "-w", str(folder / "ws")],
        ["train", "policy", *walker, "-w", str(folder / "ws")],
        ["train", "state", "rooms", "--name", "dynamics", "--size", "debug", "-w", str(folder / "ws")],
    ):  # fmt: skip
        assert main([*command, "--json"]) == 0, command
    return folder / "ws"


@pytest.fixture
def ws(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORLDGATE_WORKSPACE", str(made))
    return made


def test_a_release_says_what_it_was_fed_and_asking_again_finds_it(ws: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("train", "policy", "act", "rooms", "--name", "walker", "--size", "debug", *QUICK, *GOAL)
    again = said(capsys, *command)
    assert again["schema"] == "worldgate.train.policy"
    assert set(again["held_out"]) == {"action_error", "copy_last_error", "mean_action_error"}
    resumed = said(capsys, "train", "--resume", again["run"])
    assert resumed["release"] == again["release"]
    with Workspace.open(ws) as held:
        registered = [e for e in held.ledger.events("release.registered") if e.body["name"] == "walker"]
        assert len(registered) == 1
        release = held.get_json(registered[0].body["release"])
        told = [e for e in held.ledger.events("evidence.made") if e.body["schema"] == TRAINING_SCHEMA]
        assert {e.body["subject"] for e in told} >= set(release["weights"].values())
        assert release["controller"]["rate_hz"] == 10


def test_an_interrupted_training_goes_on_and_ends_in_the_same_weights(
    ws: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from worldgate.worlds.train.loop import _Work

    with Workspace.open(ws) as held:
        dataset = held.resolve("rooms", "dataset").digest
        config = training.config_for("flow", training.Size.DEBUG)
        whole = training.train(held, dataset, "flow", config, name="whole")
        keep = _Work._keep

        def stop(self: Any, done: int, stop: bool) -> None:
            keep(self, done, stop or done == 17)

        with monkeypatch.context() as patch:
            patch.setattr(_Work, "_keep", stop)
            with pytest.raises(Interrupted) as stopped:
                training.train(held, dataset, "flow", config, name="halted")
        run = str(stopped.value.hint).split()[-1]
        assert training.is_policy(held, run)
        halted = training.resume(held, run)
        weights = [held.get_json(ref.digest)["weights"] for ref in (whole, halted)]
    assert weights[0] == weights[1]


def test_a_release_is_measured_in_a_task_beside_everyone_who_acts_there(
    ws: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = said(capsys, "policy", "evaluate", "walker", "--task", "two_room", "--runs", "2", "--seed", "5")
    tried = {row["who"]: row for row in told["tried"]}
    assert tried["scripted"]["successes"] == 2
    assert tried["random"]["successes"] == 0
    assert float(tried["release"]["low"]) <= tried["release"]["successes"] / 2 <= float(tried["release"]["high"])
    assert told["simulated"] is True


def test_actions_stand_beside_two_guesses_and_are_not_called_success(
    ws: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--dataset", "rooms", "--split", "train", "--set", "horizon=4", "--set", "rows=3")
    told = said(capsys, "policy", "evaluate", "walker", *options)["errors"]
    assert "not success" in told["caveat"]
    assert {(c["channel"], c["step"]) for c in told["channels"]} == {(n, k) for n in "xy" for k in (0, 2, 3)}
    assert all(c["policy"] > 0 and c["mean_action"] > 0 for c in told["channels"])


def test_in_a_world_model_recorded_actions_are_the_bound(ws: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("policy", "evaluate", "walker", "--model", "dynamics", "--dataset", "rooms", "--split", "train")
    told = said(capsys, *command, "--runs", "4", "--steps", "8")
    assert told["imagined"] is True
    (end,) = told["ends"]
    assert end["stream"] == "observation.state"
    assert end["recorded"] < end["held"]
    assert end["runs"] >= 12


def test_places_that_do_not_fit_are_refused(ws: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate = ("policy", "evaluate", "walker")
    assert "measured in one place" in refused(capsys, *evaluate, code=2)
    assert "measured in one place" in refused(capsys, *evaluate, "--task", "wall", "--dataset", "rooms", code=2)
    assert "a task and a model" in refused(capsys, *evaluate, "--task", "wall", "--model", "dynamics", code=2)
    assert "horizon" in refused(capsys, *evaluate, "--dataset", "rooms", "--set", "horizen=3", code=2)
    said(capsys, "policy", "import", str(GOLDEN), "--rate", "30", "--name", "theirs")
    assert "another control rate" in refused(capsys, "policy", "evaluate", "theirs", "--task", "two_room", code=4)
    said(capsys, "policy", "import", str(GOLDEN), "--rate", "10", "--name", "slower")
    assert "another shape" in refused(capsys, "policy", "evaluate", "slower", "--task", "two_room", code=4)


def test_what_is_not_trained_here_is_said(ws: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "not trained here" in refused(capsys, "train", "policy", "scripted", "rooms", code=2)
    assert "one size" in refused(capsys, "train", "policy", "mlp", "rooms", "--size", "large", code=2)


def test_a_folder_of_lerobots_becomes_a_release(ws: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "policy", "import", str(GOLDEN), "--rate", "30", "--unit", "rad", "--channels", "a", "b", "c")
    assert told["manifest"]["controller"] == {"chunk": 5, "convention": "joint_position", "execute": 5, "rate_hz": 30.0}
    assert told["manifest"]["action"]["names"] == ["a", "b", "c"]
    shutil.copytree(GOLDEN, tmp_path / "bad")
    (tmp_path / "bad" / "model.safetensors").write_bytes(b"\x80\x04pickle")
    assert "not safetensors" in refused(capsys, "policy", "import", str(tmp_path / "bad"), "--rate", "30", code=4)


def test_a_folder_that_is_told_in_words_says_how(ws: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tokenizers")
    folder = tmp_path / "pi0"
    shutil.copytree(GOLDEN.parent / "lerobot_pi0", folder)
    assert main(["policy", "import", str(folder), "--rate", "30"]) == 0
    out = capsys.readouterr().out
    assert "4 of 6 actions at 30 Hz" in out
    assert "is told '{task}\\n', as tokens of tokenizer " in out
    (folder / "tokenizer.json").unlink()
    assert "copy tokenizer.json of google/paligemma-3b-pt-224" in refused(
        capsys, "policy", "import", str(folder), "--rate", "30", code=2
    )
