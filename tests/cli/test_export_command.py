"""data export, as a user types it: a dataset of the cell and a log, refused where a contract's mask is not on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worldgate.cli import main
from worldgate.data.logs import open_folder
from worldgate.record.workspace import Workspace

MASKING = """
name = "private"
origins = ["simulated"]
[streams."observation.images.overhead"]
kind = "image"
[alignment]
rate_hz = 10.0
[privacy.mask."observation.images.*"]
detectors = ["skin"]
"""


def test_a_dataset_and_a_log_are_exported(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(workspace.root)
    assert main(["sim", "record", str(tmp_path / "runs"), "--runs", "2", "--duration", "1", "--json"]) == 0
    assert main(["ingest", str(tmp_path / "runs"), "-w", root]) == 0
    assert main(["snapshot", "cell", "--name", "one", "-w", root]) == 0
    capsys.readouterr()
    out = tmp_path / "out"
    assert main(["data", "export", "one", str(out), "--to", "lerobot", "-w", root, "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert (body["schema"], body["exported"]["items"], body["from"]["name"]) == ("worldgate.data.export", 2, "one")
    logs = open_folder(out).logs
    assert len(logs) == 2
    assert {log.origin for log in logs} == {"simulated"}
    run = next((tmp_path / "runs").glob("*.mcap")).name
    assert main(["data", "export", run, str(tmp_path / "log"), "--to", "mcap", "-w", root]) == 0
    assert "1 episode," in capsys.readouterr().out
    assert main(["data", "export", "one", str(tmp_path / "b"), "--to", "lerobot", "--option", "no=1", "-w", root]) == 2
    assert main(["data", "export", "one", str(tmp_path / "b"), "--to", "lerobot", "--option", "no", "-w", root]) == 2
    (tmp_path / "private.toml").write_text(MASKING)
    main(["check", str(tmp_path / "private.toml"), "-w", root])
    capsys.readouterr()
    assert main(["data", "export", run, str(tmp_path / "shown"), "--to", "mcap", "-w", root]) == 4
    assert "unmasked" in capsys.readouterr().err
    assert not (tmp_path / "shown").exists()
