"""init, record and show on a workspace of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from worldgate.cli import main
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    """What a command answers as JSON."""
    assert main([*arguments, "--json"]) == code, capsys.readouterr().err
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


def test_init_makes_a_workspace_that_verifies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "fleet")
    made = said(capsys, "init", folder, "--person", "ada")
    assert made["person"] == "ada"
    report = said(capsys, "record", "verify", "--workspace", folder)
    assert report["ok"]
    assert report["records"] == 2
    assert [key["role"] for key in said(capsys, "record", "keys", "-w", folder)["keys"]] == ["person", "service"]


def test_init_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path), "--person", "ada"]) == 0
    before = (tmp_path / "worldgate.toml").read_bytes()
    capsys.readouterr()
    assert main(["init", str(tmp_path), "--person", "bob"]) == 2
    assert "there is a workspace already" in capsys.readouterr().err
    assert (tmp_path / "worldgate.toml").read_bytes() == before


def test_init_refuses_a_name_that_could_climb_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "w"), "--person", "../ada"]) == 2
    assert "not a usable name" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_a_workspace_is_found_from_below_and_from_the_environment(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    below = workspace.root / "runs" / "deep"
    below.mkdir()
    monkeypatch.chdir(below)
    monkeypatch.delenv("WORLDGATE_WORKSPACE", raising=False)
    assert said(capsys, "show")["id"] == workspace.id
    monkeypatch.chdir("/")
    monkeypatch.setenv("WORLDGATE_WORKSPACE", str(workspace.root))
    assert said(capsys, "show")["id"] == workspace.id


def chain(workspace: Workspace) -> tuple[Ref, Ref]:
    """A log and a dataset made from it."""
    log = Ref("log", workspace.store.put_bytes(b"bytes of a log"), "run-1")
    workspace.record("log.ingested", body={"site": "kitchen"}, outputs=[log])
    dataset = Ref("dataset", workspace.put_json({"episodes": []}), "kitchen-1")
    workspace.record("dataset.made", body={"episodes": 0}, inputs=[log], outputs=[dataset])
    return log, dataset


def test_show_walks_both_ways(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    log, dataset = chain(workspace)
    back = said(capsys, "show", dataset.digest[:12], "-w", str(workspace.root))
    assert back["ref"] == {"kind": "dataset", "digest": dataset.digest, "name": "kitchen-1"}
    assert [child["ref"]["digest"] for child in back["made_from"]["children"]] == [log.digest]
    ahead = said(capsys, "show", "run-1", "-w", str(workspace.root))
    assert [child["ref"]["digest"] for child in ahead["touched"]["children"]] == [dataset.digest]


def test_show_for_people_names_both_ends(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    log, dataset = chain(workspace)
    assert main(["show", "kitchen-1", "-w", str(workspace.root)]) == 0
    out = capsys.readouterr().out
    assert dataset.digest in out
    assert log.digest[:12] in out
    assert "made by dataset.made in record 4" in out
    assert main(["show", "-w", str(workspace.root)]) == 0
    out = capsys.readouterr().out
    assert "kitchen-1" in out
    assert "run-1" in out


def test_an_unknown_or_ambiguous_id_is_a_usage_error(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "no-such", "-w", str(workspace.root)]) == 2
    assert "no such id" in capsys.readouterr().err
    for number in range(2):
        ref = Ref("log", workspace.store.put_bytes(bytes([number])), "twin")
        workspace.record("log.ingested", body={}, outputs=[ref])
    assert main(["show", "twin", "-w", str(workspace.root)]) == 2
    assert "several ids" in capsys.readouterr().err


def test_verify_names_the_record_of_a_flipped_byte(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    log, _ = chain(workspace)
    path = workspace.store.path(log.digest)
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    report = said(capsys, "record", "verify", "-w", str(workspace.root), code=1)
    assert not report["ok"]
    assert report["problems"][0]["seq"] == 3
    assert log.digest[:12] in report["problems"][0]["what"]


def test_verify_holds_a_head_against_a_cut_tail(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(workspace.root)
    head = said(capsys, "record", "verify", "-w", root)["head"]
    chain(workspace)
    kept = f"{head['seq']}:{head['hash']}"
    assert said(capsys, "record", "verify", "--head", kept, "-w", root)["witnessed"]
    forged = f"{head['seq']}:{'0' * 64}"
    report = said(capsys, "record", "verify", "--head", forged, "-w", root, code=1)
    assert "a witness saw" in report["problems"][0]["what"]
