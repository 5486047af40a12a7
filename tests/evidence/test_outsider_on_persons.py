"""The two verifiers agree about what persons sign: approvals, waivers, withdrawals, exposure and witnesses."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.evidence import promotions_to_sign as signing
from tests.evidence.promotions_to_sign import HOUR_NS, LATER, LEFT, NOW, RIGHT, Hall, forge, stated, waiving

from worldgate.core.digest import canonical, sha256
from worldgate.core.evidence import Verdict
from worldgate.evidence import persons, waivers
from worldgate.evidence.decide import DAY_NS, Decision
from worldgate.evidence.persons import APPROVED, DECIDED, WAIVED
from worldgate.evidence.recompute import RECOMPUTE
from worldgate.record import witness
from worldgate.record.events import Ref
from worldgate.record.signing import sign_statement, statement_type
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace


def both(tool: ModuleType, ws: Workspace, capsys: pytest.CaptureFixture[str]) -> set[int]:
    """Which records do not hold, by the library; the outsider must name the same."""
    ours = {problem.seq for problem in verify(ws, recompute=RECOMPUTE).problems}
    tool.main([str(ws.root)])
    lines = capsys.readouterr().out.splitlines()
    named = [line for line in lines if line.startswith(("record ", "ledger:"))]
    theirs = {int(line.split()[1]) if line.startswith("record ") else 0 for line in named}
    assert ours == theirs, named
    return ours


APPROVALS: list[dict[str, Any]] = [
    {"tree": {"release": "9" * 64}},
    {"tree": {"slots": []}},
    {"tree": {"slots": ["kitchen/ur5/left"], "sites": ["kitchen"]}},
    {"tree": {"sites": ["kitchen"]}},
    {"tree": {"stage": "fleet"}},
    {"tree": {"stage": "galaxy"}},
    {"tree": {"not_before_ns": NOW - 1}},
    {"tree": {"not_before_ns": LATER}},
    {"tree": {"expires_ns": NOW + 91 * DAY_NS}},
    {"tree": {"person": "cy"}, "body": {"person": "bob"}},
    {"tree": {"person": "ada"}, "key": "ada"},
    {"tree": {"person": "tester"}, "key": "tester"},
    {"tree": {"person": "cy"}, "key": "machine"},
    {"tree": {"person": "cy"}, "key": "ur5"},
    {"tree": {"ledger_head": {"ledger": "f" * 32, "seq": 1, "hash": "a" * 64}}},
    {"tree": {"nonce": "1" * 32}},
    {"tree": {"critical": ["x"]}},
    {"tree": {"schema": "worldgate/approval/2"}},
    {"tree": {"person": 5}},
    {"tree": {"ledger_head": {}}},
    {"tree": {"slots": LEFT}},
    {"payload_type": statement_type("decision")},
    {"payload_type": statement_type("waiver")},
    {"envelope_key": "cy"},
    {"change": lambda e: {**e, "critical": 1}},
    {"change": lambda e: {**e, "signatures": [{**e["signatures"][0], "critical": 1}]}},
    {"change": lambda e: {**e, "signatures": []}},
    {"change": lambda e: {**e, "signatures": e["signatures"] * 2}},
    {"change": lambda e: [e]},
    {"kept": lambda data: data.replace(b'{"payload":', b'{"payload":"e30=","payload":', 1)},
    {"body": {"slots": [LEFT]}},
    {"body": {"nonce": "2" * 32}},
    {"body": {"critical": "x"}},
    {"body": {"envelope": None}},
    {"body": {"envelope": "f" * 64}},
    {"body": {"approval": "f" * 64}},
    {"data": b"[]"},
    {"data": b"not JSON"},
    {"data": b'{"a":1,"a":1}'},
]


def test_both_name_every_forged_approval_and_no_good_one(
    tool: ModuleType, hall: Hall, capsys: pytest.CaptureFixture[str]
) -> None:
    decision = hall.promoted()
    hall.approves(decision, "cy", stage="canary", slots=(LEFT,))
    good = forge(hall.ws, "approval", stated(hall, decision, nonce="1" * 32), key="bob")
    wrong = set()
    for number, case in enumerate(APPROVALS):
        how = {"key": "bob", **case}
        tree = stated(hall, decision, **{"nonce": f"{number + 100:032}", **how.pop("tree", {})})
        wrong.add(forge(hall.ws, "approval", tree, **how).seq)
    wrong.add(hall.ws.record(APPROVED, body=good.body, actor="bob").seq)
    wrong.add(hall.ws.record(APPROVED, body={}, actor="bob").seq)
    hall.ws.revoke_key(hall.ws.signer("cy").public_key.keyid, reason="lost")
    assert both(tool, hall.ws, capsys) == wrong


def test_both_name_approvals_of_what_was_not_promoted_and_by_whom_the_policy_does_not_name(
    tool: ModuleType, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    hall = Hall.of(workspace, approvers=["cy"])
    hall.tries(3)
    held = hall.decides()
    first = forge(workspace, "approval", stated(hall, held, person="cy"), key="cy")
    hall.tries(8)
    decision = hall.decides(at=NOW + 1)
    second = forge(workspace, "approval", stated(hall, decision, nonce="1" * 32, not_before_ns=NOW + 1), key="bob")
    hall.approves(decision, "cy", now_ns=NOW + 1)
    assert both(tool, workspace, capsys) == {first.seq, second.seq}


WAIVERS: list[dict[str, Any]] = [
    {"tree": {"check": "admitted", "status": "PASS"}},
    {"tree": {"check": "violations"}},
    {"tree": {"status": "FAIL"}},
    {"tree": {"status": "GOOD"}},
    {"tree": {"release": "9" * 64}},
    {"tree": {"policy": "9" * 64}},
    {"tree": {"slots": []}},
    {"tree": {"slots": [LEFT, "kitchen/ur5/left"], "sites": ["bench", "kitchen"]}},
    {"tree": {"sites": ["bench", "kitchen"]}},
    {"tree": {"stage": "fleet"}},
    {"tree": {"not_before_ns": NOW - 1}},
    {"tree": {"expires_ns": NOW}},
    {"tree": {"expires_ns": NOW + 90 * DAY_NS + 1}},
    {"tree": {"reason": ""}},
    {"tree": {"control": ""}},
    {"tree": {"max_hours": None, "max_episodes": None}},
    {"tree": {"max_hours": 0}},
    {"tree": {"max_episodes": 1.5}},
    {"tree": {"decision": "9" * 64}},
    {"key": "ada"},
    {"key": "machine"},
    {"payload_type": statement_type("approval")},
]


def test_both_name_every_forged_waiver_and_no_good_one(
    tool: ModuleType, hall: Hall, capsys: pytest.CaptureFixture[str]
) -> None:
    hall.tries(3)
    held = hall.decides()
    wrong = set()
    for number, case in enumerate(WAIVERS):
        how = {"key": "bob", **case}
        tree = waiving(hall, held, **{"nonce": f"{number + 100:032}", **how.pop("tree", {})})
        wrong.add(forge(hall.ws, "waiver", tree, **how).seq)
    for body in ({}, {"waiver": 5, "release": hall.release.digest}, {"release": hall.release.digest}):
        wrong.add(hall.ws.record(WAIVED, body=body, actor="bob").seq)
    assert hall.decides(at=NOW + 1).verdict is Verdict.HOLD
    given = hall.waives(held, max_hours=None)
    waivers.countersign(hall.ws, Ref("waiver", given.digest), key="cy")
    assert hall.decides(at=NOW + 2).payload["waivers"] == [given.digest]
    assert both(tool, hall.ws, capsys) == wrong


def test_both_recompute_what_a_waiver_did_at_every_moment_of_its_life(
    tool: ModuleType, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    hall = Hall.of(workspace, approvals=2)
    hall.tries(3)
    held = hall.decides()
    given, verdicts = hall.waives(held, "eve"), []

    def decide_at(at: int, **how: Any) -> None:
        verdicts.append(hall.decides(at=at, **how).verdict.value)

    decide_at(NOW + 1)
    waivers.countersign(workspace, Ref("waiver", given.digest), key="bob")
    decide_at(NOW + 2)
    decide_at(NOW + 3, slots=(LEFT,))
    decide_at(NOW + 4, gate=signing.gate(workspace, name="other", approvals=2))
    decide_at(LATER)
    signing.assign_by_hand(hall, LEFT, NOW + 5)
    signing.assign_by_hand(hall, LEFT, NOW + 2 * HOUR_NS, release="9" * 64)
    decide_at(NOW + HOUR_NS)
    signing.run_for(hall, 1, 5, window_h=2)
    decide_at(NOW + HOUR_NS)
    decide_at(NOW + 3 * HOUR_NS)
    workspace.record(
        "deployment.reported",
        body={"slot": RIGHT, "release": hall.release.digest, "form": "boot"},
        valid_from_ns=NOW + HOUR_NS,
        valid_to_ns=NOW + 2 * HOUR_NS,
    )
    workspace.record("deployment.reported", body={"slot": RIGHT, "release": hall.release.digest})
    decide_at(NOW + 3 * HOUR_NS)
    signing.run_for(hall, 1, 5, slot=RIGHT)
    for body in ({"running_ns": 5}, {"episodes": "5"}, {"running_ns": 3, "episodes": -1}):
        about = {"slot": LEFT, "release": hall.release.digest, "running_ns": 1, "episodes": 1}
        workspace.record("exposure.recorded", body={**about, **body}, valid_from_ns=NOW, valid_to_ns=NOW + 4)
    workspace.record("exposure.recorded", body={})
    decide_at(NOW + 4 * HOUR_NS)
    signing.run_for(hall, 8, 5, start=NOW + 4 * HOUR_NS)
    decide_at(NOW + 5 * HOUR_NS)
    more = hall.waives(held, "bob", max_hours=None, now_ns=NOW + 4 * HOUR_NS)
    waivers.countersign(workspace, Ref("waiver", more.digest), key="cy")
    decide_at(NOW + 5 * HOUR_NS)
    signing.run_for(hall, 1, 95, start=NOW + 5 * HOUR_NS)
    decide_at(NOW + 6 * HOUR_NS)
    last = hall.waives(held, "bob", now_ns=NOW + 40 * HOUR_NS)
    waivers.countersign(workspace, Ref("waiver", last.digest), key="cy")
    decide_at(NOW + 41 * HOUR_NS)
    persons.withdraw(workspace, Ref("waiver", last.digest), key="eve", reason="enough")
    decide_at(NOW + 41 * HOUR_NS)
    for shift in (1, 2):
        hall.tries(8, success=False, at=NOW + 42 * HOUR_NS + shift)
    fresh = hall.waives(held, "bob", now_ns=NOW + 42 * HOUR_NS)
    waivers.countersign(workspace, Ref("waiver", fresh.digest), key="cy")
    decide_at(NOW + 43 * HOUR_NS)
    assert verdicts == [
        "HOLD",  # one of two persons
        "PROMOTE",
        "PROMOTE",  # a part of the slots
        "HOLD",  # another policy
        "HOLD",  # its time is over
        "HOLD",  # assigned, and nothing told
        "PROMOTE",
        "PROMOTE",  # another release since
        "HOLD",  # its robot says that it ran on the other arm
        "PROMOTE",
        "HOLD",  # 10 hours
        "PROMOTE",  # another waiver, of episodes alone
        "HOLD",  # 100 episodes
        "PROMOTE",
        "HOLD",  # withdrawn
        "REJECT",  # given for too few trials, not for failures
    ]
    assert both(tool, workspace, capsys) == set()


def change_decision(hall: Hall, decision: Decision, **changes: Any) -> int:
    payload = {**decision.payload, **changes}
    data = canonical(payload)
    event = hall.ws.ledger.get(decision.event)
    body = {
        **event.body,
        "verdict": payload["verdict"],
        "decision": hall.ws.store.put_bytes(data),
        "envelope": hall.ws.put_json(sign_statement(data, statement_type("decision"), hall.ws.signer())),
    }
    return hall.ws.record(DECIDED, body=body, inputs=event.inputs, outputs=[Ref("decision", sha256(data))]).seq


def test_both_name_a_decision_that_lies_about_its_waivers(
    tool: ModuleType, hall: Hall, capsys: pytest.CaptureFixture[str]
) -> None:
    hall.tries(3)
    held = hall.decides()
    given = hall.waives(held)
    other = hall.waives(held, expires_ns=LATER - 1)
    decision = hall.decides(at=NOW + 1)
    checks = decision.payload["checks"]
    wrong = {
        change_decision(hall, decision, waivers=[]),
        change_decision(hall, decision, waivers=[given.digest, other.digest]),
        change_decision(hall, decision, expires_ns=LATER + 1),
        change_decision(hall, decision, checks=[{**c, "waived": other.digest if c["waived"] else ""} for c in checks]),
        change_decision(hall, decision, checks=[{**c, "waived": given.digest} for c in checks]),
        change_decision(hall, decision, checks=[{**c, "waived": ""} for c in checks]),
        change_decision(hall, decision, approvers=["ada"]),
        change_decision(hall, decision, approvals_needed=2),
        change_decision(hall, decision, scope={**decision.payload["scope"], "stage": "fleet"}),
        change_decision(hall, held, verdict="PROMOTE"),
    }
    assert both(tool, hall.ws, capsys) == wrong


def test_both_believe_a_witness_from_outside_and_nobody_else(
    tool: ModuleType, hall: Hall, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = Workspace.init(tmp_path / "outside", person="grace")
    file = tmp_path / "seen.json"
    witness.write(file, witness.witness(outside, hall.ws.ledger, key="grace", now_ns=NOW))
    hall.promoted()
    assert witness.read(file, hall.ws.ledger).keyid == outside.signer("grace").public_key.keyid

    def told(path: Path) -> tuple[int, str]:
        code = tool.main([str(hall.ws.root), "--witness", str(path)])
        return code, capsys.readouterr().out

    code, out = told(file)
    assert code == 0
    assert "witness: grace saw record" in out
    assert "unwitnessed" not in out
    sight = witness.read(file, hall.ws.ledger)
    made = {
        "own": sign_own(hall, sight, hall.ws, "bob"),
        "other ledger": sign_own(hall, sight, outside, "grace", ledger="f" * 32),
        "another chain": sign_own(hall, sight, outside, "grace", hash="a" * 64),
        "another type": sign_own(hall, sight, outside, "grace", kind="approval"),
        "another key": sign_own(hall, sight, outside, "service", public=sight.public),
    }
    for what, envelope in made.items():
        path = tmp_path / f"{what}.json"
        witness.write(path, envelope)
        assert told(path)[0] == 1, what
    assert told(tmp_path / "absent.json")[0] == 1


def sign_own(
    hall: Hall, sight: witness.Sight, ws: Workspace, key: str, *, kind: str = "witness", **changes: Any
) -> Any:
    signer = ws.signer(key)
    tree = {
        "schema": witness.SCHEMA,
        "ledger": hall.ws.id,
        "seq": sight.seq,
        "hash": sight.hash,
        "public": signer.public_key.keyval["public"],
        "name": key,
        "seen_ns": NOW,
        **changes,
    }
    return sign_statement(canonical(tree), statement_type(kind), signer)
