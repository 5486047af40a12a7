"""ingest from and for buckets, watching, and where the work runs, as a user says it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import heeds_ctrl_c

from worldgate.cli import main
from worldgate.record.workspace import Workspace


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    """What a command answers as JSON."""
    assert main([*arguments, "--json"]) == code, capsys.readouterr().err
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings") / "good"
    assert main(["sim", "record", str(folder), "--runs", "2", "--duration", "1", "--json"]) == 0
    return folder


def test_a_workspace_in_a_bucket_takes_logs_from_a_bucket_and_is_read_elsewhere(
    recordings: Path, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import s3fs

    fs = s3fs.S3FileSystem(use_listings_cache=False)
    fs.put(str(recordings), f"{bucket}/logs/", recursive=True)
    root = tmp_path / "fleet"
    made = said(capsys, "init", str(root), "--person", "ada", "--store", f"s3://{bucket}/objects")
    assert made["store"] == f"s3://{bucket}/objects"
    assert not (root / "objects").exists()
    assert "secret" not in (root / "worldgate.toml").read_text()
    taken = said(capsys, "ingest", f"s3://{bucket}/logs", "-w", str(root))
    assert len(taken["logs"]) == 2
    said(capsys, "check", "cell", "-w", str(root))
    dataset = said(capsys, "snapshot", "cell", "--name", "cell-1", "-w", str(root))
    shutil.rmtree(root / "cache")
    assert said(capsys, "record", "verify", "-w", str(root))["ok"]
    again = said(capsys, "snapshot", "cell.v3", "--name", "cell-1", "-w", str(root))
    assert again["dataset"] == dataset["dataset"], "from the bucket alone"


def test_a_bucket_that_is_not_there_is_known_at_once(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path / "w"), "--store", f"s3://{bucket}-nobodys/x"]) == 1
    assert "error: no such bucket" in capsys.readouterr().err
    assert main(["init", str(tmp_path / "v"), "--store", "s3://key:secret@b/x"]) == 2
    assert "secret" not in capsys.readouterr().err
    assert main(["init", str(tmp_path / "u"), "--store", "folder"]) == 2


def test_the_engine_is_chosen_by_file_variable_and_option_in_that_order(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], recordings: Path
) -> None:
    from worldgate.engines import choose

    assert (choose(workspace).name, choose(workspace).workers) == ("here", 0)
    file = workspace.root / "worldgate.toml"
    file.write_text(file.read_text() + '[engine]\nname = "processes"\nworkers = 3\n')
    ws = Workspace.open(workspace.root)
    assert (choose(ws).name, choose(ws).workers) == ("processes", 3)
    monkeypatch.setenv("WORLDGATE_ENGINE", "ray")
    monkeypatch.setenv("WORLDGATE_WORKERS", "2")
    assert (choose(ws).name, choose(ws).workers) == ("ray", 2)
    assert (choose(ws, name="here", workers=1).name, choose(ws, name="here", workers=1).workers) == ("here", 1)
    root = str(ws.root)
    taken = said(capsys, "ingest", str(recordings), "--engine", "processes", "--workers", "1", "-w", root)
    assert len(taken["logs"]) == 2
    assert main(["ingest", str(recordings), "--engine", "proceses", "-w", root]) == 2
    assert "did you mean processes?" in capsys.readouterr().err
    monkeypatch.setenv("WORLDGATE_WORKERS", "many")
    assert main(["ingest", str(recordings), "-w", root]) == 2
    file.write_text(file.read_text().replace("workers", "worker"))
    monkeypatch.delenv("WORLDGATE_WORKERS")
    assert main(["ingest", str(recordings), "-w", root]) == 2
    assert "did you mean workers?" in capsys.readouterr().err


def test_watching_once_takes_what_is_there_and_names_what_it_refused(
    workspace: Workspace, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    incoming = tmp_path / "incoming"
    shutil.copytree(recordings, incoming)
    (incoming / "broken.mcap").write_bytes(b"no log")
    body = said(capsys, "ingest", "--watch", "--once", "--settle", "0", str(incoming), "-w", str(workspace.root))
    assert len(body["logs"]) == 2
    assert {seen["name"]: seen["state"] for seen in body["watched"]}["broken.mcap"] == "refused"
    assert main(["ingest", "--once", str(incoming), "-w", str(workspace.root)]) == 2
    assert main(["ingest", "--watch", str(incoming), str(incoming), "-w", str(workspace.root)]) == 2


def test_ctrl_c_ends_a_watch_with_its_answer(workspace: Workspace, recordings: Path, tmp_path: Path) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    told = [sys.executable, "-m", "worldgate", "ingest", "--watch", str(incoming), "--settle", "0", "--json"]
    told += ["-w", str(workspace.root)]
    process = subprocess.Popen(told, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heeds_ctrl_c)
    assert process.stderr is not None
    assert "watching" in process.stderr.readline()
    first = sorted(recordings.iterdir())[0]
    shutil.copy(first, incoming / "x.tmp")
    (incoming / "x.tmp").rename(incoming / first.name)
    line = process.stderr.readline()
    assert f"{first.name}: taken" in line
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert [log["name"] for log in json.loads(out)["logs"]] == [first.name]
