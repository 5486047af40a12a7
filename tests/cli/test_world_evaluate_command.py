"""``worldgate world evaluate``: world models by every measure, tokenizers by their report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
    """A workspace with a dataset ``cell-1`` of six short episodes, a world model and a tokenizer, hardly trained."""
    folder = tmp_path_factory.mktemp("evaluate")
    root = str(folder / "ws")
    for command in (
        ["init", root, "--person", "ada"],
        ["sim", "record", str(folder / "logs"), "--runs", "6", "--duration", "2", "--expert", "noisy"],
        ["ingest", str(folder / "logs"), "-w", root],
        ["snapshot", "cell", "--name", "cell-1", "-w", root],
        ["train", "state", "cell-1", "--name", "tiny", "--debug-config", "--set", "phase.steps=4", "-w", root],
        ["train", "bins", "cell-1", "--name", "acts", "--debug-config", "-w", root],
    ):
        assert main([*command, "--json"]) == 0, command
    return folder / "ws"


@pytest.fixture(autouse=True)
def _here(trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLDGATE_WORKSPACE", str(trained))
    monkeypatch.chdir(tmp_path)


QUICK = ("--samples", "2", "--set", "windows=2", "--set", "resamples=50", "--set", "situation_windows=1")


def test_a_world_model_is_measured_beside_its_baselines_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    made = said(capsys, "world", "evaluate", "tiny", "cell-1", "--horizons", "2", "5", *QUICK, "--out", "all.json")
    report = made["report"]
    assert (report["schema"], report["facts"]["origin"], report["facts"]["samples"]) == (
        "worldgate/evaluation/1", "simulated", 2,
    )  # fmt: skip
    assert report["facts"]["horizons"] == [2, 5]
    energy = [row for row in report["rows"] if row["figure"] == "observation.state/energy" and row["step"] == 5]
    assert {"model", "hold", "velocity"} <= set(energy[0]["values"])
    assert "object.x" in report["facts"]["not_measured"]["object_pose"]
    assert json.loads((tmp_path / "all.json").read_text()) == report
    seen = said(capsys, "show", made["evaluation"]["digest"][:12])
    assert {child["ref"]["kind"] for child in seen["made_from"]["children"]} >= {"world_model", "dataset"}
    assert said(capsys, "record", "verify")["ok"]
    assert main(["world", "evaluate", "tiny", "cell-1", "--out", "all.json", *QUICK]) == 2, "nothing is overwritten"


def test_people_get_a_table_and_what_to_make_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["world", "evaluate", "tiny", "cell-1", "--measure", "energy", "state_rms", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "observation.state/energy" in out
    assert "better baseline" in out
    assert "imagined against simulated" in out


def test_a_tokenizer_is_measured_by_its_own_report(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    made = said(capsys, "world", "evaluate", "acts", "cell-1")
    assert made["tokenizer"]["family"] == "bins"
    assert "action" in made["tokenizer"]["figures"]


def test_what_cannot_be_measured_is_said_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["world", "evaluate", "nobody", "cell-1"]) == 2
    assert main(["world", "evaluate", "tiny", "cell-1", "--horizons", "900"]) == 2
    assert main(["world", "evaluate", "tiny", "cell-1", "--measure", "vibes"]) == 2
    assert main(["world", "evaluate", "tiny", "cell-1", "--split", "test"]) == 2
    assert "long enough" in capsys.readouterr().err


def test_an_evaluation_leaves_evidence_by_episode_that_a_new_site_can_be_onboarded_with(
    capsys: pytest.CaptureFixture[str],
) -> None:
    capsys.readouterr()
    quick = ("--horizons", "2", "5", "--measure", "determinism", "optimism", *QUICK)
    made = said(capsys, "world", "evaluate", "tiny", "cell-1", *quick)
    evidence = made["evidence"]["digest"]
    kept = said(capsys, "show", evidence[:12])
    assert evidence in json.dumps(kept)
    gap = said(capsys, "gap", "cell-1", "--model", "tiny", "--set", "windows=2")["evidence"]["digest"]
    told = said(capsys, "gap", "onboard", "admission-full-simulated", "harbour", gap[:12], evidence[:12])
    found = told["onboarding"]
    assert (found["site"], found["episodes"], found["elsewhere"]) == ("harbour", 0, ["north"])
    assert {c["here"] for c in found["checks"]} == {"INCONCLUSIVE"}
    north = said(capsys, "gap", "onboard", "admission-full-simulated", "north", gap[:12], evidence[:12])["onboarding"]
    assert north["episodes"] >= 1 and north["elsewhere"] == []
    repeats = [c for c in north["checks"] if c["check"] == "determinism"]
    assert [c["here"] for c in repeats] == ["PASS"]
    assert main(["gap", "onboard", "admission-full-simulated", "north", gap[:12], evidence[:12]]) == 0
    out = capsys.readouterr().out
    assert "evidence of other sites does not count" in out
    assert main(["gate", "admission-full-simulated", "tiny", gap[:12], evidence[:12], "--site", "north"]) == 3
    assert main(["gap", "onboard", "promotion", "north", gap[:12]]) == 2
