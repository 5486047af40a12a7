"""Approvals: persons, not keys; within the decision, not beyond it; and what may run because of them."""

from __future__ import annotations

import pytest
from tests.evidence import promotions

from worldgate.core.errors import NotAuthorised, NotFound, UsageError
from worldgate.evidence import plans, policy
from worldgate.evidence.approvals import approve, authorise
from worldgate.evidence.decide import DAY_NS, Decision, Scope, decide
from worldgate.evidence.persons import APPROVED
from worldgate.evidence.recompute import RECOMPUTE
from worldgate.record.events import Ref
from worldgate.record.keys import Role
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

LEFT, RIGHT = "bench/ur5/left", "bench/ur5/right"
NOW = 1_800_000_000_000_000_000
LATER = NOW + 30 * DAY_NS


@pytest.fixture
def gate(workspace: Workspace) -> Ref:
    tree = {"name": "quick", "kind": "promotion", "checks": [{"check": "success", "params": {"p0": "0.5"}}]}
    return policy.register(workspace, policy.read(tree, where="test"))


@pytest.fixture
def release(workspace: Workspace) -> Ref:
    ref = Ref("release", workspace.put_json({"schema": "worldgate/release/1", "weights": {}}), "r1")
    workspace.record("release.registered", body={"release": ref.digest}, outputs=(ref,), actor="tester")
    return ref


@pytest.fixture
def promoted(workspace: Workspace, gate: Ref, release: Ref) -> Decision:
    workspace.add_key("bob", owner="bob")
    return judged(workspace, gate, release, success=True)


def judged(ws: Workspace, gate: Ref, release: Ref, *, success: bool, now_ns: int = NOW) -> Decision:
    number = sum(1 for _ in ws.ledger.events(plans.REGISTERED))
    held = promotions.suite(ws, 30, attempts=9, name=f"suite-{number}")
    made = promotions.plan(ws, gate, release, held=held, now_ns=now_ns, slots=(LEFT, RIGHT))
    promotions.run(ws, made, [success] * 30)
    return decide(ws, gate, release, scope=Scope(slots=(LEFT, RIGHT)), now_ns=now_ns)


def say_yes(ws: Workspace, decision: Decision, key: str = "bob", **changes: object) -> None:
    fields: dict[str, object] = {"key": key, "now_ns": NOW, "expires_ns": LATER}
    approve(ws, decision.ref, **{**fields, **changes})  # type: ignore[arg-type]


def test_a_second_person_lets_the_release_run(workspace: Workspace, promoted: Decision, release: Ref) -> None:
    say_yes(workspace, promoted)
    found = authorise(workspace, release.digest, LEFT, NOW)
    assert (found.persons, found.decision, found.expires_ns) == (("bob",), promoted.ref.digest, LATER)
    assert verify(workspace, recompute=RECOMPUTE).ok


def test_a_decision_alone_lets_nothing_run(workspace: Workspace, promoted: Decision, release: Ref) -> None:
    with pytest.raises(NotAuthorised, match="too few persons"):
        authorise(workspace, release.digest, LEFT, NOW)


def test_without_a_decision_nothing_runs(workspace: Workspace, release: Ref) -> None:
    with pytest.raises(NotAuthorised, match="no promotion decision"):
        authorise(workspace, release.digest, LEFT, NOW)


def test_a_releaser_does_not_approve_their_own_release(workspace: Workspace, promoted: Decision) -> None:
    with pytest.raises(NotAuthorised, match="their own release"):
        say_yes(workspace, promoted, "tester")


def test_a_second_key_of_the_releaser_is_still_the_releaser(workspace: Workspace, promoted: Decision) -> None:
    workspace.add_key("tester-laptop", owner="tester")
    with pytest.raises(NotAuthorised, match="their own release"):
        say_yes(workspace, promoted, "tester-laptop")


@pytest.mark.parametrize("role", [Role.SERVICE, Role.ROBOT])
def test_only_a_person_approves(workspace: Workspace, promoted: Decision, role: Role) -> None:
    workspace.add_key("machine", owner="bob", role=role)
    with pytest.raises(NotAuthorised, match="only a person"):
        say_yes(workspace, promoted, "machine")


def test_two_keys_of_one_person_are_one_approval(workspace: Workspace, release: Ref) -> None:
    tree = {"name": "two", "kind": "promotion", "approvals": 2}
    tree |= {"checks": [{"check": "success", "params": {"p0": "0.5"}}]}
    gate = policy.register(workspace, policy.read(tree, where="test"))
    for name, owner in (("bob", "bob"), ("bob-laptop", "bob"), ("eve", "eve")):
        workspace.add_key(name, owner=owner)
    decision = judged(workspace, gate, release, success=True)
    say_yes(workspace, decision, "bob")
    say_yes(workspace, decision, "bob-laptop")
    with pytest.raises(NotAuthorised, match="too few persons") as caught:
        authorise(workspace, release.digest, LEFT, NOW)
    assert caught.value.got == "1 of 2"
    say_yes(workspace, decision, "eve")
    assert authorise(workspace, release.digest, LEFT, NOW).persons == ("bob", "eve")


def test_an_approval_of_one_arm_is_none_of_the_other(workspace: Workspace, promoted: Decision, release: Ref) -> None:
    say_yes(workspace, promoted, slots=(LEFT,))
    authorise(workspace, release.digest, LEFT, NOW)
    with pytest.raises(NotAuthorised, match="too few persons"):
        authorise(workspace, release.digest, RIGHT, NOW)


def test_a_slot_outside_the_scope_is_not_authorised(workspace: Workspace, promoted: Decision, release: Ref) -> None:
    say_yes(workspace, promoted)
    with pytest.raises(NotAuthorised, match="no promotion decision"):
        authorise(workspace, release.digest, "kitchen/ur5/left", NOW)
    with pytest.raises(UsageError, match="within its decision"):
        say_yes(workspace, promoted, slots=("kitchen/ur5/left",))


def test_nothing_runs_before_or_after_its_time(workspace: Workspace, promoted: Decision, release: Ref) -> None:
    say_yes(workspace, promoted, expires_ns=NOW + DAY_NS)
    with pytest.raises(NotAuthorised, match="not in force"):
        authorise(workspace, release.digest, LEFT, NOW - 1)
    with pytest.raises(NotAuthorised, match="too few persons"):
        authorise(workspace, release.digest, LEFT, NOW + DAY_NS)
    with pytest.raises(NotAuthorised, match="not in force"):
        authorise(workspace, release.digest, LEFT, promoted.payload["expires_ns"])


@pytest.mark.parametrize("offset", [0, -1, 91 * DAY_NS])
def test_an_approval_does_not_outlast_its_decision(workspace: Workspace, promoted: Decision, offset: int) -> None:
    with pytest.raises(UsageError, match="within its decision"):
        say_yes(workspace, promoted, expires_ns=NOW + offset)


def test_another_release_is_not_covered(workspace: Workspace, promoted: Decision) -> None:
    say_yes(workspace, promoted)
    with pytest.raises(NotAuthorised, match="no promotion decision"):
        authorise(workspace, "f" * 64, LEFT, NOW)


def test_a_later_rejection_ends_an_earlier_promotion(
    workspace: Workspace, promoted: Decision, gate: Ref, release: Ref
) -> None:
    say_yes(workspace, promoted)
    for shift in range(1, 4):
        worse = judged(workspace, gate, release, success=False, now_ns=NOW + 100 * shift)
    assert worse.payload["verdict"] == "REJECT"
    with pytest.raises(NotAuthorised, match="newest gate said REJECT"):
        authorise(workspace, release.digest, LEFT, NOW + 1000)


def test_an_approval_of_an_older_decision_does_not_serve_a_newer_one(
    workspace: Workspace, promoted: Decision, gate: Ref, release: Ref
) -> None:
    say_yes(workspace, promoted)
    judged(workspace, gate, release, success=True, now_ns=NOW + 100)
    with pytest.raises(NotAuthorised, match="too few persons"):
        authorise(workspace, release.digest, LEFT, NOW + 1000)


def test_there_is_nothing_to_approve_where_the_gate_did_not_promote(
    workspace: Workspace, gate: Ref, release: Ref
) -> None:
    workspace.add_key("bob", owner="bob")
    with pytest.raises(NotAuthorised, match="REJECT"):
        say_yes(workspace, judged(workspace, gate, release, success=False))


def test_a_payload_nobody_decided_cannot_be_approved(workspace: Workspace, promoted: Decision) -> None:
    forged = Ref("decision", workspace.put_json({**promoted.payload, "expires_ns": LATER * 2}))
    with pytest.raises(NotFound, match="no such decision"):
        approve(workspace, forged, key="bob", now_ns=NOW, expires_ns=LATER)


def test_an_event_that_claims_another_person_counts_for_its_signer_and_is_named(
    workspace: Workspace, promoted: Decision, release: Ref
) -> None:
    body = {"decision": promoted.ref.digest, "release": release.digest, "slots": [LEFT], "expires_ns": LATER}
    workspace.record(APPROVED, body={**body, "person": "bob"}, actor="tester", valid_from_ns=NOW)
    workspace.record(APPROVED, body={**body, "person": "bob"}, valid_from_ns=NOW)
    with pytest.raises(NotAuthorised, match="too few persons"):
        authorise(workspace, release.digest, LEFT, NOW)
    problems = verify(workspace, recompute=RECOMPUTE).problems
    assert len(problems) == 2
    assert {p.what for p in problems} == {
        "cannot be recomputed: names no signed statement",
        "cannot be recomputed: the approval was not signed by a person whose key is good",
    }


def test_an_approval_with_a_revoked_key_cannot_be_given(workspace: Workspace, promoted: Decision) -> None:
    workspace.revoke_key(workspace.signer("bob").public_key.keyid, reason="lost")
    with pytest.raises(NotAuthorised):
        say_yes(workspace, promoted)


def test_an_approval_falls_with_its_key(workspace: Workspace, promoted: Decision, release: Ref) -> None:
    say_yes(workspace, promoted)
    workspace.revoke_key(workspace.signer("bob").public_key.keyid, reason="lost")
    with pytest.raises(NotAuthorised, match="too few persons"):
        authorise(workspace, release.digest, LEFT, NOW)
