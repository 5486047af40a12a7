"""worldgate data label, as a user strings its commands together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from worldgate.cli import main
from worldgate.record.workspace import Workspace
from worldgate.sim.record import RecordConfig, record
from worldgate.sim.sensing import SensorConfig

CONTRACT = """
name = "labelled"
origins = ["simulated"]
[streams."observation.force"]
kind = "vector"
[alignment]
rate_hz = 10.0
[labels]
schema = "manipulation"
present = ["automatic/contact"]
"""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = RecordConfig(sensors=SensorConfig(cameras=("front",), geometry=(), lidar=False))
    return record(tmp_path_factory.mktemp("runs") / "run.mcap", duration_s=3.0, config=config)


@pytest.fixture
def root(recording: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["ingest", str(recording), "-w", str(workspace.root)]) == 0
    capsys.readouterr()
    return str(workspace.root)


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert main(["data", "label", *arguments, "--json"]) == code, capsys.readouterr().err
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


def people(capsys: pytest.CaptureFixture[str], root: str) -> None:
    for who, end in (("ada", "1.7"), ("bob", "1.6")):
        common = ["--schema", "manipulation", "--annotator", who, "-w", root]
        said(capsys, "add", "run.mcap", "success", "false", *common)
        said(capsys, "add", "run.mcap", "phase", "reach", "--start", "0", "--end", end, *common)
        said(capsys, "add", "run.mcap", "phase", "push", "--start", end, "--end", "3.0", *common)


def test_from_labels_by_people_and_programs_to_a_contract_that_is_fulfilled(
    root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contract = tmp_path / "c.toml"
    contract.write_text(CONTRACT)
    assert main(["check", str(contract), "-w", root]) == 4
    assert "nobody and no labeller looked for automatic/contact" in capsys.readouterr().out
    auto = said(capsys, "auto", "-w", root, "--labeller", "contact", "--labeller", "phase")
    assert [item["labeller"] for item in auto["said"]] == ["contact", "phase"]
    people(capsys, root)
    agreed = said(capsys, "agree", "--schema", "manipulation", "-w", root)
    figures = {item["label"]: item for item in agreed["labels"]}
    assert figures["phase"]["alpha"] > 0.8
    assert figures["phase"]["f1"]["value"] == 1.0
    assert figures["success"]["alpha"] is None, "both say no: nothing varies"
    assert main(["check", str(contract), "-w", root]) == 0
    capsys.readouterr()
    shown = said(capsys, "show", "-w", root)
    assert {item["annotator"] for item in shown["sets"]} == {"ada", "bob", "auto.contact", "auto.phase"}
    assert main(["record", "verify", "-w", root]) == 0


def test_files_go_out_and_come_back_without_a_change(
    root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people(capsys, root)
    before = said(capsys, "show", "-w", root)
    for number, form in enumerate(("labelstudio", "openlabel")):
        path = tmp_path / str(number)
        done = said(capsys, "export", str(path), "--schema", "manipulation", "--format", form, "-w", root)
        assert (done["sets"], done["moved"]) == (2, 0)
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            found = said(capsys, "import", str(file), "--schema", "manipulation", "-w", root)
            assert found["format"] == form
    assert said(capsys, "show", "-w", root) == before, "the same words again are no new sets"


def test_pictures_need_a_camera_and_say_what_moved(
    root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people(capsys, root)
    arguments = [
        "data",
        "label",
        "export",
        str(tmp_path / "x.json"),
        "--schema",
        "manipulation",
        "--by-picture",
        "-w",
        root,
    ]
    assert main(arguments) == 4
    assert "--camera" in capsys.readouterr().err
    assert main([*arguments, "--camera", "observation.images.front"]) == 0
    assert "spans moved, by" in capsys.readouterr().out


def test_a_decision_and_a_migration(root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema = '[labels.done]\ntype = "flag"\nextent = "log"\nannotators = 2\nleast_alpha = 0.5\n'
    (tmp_path / "one.toml").write_text(f'name = "tiny"\nversion = "1.0"\n{schema}')
    (tmp_path / "two.toml").write_text(f'name = "tiny"\nversion = "2.0"\n{schema.replace("done", "success")}')
    (tmp_path / "map.toml").write_text(
        'schema = "tiny"\nbefore = "1.0"\nafter = "2.0"\n[[moves]]\nlabel = "done"\nto = "success"\n'
    )
    one = str(tmp_path / "one.toml")
    for who, value in (("ada", "true"), ("bob", "false")):
        said(capsys, "add", "run.mcap", "done", value, "--schema", one, "--annotator", who, "-w", root)
    decide = [
        "adjudicate",
        "run.mcap",
        "--schema",
        "tiny",
        "--take",
        "*=ada",
        "--by",
        "eve",
        "--reason",
        "seen",
        "-w",
        root,
    ]
    said(capsys, *decide)
    changes = said(capsys, "schema", str(tmp_path / "two.toml"), "--against", "tiny", "-w", root)
    assert changes["step"] == "major"
    said(capsys, "schema", str(tmp_path / "two.toml"), "-w", root)
    moved = said(capsys, "migrate", str(tmp_path / "map.toml"), "-w", root)
    assert len(moved["sets"]) == 3
    shown = said(capsys, "show", "--schema", "tiny", "-w", root)
    assert {(x["annotator"], x["stale"], *(y["label"] for y in x["labels"])) for x in shown["sets"]} == {
        ("ada", "", "success"),
        ("bob", "", "success"),
        ("eve", "", "success"),
    }


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["schema", "nothing"], 2, "no such label_schema"),
        (["add", "run.mcap", "smell", "--schema", "manipulation", "--annotator", "ada"], 4, "does not have"),
        (["add", "gone", "success", "--schema", "manipulation", "--annotator", "ada"], 2, "no such log"),
        (["auto", "--labeller", "contakt"], 2, "did you mean contact?"),
        (["auto", "--set", "contact.last_n=1"], 2, "unknown key"),
        (["auto", "--set", "contact"], 2, "KEY=VALUE"),
        (["import", "gone.json", "--schema", "manipulation"], 2, "no such label file"),
        (["export", "x.json", "--schema", "manipulation"], 4, "no label set to write"),
        (["export", "x.json", "--schema", "manipulation", "--format", "lable"], 4, "no label set to write"),
        (["migrate", "gone.toml"], 2, "no such configuration file"),
        (
            ["adjudicate", "run.mcap", "--schema", "manipulation", "--take", "*=ada", "--by", "e", "--reason", "r"],
            4,
            "fewer than",
        ),
    ],
)
def test_a_mistaken_request_is_three_lines(
    arguments: list[str], code: int, part: str, root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "label", *arguments, "-w", root]) == code
    err = capsys.readouterr().err
    assert part in err
    assert len(err.splitlines()) <= 3
