"""gate prereg from the command line: what a plan will take is said, and only a plan that can pass is registered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.evidence import promotions

from worldgate.cli import main
from worldgate.evidence import plans
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

SLOT = promotions.SLOT


@pytest.fixture
def root(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("WORLDGATE_WORKSPACE", str(workspace.root))
    for name in ("r1", "r2"):
        ref = Ref("release", workspace.put_json({"schema": "worldgate/release/1", "weights": {}, "code": name}), name)
        workspace.record("release.registered", body={"release": ref.digest}, outputs=(ref,), name=name)
    promotions.suite(workspace, 60, name="v1")
    return workspace


def prereg(capsys: pytest.CaptureFixture[str], *more: str, code: int = 0) -> dict[str, Any]:
    arguments = ["gate", "prereg", "promotion", "r1", "--suite", "v1", "--slot", SLOT, *more, "--json"]
    said = main(arguments), capsys.readouterr()
    assert said[0] == code, said[1].err
    body: dict[str, Any] = json.loads(said[1].out) if code == 0 else {"error": said[1].err}
    return body


def test_a_dry_run_says_what_it_takes_and_registers_nothing(
    root: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    head = root.ledger.head().seq
    said = prereg(capsys, "--dry-run", "--hours", "24")
    needs = {need["check"]: need for need in said["needs"]}
    assert (needs["success"]["fewest"], needs["violations"]["fewest"]) == (30, 59)
    assert any("24 supervised hours see a fault of 0.01 an hour with 21.3 %" in note for note in said["notes"])
    assert not said["registered"]
    assert list(root.ledger.events(plans.REGISTERED)) == []
    assert root.ledger.head().seq <= head + 1, "the shipped policy may be recorded, the plan is not"


def test_a_plan_is_registered_with_its_rows_drawn(root: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    said = prereg(capsys, "--baseline", "r2", "--exclude", "power-cut")
    (event,) = root.ledger.events(plans.REGISTERED)
    plan = plans.load(root, said["plan"])
    assert event.body["plan"] == plan.digest == said["plan"]
    assert len(said["rows"]) == len(plan.rows) == 120
    assert plan.exclusions == ("power-cut",) and plan.name == "r1-plan"
    assert plans.problems(root, plan, seq=event.seq) == []


def test_a_plan_that_could_not_pass_is_refused_with_what_it_lacks(
    root: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    said = prereg(capsys, "--pairs", "40", code=2)
    assert "violations: not with 40 scenes, 59 are the fewest" in said["error"]
    assert list(root.ledger.events(plans.REGISTERED)) == []


def test_a_worn_suite_is_refused(root: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    plan = plans.load(root, prereg(capsys)["plan"])
    promotions.run(root, plan, [True])
    said = prereg(capsys, code=2)
    assert "worn out, this is attempt 2 of 1" in said["error"]
    assert any("worn out" in note for note in prereg(capsys, "--dry-run")["notes"])


def test_the_table_is_for_people(root: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "prereg", "promotion", "r1", "--suite", "v1", "--slot", SLOT]) == 0
    said = capsys.readouterr().out
    assert "60 runs of 60 scenes; attempt 1 of 1 at this suite" in said
    assert "registered as plan" in said
