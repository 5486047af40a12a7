"""No arm runs a release without a decision and approvals in scope: every way to try is refused, and recorded."""

from __future__ import annotations

import pytest

from worldgate.core.digest import canonical, sha256
from worldgate.core.errors import NotAuthorised
from worldgate.core.names import Slot
from worldgate.evidence.approvals import approve
from worldgate.evidence.persons import APPROVED
from worldgate.fleet.as_of import Certainty, as_of
from worldgate.fleet.deployments import assign, by_gate
from worldgate.fleet.planes import Plane
from worldgate.record.events import Ref
from worldgate.record.keys import Role
from worldgate.record.signing import sign_statement, statement_type

SLOT, OTHER = Slot.parse("north/nr1/left"), Slot.parse("north/nr1/right")
R1, R2 = Ref("release", sha256(b"r1"), "r1"), Ref("release", sha256(b"r2"), "r2")
SECOND = 1_000_000_000
T0 = 1_800_000_000 * SECOND
DAY = 86_400 * SECOND


@pytest.fixture
def ws(workspace):
    """Ada releases; bo and cy may approve; dee owns two keys."""
    for name, owner in (("ada", "ada"), ("bo", "bo"), ("cy", "cy"), ("dee-1", "dee"), ("dee-2", "dee")):
        workspace.add_key(name, owner=owner)
    workspace.add_key("nr1", owner="bo", role=Role.ROBOT)
    for ref in (R1, R2):
        workspace.record("release.registered", body={"release": ref.digest}, outputs=(ref,), actor="ada")
    return workspace


def decided(
    ws, *, release=R1, slots=(SLOT,), verdict="PROMOTE", begins=T0, ends=T0 + 30 * DAY, approvals=1, stage="site"
):
    payload = {
        "gate": "promotion",
        "policy": {"digest": sha256(b"policy"), "name": "quick"},
        "subject": {"kind": "release", "digest": release.digest},
        "scope": {
            "slots": [str(s) for s in slots],
            "sites": sorted({str(s.site) for s in slots}),
            "stage": stage,
            "hardware": {str(s): "" for s in slots},
        },
        "evidence": [],
        "waivers": [],
        "decided_at_ns": begins,
        "verdict": verdict,
        "not_before_ns": begins,
        "expires_ns": ends,
        "approvals_needed": approvals,
        "approvers": [],
        "population": "real",
    }
    data = canonical(payload)
    ref = Ref("decision", ws.store.put_bytes(data))
    body = {
        "gate": "promotion",
        "subject": release.digest,
        "slots": payload["scope"]["slots"],
        "decision": ref.digest,
        "verdict": verdict,
        "envelope": ws.put_json(sign_statement(data, statement_type("decision"), ws.signer())),
    }
    ws.record("gate.decided", body=body, inputs=(release,), outputs=(ref,), valid_from_ns=begins, valid_to_ns=ends)
    return ref


def approved(ws, decision, *, key="bo", now=T0 + SECOND, ends=T0 + 20 * DAY, slots=()):
    return approve(ws, decision, key=key, now_ns=now, expires_ns=ends, slots=[str(s) for s in slots])


def try_assign(ws, *, release=R1, slot=SLOT, at=T0 + DAY):
    return assign(ws, release, slot, at, authorise=by_gate)


def refused(ws, **request):
    slot, at = request.get("slot", SLOT), request.get("at", T0 + DAY)
    with pytest.raises(NotAuthorised):
        try_assign(ws, **request)
    assert not [e for e in ws.ledger.events("deployment.desired") if e.body["slot"] == str(slot)]
    assert as_of(ws, slot, at).planes[Plane.DESIRED].certainty is Certainty.UNKNOWN
    assert list(ws.ledger.events("deployment.refused"))[-1].body["slot"] == str(slot)


def test_a_decision_and_an_approval_in_scope_let_it_run(ws):
    decision = decided(ws)
    approved(ws, decision)
    event = try_assign(ws)
    assert [ref.kind for ref in event.inputs] == ["release", "decision", "approval"]
    assert event.inputs[1] == decision


def test_without_a_decision(ws):
    refused(ws)


def test_without_an_approval(ws):
    decided(ws)
    refused(ws)


@pytest.mark.parametrize("verdict", ["HOLD", "REJECT"])
def test_a_decision_that_does_not_promote(ws, verdict):
    decision = decided(ws, verdict=verdict)
    with pytest.raises(NotAuthorised):
        approved(ws, decision)
    refused(ws)


@pytest.mark.parametrize("verdict", ["HOLD", "REJECT"])
def test_an_older_promotion_does_not_outlive_a_newer_refusal(ws, verdict):
    approved(ws, decided(ws))
    decided(ws, verdict=verdict)
    refused(ws)


def test_another_slot(ws):
    approved(ws, decided(ws))
    refused(ws, slot=OTHER)


def test_another_release(ws):
    approved(ws, decided(ws))
    refused(ws, release=R2)


@pytest.mark.parametrize("at", [T0 - 1, T0 + 30 * DAY, T0 + 25 * DAY])
def test_before_the_decision_or_after_it_or_its_approval_has_run_out(ws, at):
    approved(ws, decided(ws))
    refused(ws, at=at)


def test_an_approval_of_another_slot_of_the_same_decision(ws):
    approved(ws, decided(ws, slots=(SLOT, OTHER)), slots=(OTHER,))
    refused(ws)
    try_assign(ws, slot=OTHER)


def test_an_approval_of_an_older_decision(ws):
    approved(ws, decided(ws))
    decided(ws, ends=T0 + 29 * DAY)
    refused(ws)


def test_the_releasers_own_approval(ws):
    with pytest.raises(NotAuthorised):
        approved(ws, decided(ws), key="ada")
    refused(ws)


@pytest.mark.parametrize("key", ["nr1", "service"])
def test_an_approval_by_a_robot_or_the_program(ws, key):
    with pytest.raises(NotAuthorised):
        approved(ws, decided(ws), key=key)
    refused(ws)


@pytest.mark.parametrize("key", ["ada", "nr1", "service"])
def test_an_approval_event_written_by_hand_in_another_persons_name(ws, key):
    decision = decided(ws)
    body = {
        "decision": decision.digest,
        "release": R1.digest,
        "slots": [str(SLOT)],
        "expires_ns": T0 + 20 * DAY,
        "person": "bo",
    }
    ws.record(APPROVED, body=body, valid_from_ns=T0, valid_to_ns=T0 + 20 * DAY, actor=key)
    refused(ws)


def test_one_person_with_two_keys_where_two_persons_are_asked_for(ws):
    decision = decided(ws, approvals=2)
    approved(ws, decision, key="dee-1")
    approved(ws, decision, key="dee-2")
    refused(ws)
    approved(ws, decision, key="cy")
    try_assign(ws)
