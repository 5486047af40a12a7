"""An arm that was changed is another machine: its decision, its trials and its authorisation end there."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.evidence import promotions
from tests.evidence.promotions_to_sign import LEFT, NOW, RIGHT, Hall
from tests.outsider import tool

from worldgate.cli import main
from worldgate.core.errors import NotAuthorised, UsageError
from worldgate.core.evidence import Verdict
from worldgate.evidence import hardware, plans
from worldgate.evidence.approvals import authorise
from worldgate.evidence.recompute import RECOMPUTE
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

TOOL_A, TOOL_B = {"tool": "gripper 85"}, {"tool": "gripper 140"}


def test_an_arm_is_what_was_told_last(workspace: Workspace) -> None:
    events = list(workspace.ledger.events(hardware.CONFIGURED))
    assert hardware.current(events, (LEFT,)) == {LEFT: ""}
    hardware.configure(workspace, LEFT, TOOL_A, now_ns=NOW)
    last = hardware.configure(workspace, LEFT, TOOL_B, now_ns=NOW + 1)
    hardware.configure(workspace, "bench/ur5/other", TOOL_A, now_ns=NOW + 2)
    events = list(workspace.ledger.events(hardware.CONFIGURED))
    assert hardware.current(events, (LEFT, RIGHT)) == {LEFT: last.digest, RIGHT: ""}
    with pytest.raises(UsageError, match="made of something"):
        hardware.configure(workspace, LEFT, {}, now_ns=NOW)


def test_a_decision_ends_where_its_arm_is_changed(workspace: Workspace) -> None:
    hall = Hall.of(workspace)
    first = hardware.configure(hall.ws, LEFT, TOOL_A, now_ns=NOW)
    promoted = hall.promoted()
    assert promoted.payload["scope"]["hardware"] == {LEFT: first.digest, RIGHT: ""}
    hall.approves(promoted)
    authorise(hall.ws, hall.release.digest, LEFT, NOW)
    hardware.configure(hall.ws, LEFT, TOOL_B, now_ns=NOW + 1)
    with pytest.raises(NotAuthorised, match="the arm was changed since"):
        authorise(hall.ws, hall.release.digest, LEFT, NOW)
    authorise(hall.ws, hall.release.digest, RIGHT, NOW)
    hardware.configure(hall.ws, LEFT, TOOL_A, now_ns=NOW + 2)
    authorise(hall.ws, hall.release.digest, LEFT, NOW)


def test_trials_of_a_plan_end_where_an_arm_is_changed(workspace: Workspace) -> None:
    hall = Hall.of(workspace)
    hall.tries(4)
    hardware.configure(workspace, LEFT, TOOL_B, now_ns=NOW + 1)
    event = plans.newest(workspace, hall.release.digest, ["bench"], upto_seq=workspace.ledger.head().seq)
    assert event is not None
    made = plans.load(workspace, event.body["plan"])
    promotions.run(workspace, made, [True] * 4, first=5)
    found = hall.decides()
    assert found.verdict is Verdict.HOLD
    assert any("left was changed after its first trial" in note for note in found.payload["notes"])
    hall.promoted()
    assert verify(workspace, recompute=RECOMPUTE).ok
    assert tool.main([str(workspace.root)]) == 0


def test_an_arm_is_configured_from_the_command_line(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLDGATE_WORKSPACE", str(workspace.root))
    sheet = tmp_path / "left.toml"
    sheet.write_text('tool = "gripper 85"\n[cameras.front]\ncalibration = "2026-11-01"\n')
    assert main(["fleet", "configure", LEFT, str(sheet)]) == 0
    assert f"{LEFT} is now " in capsys.readouterr().out
    (event,) = workspace.ledger.events(hardware.CONFIGURED)
    assert workspace.get_json(event.body["hardware"])["parts"]["cameras"]["front"]["calibration"] == "2026-11-01"
