"""Every kind of prompt from the command line, with a model that takes them all and with one that does not."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import cv2
import pyarrow.parquet as pq
import pytest

from worldgate.cli import main
from worldgate.cli.imagine import imagine

pytest.importorskip("torch")

LINES = [
    shlex.split(line)[4:]
    for line in (imagine.__doc__ or "").splitlines()
    if line.strip().startswith("worldgate imagine cell-flow cell-1 ")
]
"""What the help shows, one line a kind of prompt."""
KINDS = ("text", "one image", "a clip", "first and last", "known frames", "actions", "mixture")
PROMPTS = dict(zip(KINDS, LINES, strict=True))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with hardly trained models: ``cell-flow`` of pictures, states and text; and ``plain``."""
    folder = tmp_path_factory.mktemp("prompts")
    root = str(folder / "ws")
    made = ["train", "flow", "cell-1", "--name", "cell-flow", "--debug-config", "-w", root]
    for change in ('inputs.text=["task"]', "phase.steps=3", "tokenizer.phase.steps=3"):
        made += ["--set", change]
    for command in (
        ["init", root, "--person", "ada"],
        ["sim", "record", str(folder / "logs"), "--runs", "5", "--duration", "3.6", "--expert", "noisy"],
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
    (tmp_path / "mine.csv").write_text("x,y\n" + "0.1,0.05\n" * 10)


@pytest.mark.parametrize("kind", PROMPTS)
def test_every_line_of_the_help_becomes_files(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["imagine", "cell-flow", "cell-1", *PROMPTS[kind], "--json"]) == 0, capsys.readouterr().err
    body = json.loads(capsys.readouterr().out)
    made = Path(PROMPTS[kind][PROMPTS[kind].index("--out") + 1])
    names = {Path(file).name for file in body["files"]}
    assert names == {"states.parquet", "imagined.mcap", "imagined.mp4", "strip.png", "lerobot"}
    table = pq.read_table(tmp_path / made / "states.parquet")
    samples = {"actions": 4, "mixture": 2}.get(kind, 1)
    assert table.num_rows == body["steps"] * samples
    assert ("action" in table.column_names) == (kind in {"known frames", "actions", "mixture"})


def test_a_strip_frames_what_the_model_was_shown(tmp_path: Path) -> None:
    assert main(["imagine", "cell-flow", "cell-1", *PROMPTS["first and last"][:-1], "strip"]) == 0
    picture = cv2.imread(str(tmp_path / "strip" / "strip.png"))
    side, gap = 64, 2
    assert picture.shape[:2] == (2 * side + gap, 8 * (side + gap) - gap)
    corners = [picture[0, column * (side + gap)].astype(int) for column in range(8)]
    framed = [bool(green > 180 and green > blue + 80 and green > red + 80) for blue, green, red in corners]
    assert framed == [True, *[False] * 6, True]
    assert (picture[side + gap :, :side] > 250).all(), "nothing was imagined before now"


@pytest.mark.parametrize(
    ("kind", "said"),
    [("text", "takes no text"), ("one image", "prompts of some streams alone"), ("first and last", "no frames ahead")],
)
def test_a_model_that_lacks_it_refuses(kind: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["imagine", "plain", "cell-1", *PROMPTS[kind]]) != 0
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
    assert main(["imagine", "cell-flow", "cell-1", "--horizon", "0.4", "--actions", "bad.csv", "--out", "made"]) != 0
    assert said in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_what_was_recorded_bounds_what_can_be_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["imagine", "cell-flow", "cell-1", "--ahead", "60", "--out", "made"]) != 0
    assert "no picture is recorded so far ahead" in capsys.readouterr().err
    assert main(["imagine", "cell-flow", "cell-1", "--rows", "9", "--out", "made"]) != 0
    assert "more known rows than the model's context" in capsys.readouterr().err


def test_what_prompts_are_worth_is_measured_recorded_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    asked = ["world", "prompts", "cell-flow", "cell-1", "--split", "train", "--samples", "2", "--seconds", "0.2"]
    asked += ["--set", "windows=1", "--set", "resamples=50", "--kind", "text", "image", "driven"]
    assert main([*asked, "--out", "worth.json", "--json"]) == 0, capsys.readouterr().err
    body = json.loads(capsys.readouterr().out)
    report = body["report"]
    assert report["schema"] == "worldgate/prompts/1"
    assert {row["kind"] for row in report["rows"]} == {"image", "driven"}
    assert report["not_measured"] == {"text": "all held-out episodes have the same text"}
    assert json.loads((tmp_path / "worth.json").read_text()) == report
    assert main(["show", body["evaluation"]["digest"][:12]]) == 0
    assert main([*asked, "--out", "worth.json"]) == 2, "nothing is overwritten"
    assert main(["world", "prompts", "plain", "cell-1", "--split", "train"]) == 2
    assert "cannot do this" in capsys.readouterr().err
