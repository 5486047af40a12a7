"""incident open, list and close from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from worldgate.cli import main
from worldgate.core.times import SECOND, format_ns
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.sim.recorder import START_NS


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    """What a command answers as JSON."""
    assert main([*arguments, "--json"]) == code, capsys.readouterr().err
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


@pytest.fixture
def arm(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """The arm of a recorded and ingested run."""
    monkeypatch.setenv("WORLDGATE_WORKSPACE", str(workspace.root))
    said(capsys, "sim", "record", str(tmp_path / "run.mcap"), "--duration", "2")
    (log,) = said(capsys, "ingest", str(tmp_path / "run.mcap"))["logs"]
    return f"{log['site']}/{log['robot']}/{log['arm']}"


def test_an_incident_is_frozen_listed_and_closed(
    arm: str, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    moment = format_ns(START_NS + SECOND)
    command = ["incident", "open", arm, moment, "--note", "brushed a sleeve", "--key", "tester"]
    opened = said(capsys, *command, "--before", "0.5", "--after", "0.5")
    assert len(opened["frozen"]["slices"]) == 1
    assert opened["frozen"]["known"]["headline"]["certainty"] == "UNKNOWN", "nothing was ever deployed"
    assert [item["open"] for item in said(capsys, "incident", "list")["incidents"]] == [True]
    name = opened["incident"]["name"]
    assert main(["incident", "close", name, "--key", "tester"]) == 2, "neither a scenario nor a reason"
    capsys.readouterr()
    said(capsys, "incident", "close", name, "--reason", "a rehearsal", "--key", "tester")
    assert [item["open"] for item in said(capsys, "incident", "list")["incidents"]] == [False]
    assert said(capsys, "record", "verify")["ok"]
    assert main(["incident", "list"]) == 0
    assert "brushed a sleeve" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--note", " ", "--key", "tester"], "a note that says nothing"),
        (["--note", "x", "--key", "nobody"], "no such key"),
        (["--note", "x", "--key", "tester", "--before", "0", "--after", "0"], "an empty window"),
    ],
)
def test_an_incident_that_says_nothing_is_refused(
    arguments: list[str],
    part: str,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WORLDGATE_WORKSPACE", str(workspace.root))
    head = workspace.ledger.head()
    assert main(["incident", "open", "kitchen/r1/left", "2026-01-01T00:00:00Z", *arguments]) == 2
    assert part in capsys.readouterr().err
    assert workspace.ledger.head() == head


def test_a_replay_uses_admitted_models_only(arm: str, workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    moment = format_ns(START_NS + SECOND)
    opened = said(capsys, "incident", "open", arm, moment, "--note", "brushed a sleeve", "--key", "tester")
    name = opened["incident"]["name"]
    assert main(["replay", name]) == 2
    assert "no world model is admitted at this site" in capsys.readouterr().err
    model = Ref("world_model", workspace.store.put_bytes(b"never judged"), "bold")
    workspace.record("world_model.trained", body={}, outputs=[model])
    assert main(["replay", name, "--model", "bold"]) == 2
    assert "not admitted here" in capsys.readouterr().err
    assert main(["replay", name, "--hold", "person.x"]) == 2
    assert "STREAM=CHANNEL" in capsys.readouterr().err
