"""Training on clips from the command line: sizes, what is said before the start, and samples followed back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldgate.cli import main
from worldgate.core.digest import sha256

pytest.importorskip("torch")
STEPS = ("--set", "phase.steps=6", "--set", "loop.evaluate_every=6")


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    """What a command answers as JSON."""
    assert main([*arguments, "--json"]) == code, capsys.readouterr().err
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a dataset ``cell-1`` and a hardly trained tokenizer ``codes``."""
    folder = tmp_path_factory.mktemp("trained")
    for command in (
        ["init", str(folder / "ws"), "--person", "ada"],
        ["sim", "record", str(folder / "logs"), "--runs", "4", "--duration", "2"],
        ["ingest", str(folder / "logs"), "-w", str(folder / "ws")],
        ["snapshot", "cell", "--name", "cell-1", "-w", str(folder / "ws")],
        ["train", "fsq", "cell-1", "--name", "codes", "--size", "debug", *STEPS, "-w", str(folder / "ws")],
    ):
        assert main([*command, "--json"]) == 0, command
    return folder / "ws"


@pytest.fixture(autouse=True)
def _here(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WORLDGATE_WORKSPACE", str(root))
    capsys.readouterr()


@pytest.fixture
def run(root: Path) -> Path:
    """The folder of the first run."""
    return next(p for p in sorted((root / "runs").iterdir()) if (p / "receipts" / "phase-0.bin").is_file())


def test_the_record_keeps_what_was_said_before_the_start_what_it_took_and_the_receipts(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = said(capsys, "train", "fsq", "cell-1", "--name", "codes", "--size", "debug", *STEPS)
    assert made["processes"] == 1
    assert made["cost"]["took_s"] > 0
    assert made["cost"]["estimated_s"] > 0
    assert made["cost"]["estimated_bytes"] <= made["cost"]["peak_bytes"]
    kept = {path.name: sha256(path.read_bytes()) for path in (run / "receipts").iterdir()}
    assert made["receipts"] == kept
    assert set(kept) == {"phase-0.bin", "phase-0.json"}


def test_the_cost_is_said_on_stderr_and_the_answer_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["train", "state", "cell-1", "--size", "debug", "--set", "phase.steps=3", "--set", "phase.accumulate=2"]
    assert main(asked) == 0
    told = capsys.readouterr()
    assert "train: about " in told.err
    assert " on this machine, " in told.err
    assert "were expected" in told.out
    assert "train: about" not in told.out


def test_a_step_is_followed_back_to_its_recordings_and_they_hold_the_same_frames(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = said(capsys, "world", "samples", run.name, "--step", "6", "--prove")
    assert len(found["samples"]) == 8
    assert all(sample["proof"] and sample["exact"] for sample in found["samples"])
    assert main(["world", "samples", run.name, "--step", "1"]) == 0
    assert "8 samples of 1 frames" in capsys.readouterr().out


def test_a_receipt_that_names_another_frame_is_found_out(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "receipts" / "phase-0.bin"
    before = path.read_bytes()
    held = np.frombuffer(before, np.int32).copy()
    held[2] += 1
    path.write_bytes(held.tobytes())
    try:
        assert main(["world", "samples", run.name, "--step", "1", "--prove"]) == 1
        assert "names other frames" in capsys.readouterr().err
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["train", "fsq", "cell-1", "--size", "huge"], "huge"),
        (["train", "fsq", "cell-1", "--debug-config", "--size", "large"], "--debug-config is --size debug"),
        (["train", "bins", "cell-1", "--size", "large"], "comes in one size"),
        (["train", "fsq", "cell-1", "--set", "loop.device=tpu"], "lacks the device"),
        (["world", "samples", "abcdef", "--step", "1"], "abcdef"),
    ],
)
def test_what_cannot_be_is_refused_in_three_lines(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert part in told.err
    assert len(told.err.strip().splitlines()) <= 4
    assert told.out == ""


def test_a_step_that_was_not_trained_is_not_made_up(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["world", "samples", run.name, "--step", "7"]) == 2
    assert "no such step" in capsys.readouterr().err
