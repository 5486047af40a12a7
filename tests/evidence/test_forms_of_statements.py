"""Signed bytes in any other form than their one: another type, another spelling, a field more or less; all refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.evidence import promotions_to_sign as signing
from tests.evidence.promotions_to_sign import LATER, LEFT, NOW, RIGHT, Hall, forge, stated

from worldgate.core.digest import canonical, read_canonical, sha256
from worldgate.core.errors import NotAuthorised, NotFound, Tampered
from worldgate.evidence import approvals, waivers
from worldgate.evidence.decide import Decision
from worldgate.evidence.persons import APPROVED, DECIDED, WAIVED
from worldgate.evidence.recompute import RECOMPUTE
from worldgate.record.events import Event, Ref
from worldgate.record.signing import sign_statement, statement_type
from worldgate.record.verify import verify


def refuses(hall: Hall, got: str = "0 of 1", *, slot: str = LEFT, **how: Any) -> None:
    """Nothing runs, because too few approvals count."""
    with pytest.raises(NotAuthorised, match="too few persons") as caught:
        hall.authorised(slot, **how)
    assert caught.value.got == got


def names(hall: Hall, event: Event, why: str) -> None:
    """The verifier names this event and no other."""
    (problem,) = verify(hall.ws, recompute=RECOMPUTE).problems
    assert problem.seq == event.seq
    assert why in problem.what


# ---- form -----------------------------------------------------------------------------------------------------------


def test_a_decision_presented_as_an_approval(hall: Hall, promoted: Decision) -> None:
    tree = stated(hall, promoted)
    event = forge(hall.ws, "approval", tree, key="bob", payload_type=statement_type("decision"))
    refuses(hall)
    names(hall, event, "a statement of another type")


def test_a_decision_envelope_named_by_an_approval(hall: Hall, promoted: Decision) -> None:
    body = {"approval": promoted.ref.digest, "envelope": promoted.envelope, "decision": promoted.ref.digest}
    event = hall.ws.record(APPROVED, body=body, actor="bob")
    refuses(hall)
    names(hall, event, "a statement of another type")


@pytest.mark.parametrize("kind", ["waiver", "receipt", "event"])
def test_another_statement_presented_as_an_approval(hall: Hall, promoted: Decision, kind: str) -> None:
    event = forge(hall.ws, "approval", stated(hall, promoted), key="bob", payload_type=statement_type(kind))
    refuses(hall)
    names(hall, event, "a statement of another type")


def test_a_type_relabelled_after_signing(hall: Hall, promoted: Decision) -> None:
    event = forge(
        hall.ws,
        "approval",
        stated(hall, promoted),
        key="bob",
        payload_type=statement_type("receipt"),
        change=lambda e: {**e, "payload": relabelled(e["payload"])},
    )
    refuses(hall)
    names(hall, event, "a signature that does not hold")


def relabelled(payload: str) -> str:
    return base64.b64encode(base64.b64decode(payload).replace(b":receipt:", b":approval:")).decode()


def test_an_approval_presented_as_a_decision(hall: Hall, promoted: Decision) -> None:
    data = canonical({**promoted.payload, "expires_ns": LATER * 2})
    for kind in ("approval", "decision"):
        body = {
            **hall.ws.ledger.get(promoted.event).body,
            "decision": sha256(data),
            "envelope": hall.ws.put_json(sign_statement(data, statement_type(kind), hall.ws.signer())),
        }
        hall.ws.store.put_bytes(data)
        event = hall.ws.record(DECIDED, body=body, outputs=[Ref("decision", sha256(data))])
        with pytest.raises(
            NotAuthorised, match="too few" if kind == "decision" else "believed: a statement of another"
        ):
            hall.authorised()
        assert event.seq in {p.seq for p in verify(hall.ws, recompute=RECOMPUTE).problems}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda e: {**e, "critical": ["x"]}, "not a DSSE envelope"),
        (lambda e: {**e, "signatures": [{**e["signatures"][0], "critical": 1}]}, "not one signature and nothing else"),
        (lambda e: {**e, "signatures": []}, "a signature that does not hold"),
        (lambda e: {**e, "signatures": e["signatures"] * 2}, "a signature that does not hold"),
        (
            lambda e: {**e, "signatures": [*e["signatures"], {"keyid": "f" * 64, "sig": "AAAA"}]},
            "not one signature and nothing else",
        ),
        (lambda e: {**e, "signatures": [{**e["signatures"][0], "keyid": "f" * 64}]}, "a signature that does not hold"),
        (lambda e: [e], "not a DSSE envelope"),
    ],
)
def test_an_envelope_with_more_or_less_than_it_should_have(
    hall: Hall, promoted: Decision, change: Callable[[Any], Any], why: str
) -> None:
    event = forge(hall.ws, "approval", stated(hall, promoted), key="bob", change=change)
    refuses(hall)
    names(hall, event, why)


def test_an_envelope_in_another_form_than_canonical_json(hall: Hall, promoted: Decision) -> None:
    def twice(data: bytes) -> bytes:
        return data.replace(b'{"payload":', b'{"payload":"e30=","payload":', 1)

    event = forge(hall.ws, "approval", stated(hall, promoted), key="bob", kept=twice)
    refuses(hall)
    names(hall, event, "an envelope in another form")


def test_an_envelope_of_another_key(hall: Hall, promoted: Decision) -> None:
    event = forge(hall.ws, "approval", stated(hall, promoted), key="bob", envelope_key="cy")
    refuses(hall)
    names(hall, event, "a signature that does not hold")


@pytest.mark.parametrize("envelope", [None, 5, "no digest", "../../keys/bob.pem", "f" * 64])
def test_an_envelope_that_is_not_there(hall: Hall, promoted: Decision, envelope: object) -> None:
    event = forge(hall.ws, "approval", stated(hall, promoted), key="bob", body={"envelope": envelope})
    refuses(hall)
    names(hall, event, "no such object" if envelope == "f" * 64 else "names no signed statement")


FIELDS = [
    "approval",
    "envelope",
    "person",
    "decision",
    "release",
    "slots",
    "stage",
    "nonce",
    "not_before_ns",
    "expires_ns",
]


@pytest.mark.parametrize("field", [f for f in FIELDS if f not in {"envelope", "decision"}])
def test_an_event_that_says_something_else_than_was_signed(hall: Hall, promoted: Decision, field: str) -> None:
    event = forge(hall.ws, "approval", stated(hall, promoted), key="bob", body={field: "other"})
    refuses(hall)
    names(hall, event, "says something else than what was signed")


def test_an_event_about_another_decision_than_was_signed(hall: Hall, promoted: Decision) -> None:
    newer = hall.decides(at=NOW + 1)
    tree = stated(hall, promoted)
    event = forge(hall.ws, "approval", tree, key="bob", body={"decision": newer.ref.digest})
    refuses(hall, at=NOW + 2)
    names(hall, event, "says something else than what was signed")


def test_an_event_that_says_more_than_was_signed(hall: Hall, promoted: Decision) -> None:
    event = forge(hall.ws, "approval", stated(hall, promoted), key="bob", body={"critical": "yes"})
    refuses(hall)
    names(hall, event, "says something else than what was signed")


@pytest.mark.parametrize(
    "change",
    [
        {"critical": ["anything"]},
        {"role": "safety"},
        {"stage": "galaxy"},
        {"schema": "worldgate/approval/2"},
        {"expires_ns": "soon"},
        {"slots": LEFT},
        {"ledger_head": {}},
        {"person": 5},
        {"person": None},
    ],
)
def test_a_statement_with_a_field_that_nobody_knows_or_of_another_type(
    hall: Hall, promoted: Decision, change: dict[str, Any]
) -> None:
    event = forge(hall.ws, "approval", stated(hall, promoted, **change), key="bob")
    refuses(hall)
    names(hall, event, "not the form of this approval")


@pytest.mark.parametrize("field", sorted(approvals.Statement.__dataclass_fields__))
def test_a_statement_without_a_field(hall: Hall, promoted: Decision, field: str) -> None:
    tree = {name: value for name, value in stated(hall, promoted).items() if name != field}
    event = forge(hall.ws, "approval", tree, key="bob", body={"decision": promoted.ref.digest})
    refuses(hall)
    names(hall, event, "not the form of this approval")


@pytest.mark.parametrize("data", [b"[]", b"5", b"null", b'"text"', b"not JSON", b"\xff", b"[" * 5000, b""])
def test_a_statement_that_is_none(hall: Hall, promoted: Decision, data: bytes) -> None:
    event = forge(hall.ws, "approval", stated(hall, promoted), key="bob", data=data)
    refuses(hall)
    names(hall, event, "not the form of this approval")


def spelled(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) == 1
    return data.replace(old, new)


SPELLINGS: list[tuple[bytes, bytes]] = [
    (b'"person":"bob"', b'"person":"ada","person":"bob"'),
    (b'"stage":"site"', b'"stage": "site"'),
    (b'"stage":"site"', b'"stage":"\\u0073ite"'),
    (b'"seq":7', b'"seq":7.0'),
    (b'"seq":7', b'"seq":7e0'),
    (b'"seq":7', b'"seq":-0'),
    (b'"seq":7', b'"seq":9007199254740993'),
    (b'"seq":7', b'"seq":NaN'),
    (b'"seq":7', b'"seq":Infinity'),
    (b'"seq":7', b'"seq":"7"'),
    (b'"seq":7', b'"seq":true'),
    (b'"expires_ns":"7"', b'"expires_ns":7'),
    (b'"expires_ns":"7"', b'"expires_ns":"07"'),
    (b'"expires_ns":"7"', b'"expires_ns":"-0"'),
]


@pytest.mark.parametrize(("old", "new"), SPELLINGS)
def test_keys_twice_and_numbers_in_another_form_in_a_statement(
    hall: Hall, promoted: Decision, old: bytes, new: bytes
) -> None:
    head = stated(hall, promoted)["ledger_head"]
    tree = stated(hall, promoted, ledger_head={**head, "seq": 7}, expires_ns=7)
    data = spelled(canonical(tree), old, new)
    event = forge(hall.ws, "approval", tree, key="bob", data=data)
    refuses(hall)
    names(hall, event, "not the form of this approval")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"verdict":"PROMOTE"', b'"verdict":"HOLD","verdict":"PROMOTE"'),
        (b'"approvals_needed":1', b'"approvals_needed":1.0'),
        (b'"approvals_needed":1', b'"approvals_needed":1e0'),
        (b'"approvals_needed":1', b'"approvals_needed":NaN'),
        (b'"approvals_needed":1', b'"approvals_needed":9007199254740993'),
        (b'"waivers":[]', b'"waivers":[-0]'),
        (b'"approvals_needed":1,', b""),
        (b'"approvers":[],', b""),
        (b'"stage":"site"', b'"stage":"galaxy"'),
        (b'"gate":"promotion"', b'"gate":"admission"'),
        (b'"subject":{', b'"subjekt":{'),
    ],
)
def test_keys_twice_and_numbers_in_another_form_in_a_decision(
    hall: Hall, promoted: Decision, old: bytes, new: bytes
) -> None:
    hall.approves(promoted)
    data = spelled(canonical(promoted.payload), old, new)
    body = {
        **hall.ws.ledger.get(promoted.event).body,
        "decision": sha256(data),
        "envelope": hall.ws.put_json(sign_statement(data, statement_type("decision"), hall.ws.signer())),
    }
    hall.ws.store.put_bytes(data)
    event = hall.ws.record(DECIDED, body=body, outputs=[Ref("decision", sha256(data))])
    with pytest.raises(NotAuthorised, match="cannot be believed: not the form of a promotion decision"):
        hall.authorised()
    assert {p.seq for p in verify(hall.ws, recompute=RECOMPUTE).problems} == {event.seq}
    newer = hall.decides(at=NOW + 1)
    hall.approves(newer, now_ns=NOW + 1)
    assert hall.authorised(at=NOW + 2).decision == newer.ref.digest, "a newer one that holds speaks again"


@pytest.mark.parametrize("field", ["decision", "verdict"])
def test_a_decision_whose_event_says_something_else(hall: Hall, promoted: Decision, field: str) -> None:
    body = {**hall.ws.ledger.get(promoted.event).body, field: "f" * 64 if field == "decision" else "HOLD"}
    hall.ws.record(DECIDED, body=body, outputs=[promoted.ref])
    with pytest.raises(NotAuthorised, match="cannot be believed: the event of this decision says something else"):
        hall.authorised()


@pytest.mark.parametrize("change", [{"slots": [LEFT]}, {"subject": None}])
def test_a_decision_whose_event_hides_its_subject_or_slots(
    hall: Hall, promoted: Decision, change: dict[str, Any]
) -> None:
    other = "9" * 64
    body = {**hall.ws.ledger.get(promoted.event).body, **change}
    body["subject"] = body["subject"] or other
    hall.ws.record(DECIDED, body=body, outputs=[promoted.ref])
    with pytest.raises(NotAuthorised, match="says something else"):
        approvals.authorise(hall.ws, body["subject"], LEFT, NOW)


def test_a_decision_by_a_robot(hall: Hall, promoted: Decision) -> None:
    event = hall.ws.ledger.get(promoted.event)
    envelope = sign_statement(canonical(promoted.payload), statement_type("decision"), hall.ws.signer("ur5"))
    body = {**event.body, "envelope": hall.ws.put_json(envelope)}
    hall.ws.record(DECIDED, body=body, outputs=event.outputs, actor="ur5")
    with pytest.raises(NotAuthorised, match="a key that may not decide"):
        hall.authorised()


def test_signed_nonsense_about_decisions_stops_nothing(hall: Hall, promoted: Decision) -> None:
    hall.approves(promoted)
    about = {"gate": "promotion", "subject": hall.release.digest}
    for body in ({}, {**about, "slots": 5}, {**about, "slots": [RIGHT + "x"]}, {**about, "gate": "admission"}):
        hall.ws.record(DECIDED, body=body)
    hall.ws.record(APPROVED, body={"decision": promoted.ref.digest}, actor="bob")
    assert hall.authorised().persons == ("bob",)


def test_a_payload_that_nobody_decided(hall: Hall, promoted: Decision) -> None:
    forged = Ref("decision", hall.ws.put_json({**promoted.payload, "expires_ns": LATER * 2}))
    with pytest.raises(NotFound, match="no such decision"):
        approvals.approve(hall.ws, forged, key="bob", now_ns=NOW, expires_ns=LATER)


def test_a_waiver_that_no_policy_allows_under_a_forged_decision(hall: Hall) -> None:
    hall.tries(3)
    held = hall.decides()
    event = forge(hall.ws, "waiver", signing.waiving(hall, held, check="admitted", status="PASS"), key="bob")
    payload = {**held.payload, "verdict": "PROMOTE", "waivers": [event.body["waiver"]], "decided_at_ns": NOW + 1}
    data = canonical(payload)
    body = {
        **hall.ws.ledger.get(held.event).body,
        "verdict": "PROMOTE",
        "decision": hall.ws.store.put_bytes(data),
        "envelope": hall.ws.put_json(sign_statement(data, statement_type("decision"), hall.ws.signer())),
    }
    ref = Ref("decision", sha256(data))
    hall.ws.record(DECIDED, body=body, outputs=[ref])
    approvals.approve(hall.ws, ref, key="cy", now_ns=NOW, expires_ns=LATER)
    with pytest.raises(NotAuthorised, match="a result that the decision does not have"):
        hall.authorised()
    assert len(verify(hall.ws, recompute=RECOMPUTE).problems) == 2


def test_a_waiver_presented_as_an_approval_and_the_reverse(hall: Hall) -> None:
    hall.tries(3)
    held = hall.decides()
    event = forge(hall.ws, "waiver", signing.waiving(hall, held), key="bob", payload_type=statement_type("approval"))
    assert hall.decides(at=NOW + 1).payload["waivers"] == []
    with pytest.raises(Tampered, match="another type"):
        waivers.check_waiver(hall.ws, event)
    assert {e.kind for e in hall.ws.ledger.events((WAIVED,))} == {WAIVED}


# ---- canonical form, everywhere -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":1}',
        b'{"a":1.0}',
        b'{"a":1e0}',
        b'{"a":-0}',
        b'{"a":9007199254740993}',
        b'{"a":NaN}',
        b'{ "a":1}',
        b'{"b":1,"a":1}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\u0061"}',
        b"",
        b"{",
        b"[" * 9999,
    ],
)
def test_only_canonical_json_is_read_as_signed(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_canonical(text)


def test_canonical_json_is_read_as_it_was_written() -> None:
    tree = {"a_ns": 2**60, "b": [1, 1.5, None, "é"]}
    assert read_canonical(canonical(tree)) == tree
    assert json.loads(canonical(tree))["a_ns"] == str(2**60)
