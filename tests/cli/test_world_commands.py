"""train, imagine and gap from the command line, through to a gate that holds for want of episodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from worldgate.cli import main

pytest.importorskip("torch")


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    """What a command answers as JSON."""
    assert main([*arguments, "--json"]) == code, capsys.readouterr().err
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a dataset ``cell-1`` of six short episodes and a hardly trained model ``tiny``."""
    folder = tmp_path_factory.mktemp("worlds")
    root = str(folder / "ws")
    for command in (
        ["init", root, "--person", "ada"],
        ["sim", "record", str(folder / "logs"), "--runs", "6", "--duration", "2.5", "--expert", "noisy"],
        ["ingest", str(folder / "logs"), "-w", root],
        ["snapshot", "cell", "--name", "cell-1", "-w", root],
        ["train", "state", "cell-1", "--name", "tiny", "--debug-config", "--set", "phase.steps=4", "-w", root],
    ):
        assert main([*command, "--json"]) == 0, command
    return folder / "ws"


@pytest.fixture(autouse=True)
def _here(trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLDGATE_WORKSPACE", str(trained))
    monkeypatch.chdir(tmp_path)


def test_a_gap_is_recorded_as_evidence_and_a_gate_holds_on_too_little(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    made = said(capsys, "gap", "cell-1", "--model", "tiny", "--epsilon", "observation.state[rad]=0.1")
    assert made["origin"] == "simulated"
    assert {row["signal"] for row in made["rows"]} >= {"observation.state[rad]"}
    assert all(row["hold"] is not None and row["velocity"] is not None for row in made["rows"])
    decided = said(capsys, "gate", "admission-simulated", "tiny", made["evidence"]["digest"], "--site", "north", code=3)
    assert decided["verdict"] in {"HOLD", "REJECT"}
    schema = [check for check in decided["payload"]["checks"] if check["check"] == "schema"]
    assert schema
    assert all(check["status"] == "PASS" for check in schema), "the training run recorded what it was fed"
    assert said(capsys, "record", "verify")["ok"]


def test_what_is_imagined_says_so_in_every_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    made = said(capsys, "imagine", "tiny", "cell-1", "--out", "future", "--horizon", "0.5")
    assert (made["origin"], made["steps"]) == ("imagined", 5)
    table = pq.read_table(tmp_path / "future" / "states.parquet")
    assert set(table.column("origin").to_pylist()) == {"imagined"}
    assert table.num_rows == 5
    assert (tmp_path / "future" / "imagined.mcap").is_file()
    seen = said(capsys, "show", made["rollout"]["digest"][:12])
    kinds = {child["ref"]["kind"] for child in seen["made_from"]["children"]}
    assert {"world_model", "dataset", "log"} <= kinds
    assert main(["imagine", "tiny", "cell-1", "--out", "future"]) == 2, "nothing is overwritten"


def test_an_episode_of_any_split_is_imagined_and_it_is_said_where_the_model_learned_from_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    capsys.readouterr()
    held = said(capsys, "imagine", "tiny", "cell-1", "--out", "held", "--horizon", "0.3")
    assert held["learned_from"] is False
    seen = said(capsys, "imagine", "tiny", "cell-1", "--split", "train", "--out", "seen", "--horizon", "0.3")
    assert seen["learned_from"] is True and seen["episode"] != held["episode"]
    assert said(capsys, "show", seen["rollout"]["digest"][:12])["body"]["learned_from"] is True
    named = ["imagine", "tiny", "cell-1", "--episode", seen["episode"][:12], "--horizon", "0.3"]
    assert main([*named, "--out", "named"]) == 0
    assert "learned from this very episode" in capsys.readouterr().out
    assert main([*named, "--split", "val", "--out", "elsewhere"]) == 2
    assert said(capsys, "data", "subset", "cell-1", "--split", "train", "--name", "all-seen")
    assert main(["imagine", "tiny", "all-seen", "--out", "none"]) == 2
    assert "--split train" in capsys.readouterr().err
    again = said(capsys, "imagine", "tiny", "all-seen", "--split", "train", "--out", "again", "--horizon", "0.3")
    assert again["learned_from"] is True


def test_asking_again_finds_the_same_run_and_resume_takes_its_id_alone(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    (run,) = [path.name for path in (trained / "runs").iterdir()]
    first = said(capsys, "train", "--resume", run)["model"]
    again = said(capsys, "train", "state", "cell-1", "--name", "tiny", "--debug-config", "--set", "phase.steps=4")
    assert again["model"] == first
    assert main(["train", "--resume", run, "--set", "phase.steps=5"]) == 2
    assert "a run id and nothing else" in capsys.readouterr().err


def test_someone_elses_predictions_are_asked_for_and_their_absence_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert said(capsys, "gap", "cell-1", "--model", "tiny", "--tasks", "tasks")["tasks"] > 0
    assert (tmp_path / "tasks" / "tasks.json").is_file()
    assert main(["gap", "cell-1", "--rollouts", "tasks"]) == 2
    assert "no manifest of predictions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["train", "stat", "cell-1"], "did you mean state?"),
        (["train", "state", "cell-2"], "no such dataset"),
        (["train", "state"], "train takes a family and a dataset"),
        (["train", "state", "cell-1", "--set", "phase.stepz=1"], "did you mean steps?"),
        (["train", "--resume", "nope"], "no such run"),
        (["imagine", "tiny", "cell-1", "--out", "x", "--at", "99"], "no prompt can be cut"),
        (["imagine", "tiny", "cell-1", "--out", "x", "--episode", "zz"], "no such episode"),
        (["gap", "cell-1"], "a model or a folder of predictions"),
        (["gap", "cell-1", "--model", "tiny", "--epsilon", "much"], "NAME=VALUE"),
        (["gap", "cell-1", "--model", "tiny", "--split", "test"], "no episode in this split"),
    ],
)
def test_a_mistaken_request_is_2(arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(arguments) == 2
    assert part in capsys.readouterr().err
    assert not Path("x").exists()
