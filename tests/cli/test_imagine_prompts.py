"""Every kind of prompt from the command line, with a model that takes them all and with one that does not."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from worldgate.cli import main

pytest.importorskip("torch")

PROMPTS = {
    "text": ["--rows", "0", "--actions", "none", "--text", "push the object into the bay"],
    "one image": ["--rows", "1", "--pictures-only", "--actions", "none"],
    "a clip": ["--pictures-only", "--actions", "none"],
    "first and last": ["--rows", "1", "--ahead", "0.4", "--actions", "none"],
    "known frames": ["--ahead", "0.2", "--ahead", "0.4"],
    "actions": ["--samples", "2", "--actions", "mine.csv"],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with hardly trained models: ``every`` of pictures, states and text; and ``plain``."""
    folder = tmp_path_factory.mktemp("prompts")
    root = str(folder / "ws")
    made = ["train", "flow", "cell-1", "--name", "every", "--debug-config", "-w", root]
    for change in ('inputs.text=["task"]', "phase.steps=3", "tokenizer.phase.steps=3"):
        made += ["--set", change]
    for command in (
        ["init", root, "--person", "ada"],
        ["sim", "record", str(folder / "logs"), "--runs", "5", "--duration", "2.5", "--expert", "noisy"],
        ["ingest", str(folder / "logs"), "-w", root],
        ["snapshot", "cell", "--name", "cell-1", "-w", root],
        made,
        ["train", "state", "cell-1", "--name", "plain", "--debug-config", "--set", "phase.steps=4", "-w", root],
    ):
        assert main([*command, "--json"]) == 0, command
    return folder / "ws"


@pytest.fixture(autouse=True)
def _here(trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLDGATE_WORKSPACE", str(trained))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("x,y\n" + "0.1,0.05\n" * 4)


@pytest.mark.parametrize("kind", PROMPTS)
def test_a_prompt_of_every_kind_becomes_files(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    asked = ["imagine", "every", "cell-1", "--horizon", "0.4", *PROMPTS[kind], "--out", "made", "--json"]
    assert main(asked) == 0, capsys.readouterr().err
    body = json.loads(capsys.readouterr().out)
    names = {Path(file).name for file in body["files"]}
    assert names == {"states.parquet", "imagined.mcap", "imagined.mp4", "lerobot"}
    table = pq.read_table(tmp_path / "made" / "states.parquet")
    samples = 2 if kind == "actions" else 1
    assert table.num_rows == 4 * samples
    assert ("action" in table.column_names) == (kind in {"known frames", "actions"})


@pytest.mark.parametrize(
    ("kind", "said"),
    [("text", "takes no text"), ("one image", "prompts of some streams alone"), ("first and last", "no frames ahead")],
)
def test_a_model_that_lacks_it_refuses(kind: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["imagine", "plain", "cell-1", "--horizon", "0.4", *PROMPTS[kind], "--out", "made"]
    assert main(asked) != 0
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\nx,3\n", "not a table of actions"),
        ("1,nan\n", "shape"),
        ("", "not a table"),
        ("1\n2\n3\n4\n", "shape"),
    ],
)
def test_a_file_that_holds_no_actions_is_refused(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.csv").write_text(text)
    assert main(["imagine", "every", "cell-1", "--horizon", "0.4", "--actions", "bad.csv", "--out", "made"]) != 0
    assert said in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_what_was_recorded_bounds_what_can_be_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["imagine", "every", "cell-1", "--ahead", "60", "--out", "made"]) != 0
    assert "no picture is recorded so far ahead" in capsys.readouterr().err
    assert main(["imagine", "every", "cell-1", "--rows", "9", "--out", "made"]) != 0
    assert "more known rows than the model's context" in capsys.readouterr().err
