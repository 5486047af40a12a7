"""gate, fleet and record keys from the command line: exit codes, and what they leave on the record."""

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


@pytest.fixture
def root(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("WORLDGATE_WORKSPACE", str(workspace.root))
    return workspace


def test_keys_are_added_listed_and_revoked(root: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    made = said(capsys, "record", "keys", "add", "grace")
    assert Path(made["file"]).stat().st_mode & 0o777 == 0o600
    said(capsys, "record", "keys", "add", "ur5-17", "--role", "robot", "--owner", "grace")
    keys = {key["name"]: key for key in said(capsys, "record", "keys")["keys"]}
    assert (keys["ur5-17"]["role"], keys["ur5-17"]["owner"]) == ("robot", "grace")
    said(capsys, "record", "keys", "revoke", "grace", "--reason", "laptop lost")
    keys = {key["name"]: key for key in said(capsys, "record", "keys")["keys"]}
    assert not keys["grace"]["good"]
    assert keys["ur5-17"]["good"]
    assert said(capsys, "record", "verify")["ok"]


def test_revoking_a_key_that_is_not_there_is_2(root: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "keys", "revoke", "nobody", "--reason", "x"]) == 2
    assert "no such key" in capsys.readouterr().err


def test_past_deployments_answer_and_their_holes_stay_unknown(
    root: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = "ab" * 32
    sheet = tmp_path / "past.csv"
    sheet.write_text(
        "slot,release,from,to,error_s,source\n"
        f"kitchen/r1/left,weights:{weights},2026-01-01T00:00:00Z,2026-01-02T00:00:00Z,30,logbook\n"
    )
    assert len(said(capsys, "fleet", "import", str(sheet))["deployments"]) == 1
    inside = said(capsys, "fleet", "as-of", "kitchen/r1/left", "2026-01-01T12:00:00Z")["answer"]["headline"]
    assert (inside["certainty"], inside["releases"]) == ("CERTAIN", [f"weights:{weights}"])
    edge = said(capsys, "fleet", "as-of", "kitchen/r1/left", "2026-01-02T00:00:10Z")["answer"]["headline"]
    assert edge["certainty"] == "AMBIGUOUS"
    after = said(capsys, "fleet", "as-of", "kitchen/r1/left", "2026-02-01T00:00:00Z")["answer"]["headline"]
    assert after["certainty"] == "UNKNOWN"
    before = ["fleet", "as-of", "kitchen/r1/left", "2026-01-01T12:00:00Z", "--known-as-of", "2026-01-01T12:00:00Z"]
    assert said(capsys, *before)["answer"]["headline"]["certainty"] == "UNKNOWN", "nobody had told the record by then"


def test_a_bad_row_imports_nothing_and_is_4(
    root: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "past.csv"
    sheet.write_text("slot,release,from,to,error_s,source\nkitchen/r1/left,weights:zz,now,then,30,logbook\n")
    head = root.ledger.head()
    assert main(["fleet", "import", str(sheet)]) == 4
    assert f"{sheet}:2" in capsys.readouterr().err
    assert root.ledger.head() == head


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["fleet", "as-of", "kitchen/left", "2026-01-01T00:00:00Z"], "a slot is site/robot/arm"),
        (["fleet", "as-of", "kitchen/r1/left", "noon"], "not a time"),
        (["fleet", "deploy", "no-such", "kitchen/r1/left"], "no such release"),
        (["fleet", "release", "diff", "one", "two"], "no such release"),
        (["gate", "admision", "x"], "no such gate_policy"),
        (["gate", "admission", "no-such-model"], "no such id"),
        (["gate", "approve", "no-such", "--key", "ada"], "no such decision"),
    ],
)
def test_a_mistaken_request_is_2(
    root: Workspace, arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert part in capsys.readouterr().err


def test_a_gate_without_evidence_holds_with_3_and_says_what_is_missing(
    root: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Ref("world_model", root.store.put_bytes(b"a model"), "some-model")
    root.record("training.finished", body={}, outputs=[model])
    decided = said(capsys, "gate", "admission", "some-model", "--site", "kitchen", code=3)
    assert decided["verdict"] in {"HOLD", "REJECT"}
    assert not decided["passed"]
    assert decided["payload"]["missing"]
    assert said(capsys, "record", "verify")["recomputed"] == 1
    assert main(["gate", "admission", "some-model", "--site", "kitchen"]) == 3
    out = capsys.readouterr().out
    assert "population: real" in out
    assert "missing:" in out
