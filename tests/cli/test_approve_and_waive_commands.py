"""gate approve, waive, countersign, withdraw, authorised; fleet exposure; record witness: from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.evidence import promotions

from worldgate.cli import main
from worldgate.core.digest import canonical, sha256
from worldgate.core.times import now_ns
from worldgate.evidence import policy
from worldgate.evidence.persons import DECIDED
from worldgate.evidence.trials import record_trials
from worldgate.record.events import Ref
from worldgate.record.signing import sign_statement, statement_type
from worldgate.record.workspace import Workspace

LEFT = "bench/ur5/left"
POLICY = """
schema = "worldgate/gate-policy/1"
name = "quick"
kind = "promotion"

[[checks]]
check = "success"
params = { p0 = "0.5", looks = [8] }
waivable = true
"""


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == code, capsys.readouterr().err
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main([*arguments]) == code
    both = capsys.readouterr()
    return both.out + both.err


@pytest.fixture
def root(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A release by Ada; Bob, Cy and Eve may sign."""
    monkeypatch.setenv("WORLDGATE_WORKSPACE", str(workspace.root))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick.toml").write_text(POLICY)
    for name in ("ada", "bob", "cy", "eve"):
        workspace.add_key(name, owner=name)
    release = Ref("release", workspace.put_json({"schema": "worldgate/release/1", "weights": {}}), "r1")
    workspace.record("release.registered", body={"release": release.digest}, outputs=(release,), actor="ada")
    return workspace


def tries(ws: Workspace, count: int) -> None:
    release = ws.resolve("r1", "release")
    gate = policy.register(ws, policy.load("quick.toml"))
    held = promotions.suite(ws, 8, attempts=9)
    made = promotions.plan(ws, gate, release, held=held, now_ns=now_ns())
    record_trials(ws, [promotions.trial(made, row) for row in range(1, count + 1)], actor="eve")


def decided(capsys: pytest.CaptureFixture[str], *, code: int = 0) -> str:
    digest: str = said(capsys, "gate", "quick.toml", "r1", "--slot", LEFT, code=code)["decision"]["digest"]
    return digest


def test_a_decision_is_approved_and_taken_back(root: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["gate", "authorised", "r1", "--slot", LEFT]
    assert "may not run: no promotion decision covers this" in told(capsys, *asked, code=3)
    tries(root, 8)
    decision = decided(capsys)
    assert "too few persons have approved: 0 of 1" in told(capsys, *asked, code=3)
    assert "their own release" in told(capsys, "gate", "approve", decision, "--key", "ada", code=1)
    assert "approved by bob" in told(capsys, "gate", "approve", decision, "--key", "bob", "--stage", "canary")
    out = told(capsys, *asked, code=3)
    assert "it is for stage canary" in out
    assert "counts" in told(capsys, *asked, "--stage", "canary")
    given = said(capsys, "gate", "approve", decision, "--key", "bob")["approval"]["digest"]
    found = said(capsys, *asked)
    assert found["authorised"]
    assert found["authorisation"]["decision"] == decision
    assert "approved by bob" in told(capsys, *asked)
    assert said(capsys, "fleet", "deploy", "r1", LEFT)["slot"] == LEFT
    assert "stage only" in told(capsys, "fleet", "deploy", "r1", LEFT, "--stage", "fleet", code=1)
    assert "is withdrawn" in told(capsys, "gate", "withdraw", given[:12], "--key", "cy", "--reason", "too soon")
    refused = said(capsys, *asked, code=3)
    assert (refused["authorised"], refused["authorisation"]) == (False, None)
    assert refused["why"] == {
        "what": "too few persons have approved",
        "got": "0 of 1",
        "hint": "worldgate gate approve",
    }
    assert {"it is for stage canary", "it was withdrawn"} == {item["why_not"] for item in refused["approvals"]}
    assert said(capsys, "record", "verify")["ok"]


def test_a_check_is_waived_until_its_hours_are_run(root: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    tries(root, 3)
    held = decided(capsys, code=3)
    ask = [
        "gate",
        "waive",
        held,
        "success",
        "--key",
        "bob",
        "--reason",
        "new pen",
        "--control",
        "a guard",
        "--days",
        "7",
    ]
    assert "so many hours or episodes" in told(capsys, *ask, code=2)
    assert "it counts from the next decision on" in told(capsys, *ask, "--hours", "2")
    given = said(capsys, *ask, "--episodes", "9")["waiver"]
    signed = said(capsys, "gate", "countersign", given["digest"], "--key", "cy")["waiver"]
    assert signed["persons"] == ["bob", "cy"]
    assert "is signed by bob, cy, eve" in told(capsys, "gate", "countersign", given["digest"], "--key", "eve")
    out = told(capsys, "gate", "quick.toml", "r1", "--slot", LEFT)
    assert "INCONCLUSIVE, waived by" in out
    decision = decided(capsys)
    told(capsys, "gate", "approve", decision, "--key", "cy")
    out = told(capsys, "gate", "authorised", "r1", "--slot", LEFT)
    assert f"rests on waiver {given['digest'][:12]}" in out
    said(capsys, "fleet", "deploy", "r1", LEFT)
    refused = said(capsys, "gate", "authorised", "r1", "--slot", LEFT, code=3)
    assert refused["why"]["what"] == "the exposure under a waiver is not known"
    window = ["2026-01-01T00:00Z", "2099-01-01T00:00Z"]
    exposed = said(capsys, "fleet", "exposure", "r1", LEFT, *window, "--hours", "1.5", "--episodes", "8")
    assert (exposed["running_ns"], exposed["episodes"]) == (str(5_400 * 10**9), 8)
    said(capsys, "gate", "authorised", "r1", "--slot", LEFT)
    assert "1 h and 1 episodes of r1" in told(
        capsys, "fleet", "exposure", "r1", LEFT, *window, "--hours", "1", "--episodes", "1", "--key", "eve"
    )
    assert "used up: 9 of 9" in told(capsys, "gate", "authorised", "r1", "--slot", LEFT, code=3)
    assert said(capsys, "record", "verify")["ok"]


def test_what_its_evidence_does_not_give_is_not_approved(root: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    tries(root, 3)
    held = root.get_json(decided(capsys, code=3))
    data = canonical({**held, "verdict": "PROMOTE"})
    (event,) = root.ledger.events(DECIDED)
    ref = Ref("decision", root.store.put_bytes(data))
    body = {
        **event.body,
        "verdict": "PROMOTE",
        "decision": ref.digest,
        "envelope": root.put_json(sign_statement(data, statement_type("decision"), root.signer())),
    }
    root.record(DECIDED, body=body, outputs=[ref])
    assert ref.digest == sha256(data)
    assert "its evidence gives another decision" in told(capsys, "gate", "approve", ref.digest, "--key", "bob", code=1)


def test_a_head_is_signed_elsewhere_and_believed(
    root: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Workspace.init(tmp_path / "own", person="grace")
    assert "unwitnessed" in told(capsys, "record", "verify")
    ask = ["record", "witness", str(root.root), "seen.json", "--workspace", str(own.root)]
    made = said(capsys, *ask, "--key", "grace")
    assert made["keyid"] == own.signer("grace").public_key.keyid
    assert "error: this file exists" in told(capsys, *ask, "--key", "grace", code=2)
    root.record("a.b", body={})
    out = told(capsys, "record", "verify", "--witness", "seen.json")
    assert f"witnessed up to record {made['head']['seq']} by grace" in out
    report = said(capsys, "record", "verify", "--witness", "seen.json")
    assert report["witnessed"] and report["witness"].endswith(made["keyid"][:12])
    both = ["record", "verify", "--witness", "seen.json", "--head", "1:ff"]
    assert "one head at a time" in told(capsys, *both, code=2)
    out = told(capsys, "record", "verify", "--head", "1:ff", code=1)
    assert "unwitnessed" not in out
    assert "a witness saw record 1" in out
