"""Ways to make a release run that nobody may have run: each is refused, and each that leaves a record is named."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from tests.evidence import promotions_to_sign as signing
from tests.evidence.promotions_to_sign import LATER, LEFT, NOW, RIGHT, Hall, forge, stated
from tests.outsider import TOOL

from worldgate.core.digest import canonical, sha256
from worldgate.core.errors import NotAuthorised, NotFound, UsageError
from worldgate.evidence import approvals, persons
from worldgate.evidence.decide import DAY_NS, Decision
from worldgate.evidence.persons import APPROVED, Known
from worldgate.evidence.recompute import RECOMPUTE
from worldgate.record.events import Event, Ref
from worldgate.record.keys import Keyring, Role
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace


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


# ---- persons --------------------------------------------------------------------------------------------------------


def test_a_statement_written_by_hand_that_is_right_counts(hall: Hall, promoted: Decision) -> None:
    forge(hall.ws, "approval", stated(hall, promoted), key="bob")
    assert hall.authorised().persons == ("bob",)
    assert verify(hall.ws, recompute=RECOMPUTE).ok


def test_every_approval_is_considered_with_why_it_does_not_count_and_nothing_else_is(
    hall: Hall, promoted: Decision
) -> None:
    good, canary = hall.approves(promoted), hall.approves(promoted, "cy", stage="canary")
    broken = hall.ws.record(APPROVED, body={"decision": promoted.ref.digest}, actor="eve")
    known = Known(hall.ws)
    decided = persons.find_decision(known, promoted.ref.digest)
    found = approvals.considered(known, decided, persons.bench(known, decided), LEFT, "site", NOW)
    assert [(c.event, c.person, c.why_not, c.approval) for c in found] == [
        (good.event, "bob", "", good),
        (canary.event, "cy", "it is for stage canary", canary),
        (broken.digest, "eve", "names no signed statement", None),
    ]


def test_an_approval_beyond_its_decision_says_what_would_be_within(hall: Hall, promoted: Decision) -> None:
    with pytest.raises(UsageError) as caught:
        hall.approves(promoted, stage="fleet")
    assert caught.value.got == "stage fleet, the decision is for site"
    assert caught.value.hint == f"{LEFT}, {RIGHT} as site until 2027-04-15T08:00:00Z"


@pytest.mark.parametrize("key", ["ada", "tester"])
def test_self_approval(hall: Hall, promoted: Decision, key: str) -> None:
    with pytest.raises(NotAuthorised, match="their own release or decision"):
        hall.approves(promoted, key)
    event = forge(hall.ws, "approval", stated(hall, promoted, person=key), key=key)
    refuses(hall)
    names(hall, event, "their own release or decision")


def test_the_releasers_other_key(hall: Hall, promoted: Decision) -> None:
    hall.ws.add_key("ada-laptop", owner="ada")
    with pytest.raises(NotAuthorised, match="their own release"):
        hall.approves(promoted, "ada-laptop")
    event = forge(hall.ws, "approval", stated(hall, promoted, person="ada"), key="ada-laptop")
    refuses(hall)
    names(hall, event, "their own release")


def test_the_releaser_through_a_service_of_theirs(hall: Hall, promoted: Decision) -> None:
    hall.ws.add_key("ci", owner="ada", role=Role.SERVICE)
    again = hall.ws.record(
        "release.registered", body={"release": hall.release.digest}, outputs=(hall.release,), actor="ci"
    )
    assert again.actor
    with pytest.raises(NotAuthorised, match="their own release"):
        hall.approves(promoted, "ada")


def test_one_person_with_two_keys(workspace: Workspace) -> None:
    hall = Hall.of(workspace, approvals=2)
    decision = hall.promoted()
    hall.approves(decision, "bob")
    hall.approves(decision, "bob-2")
    refuses(hall, "1 of 2")
    hall.approves(decision, "cy")
    assert hall.authorised().persons == ("bob", "cy")


def test_the_evaluator_alone(hall: Hall, promoted: Decision) -> None:
    hall.approves(promoted, "eve")
    refuses(hall, "nobody but who ran or recorded the trials")
    hall.approves(promoted, "cy", expires_ns=NOW + DAY_NS)
    found = hall.authorised()
    assert (found.persons, found.expires_ns) == (("cy", "eve"), NOW + DAY_NS), (
        "it ends with the one who is no evaluator"
    )


def test_two_evaluators_and_nobody_else(workspace: Workspace) -> None:
    hall = Hall.of(workspace, approvals=2)
    decision = hall.promoted()
    hall.ws.record("trial.run", body={"trial": "8" * 64, "release": hall.release.digest}, actor="bob")
    for key in ("eve", "bob"):
        hall.approves(decision, key)
    refuses(hall, "nobody but who ran or recorded the trials")


def test_who_recorded_the_evidence_is_an_evaluator(hall: Hall) -> None:
    manifest = hall.ws.get_json(hall.release.digest)
    hall.ws.record(
        "evidence.made", body={"evidence": sha256(canonical(manifest)), "schema": "x", "subject": ""}, actor="bob"
    )
    hall.approves(hall.promoted(), "bob")
    refuses(hall, "nobody but who ran or recorded the trials")


def test_who_recorded_other_trials_and_other_evidence_is_none(hall: Hall) -> None:
    hall.ws.record("evidence.made", body={"evidence": "8" * 64, "schema": "x", "subject": ""}, actor="bob")
    hall.ws.record("trial.run", body={"trial": "8" * 64, "release": "9" * 64}, actor="bob")
    hall.approves(hall.promoted(), "bob")
    assert hall.authorised().persons == ("bob",)


def test_who_registered_another_release_or_made_another_decision_may_approve(hall: Hall) -> None:
    other = Ref("release", "9" * 64)
    hall.ws.record("release.registered", body={"release": other.digest}, outputs=(other,), actor="bob")
    hall.approves(hall.promoted(), "bob")
    assert hall.authorised().persons == ("bob",)


@pytest.mark.parametrize("key", ["machine", "ur5", "service"])
def test_a_machine(hall: Hall, promoted: Decision, key: str) -> None:
    with pytest.raises(NotAuthorised, match="only a person approves"):
        hall.approves(promoted, key)
    event = forge(hall.ws, "approval", stated(hall, promoted, person="cy"), key=key)
    refuses(hall)
    names(hall, event, "not signed by a person whose key is good")


def test_a_person_whom_the_policy_does_not_name(workspace: Workspace) -> None:
    hall = Hall.of(workspace, approvers=["cy"])
    decision = hall.promoted()
    with pytest.raises(NotAuthorised, match="does not name bob"):
        hall.approves(decision, "bob")
    event = forge(hall.ws, "approval", stated(hall, decision), key="bob")
    refuses(hall)
    names(hall, event, "does not name bob")
    hall.approves(decision, "cy")
    assert hall.authorised().persons == ("cy",)


def test_in_another_persons_name(hall: Hall, promoted: Decision) -> None:
    event = forge(hall.ws, "approval", stated(hall, promoted, person="cy"), key="bob", body={"person": "bob"})
    refuses(hall)
    names(hall, event, "not signed by the person it names")


def test_a_revoked_key(hall: Hall, promoted: Decision) -> None:
    hall.approves(promoted)
    hall.authorised()
    hall.ws.revoke_key(hall.ws.signer("bob").public_key.keyid, reason="lost")
    refuses(hall)
    with pytest.raises(NotAuthorised, match="only a person"):
        hall.approves(promoted)
    assert verify(hall.ws, recompute=RECOMPUTE).ok, "it was good when it was given"
    hall.approves(promoted, "bob-2")
    assert hall.authorised().persons == ("bob",), "the person has another key"


def test_a_decision_signed_with_a_key_that_was_revoked(hall: Hall, promoted: Decision) -> None:
    hall.approves(promoted)
    hall.ws.revoke_key(hall.ws.signer().public_key.keyid, reason="stolen")
    with pytest.raises(NotAuthorised, match="cannot be believed: the decision was signed by a key that may not decide"):
        hall.authorised()


# ---- replay, scope, stage, time -------------------------------------------------------------------------------------


def test_a_replayed_approval(hall: Hall, promoted: Decision) -> None:
    given = hall.approves(promoted)
    event = hall.ws.ledger.get(given.event)
    persons.withdraw(hall.ws, Ref("approval", given.digest), key="cy", reason="too soon")
    refuses(hall)
    again = hall.ws.record(APPROVED, body=event.body, inputs=event.inputs, outputs=event.outputs, actor="bob")
    refuses(hall)
    names(hall, again, "nonce of this approval was used before")


def test_a_nonce_used_again(hall: Hall, promoted: Decision) -> None:
    given = hall.approves(promoted, expires_ns=NOW + DAY_NS)
    nonce = hall.ws.get_json(given.digest)["nonce"]
    event = forge(hall.ws, "approval", stated(hall, promoted, nonce=nonce), key="bob")
    assert hall.authorised().expires_ns == NOW + DAY_NS
    names(hall, event, "nonce of this approval was used before")


def test_a_nonce_of_a_waiver_used_again(workspace: Workspace) -> None:
    hall = Hall.of(workspace)
    hall.tries(3)
    waived = hall.waives(hall.decides())
    decision = hall.decides(at=NOW + 1)
    event = forge(
        hall.ws, "approval", stated(hall, decision, nonce=waived.terms.nonce, not_before_ns=NOW + 1), key="bob"
    )
    refuses(hall, at=NOW + 1)
    names(hall, event, "nonce of this approval was used before")


def test_an_approval_of_an_older_decision(hall: Hall, promoted: Decision) -> None:
    hall.approves(promoted)
    newer = hall.decides(at=NOW + 100)
    refuses(hall, at=NOW + 1000)
    hall.approves(newer, now_ns=NOW + 100)
    assert hall.authorised(at=NOW + 1000).decision == newer.ref.digest


BEYOND: list[tuple[dict[str, Any], str]] = [
    ({"release": "9" * 64}, "another release"),
    ({"slots": []}, "slots or sites outside"),
    ({"slots": ["kitchen/ur5/left"], "sites": ["kitchen"]}, "slots or sites outside"),
    ({"slots": [LEFT, "bench/ur5/third"]}, "slots or sites outside its decision: bench/ur5/third"),
    ({"sites": ["kitchen"]}, "slots or sites outside"),
    ({"sites": []}, "slots or sites outside"),
    ({"stage": "fleet"}, "stage fleet, the decision is for site"),
    ({"not_before_ns": NOW - 1}, "a time outside"),
    ({"not_before_ns": LATER}, "a time outside"),
    ({"expires_ns": NOW + 90 * DAY_NS + 1}, "a time outside"),
]


@pytest.mark.parametrize(("changes", "why"), BEYOND)
def test_an_approval_beyond_its_decision(hall: Hall, promoted: Decision, changes: dict[str, Any], why: str) -> None:
    event = forge(hall.ws, "approval", stated(hall, promoted, **changes), key="bob")
    refuses(hall)
    names(hall, event, why)


def test_an_approval_up_to_the_end_of_its_decision(hall: Hall, promoted: Decision) -> None:
    end = NOW + 90 * DAY_NS
    assert hall.approves(promoted, expires_ns=end).expires_ns == end
    assert hall.authorised(at=end - 1).expires_ns == end


def test_an_approval_of_another_site(hall: Hall, promoted: Decision) -> None:
    with pytest.raises(UsageError, match="within its decision"):
        hall.approves(promoted, slots=("kitchen/ur5/left",))
    hall.approves(promoted)
    with pytest.raises(NotAuthorised, match="no promotion decision covers this"):
        hall.authorised("kitchen/ur5/left")


def test_an_approval_of_a_smaller_stage(hall: Hall, promoted: Decision) -> None:
    assert hall.approves(promoted, stage="canary").stage == "canary"
    assert hall.authorised(stage="canary").stage == "canary"
    refuses(hall)
    with pytest.raises(UsageError, match="within its decision"):
        hall.approves(promoted, stage="fleet")
    hall.approves(promoted)
    for stage in ("canary", "site"):
        assert hall.authorised(stage=stage).stage == stage
    with pytest.raises(NotAuthorised, match="smaller stage") as caught:
        hall.authorised(stage="fleet")
    assert caught.value.got == "site"


def test_a_refusal_ends_promotions_of_its_stage_and_larger_ones(hall: Hall, promoted: Decision) -> None:
    canary, fleet = (signing.gate(hall.ws, name=stage, stage=stage) for stage in ("canary", "fleet"))
    first = hall.promoted(at=NOW + 1, gate=canary)
    largest = hall.promoted(at=NOW + 2, gate=fleet)
    for decision in (promoted, first, largest):
        hall.approves(decision, now_ns=NOW + 3)
    assert [hall.authorised(at=NOW + 4, stage=s).decision for s in ("canary", "site", "fleet")] == [
        largest.ref.digest, largest.ref.digest, largest.ref.digest
    ]  # fmt: skip
    hall.tries(8, success=False, at=NOW + 1000)
    hall.decides(at=NOW + 10_000)
    assert hall.authorised(at=NOW + 20_000, stage="canary").decision == first.ref.digest
    for stage in ("site", "fleet"):
        with pytest.raises(NotAuthorised, match="smaller stage"):
            hall.authorised(at=NOW + 20_000, stage=stage)
    hall.tries(8, success=False, at=NOW + 2000, gate=canary)
    hall.decides(at=NOW + 11_000, gate=canary)
    with pytest.raises(NotAuthorised, match="newest gate said REJECT"):
        hall.authorised(at=NOW + 20_000, stage="canary")


def test_of_several_promotions_the_one_that_is_approved_speaks(hall: Hall, promoted: Decision) -> None:
    canary = hall.promoted(at=NOW + 1, gate=signing.gate(hall.ws, name="canary", stage="canary"))
    hall.approves(promoted, now_ns=NOW + 2)
    assert hall.authorised(at=NOW + 3, stage="canary").decision == promoted.ref.digest
    hall.approves(canary, now_ns=NOW + 3)
    assert hall.authorised(at=NOW + 4, stage="canary").decision == canary.ref.digest
    newer = hall.promoted(at=NOW + 5)
    refuses(hall, at=NOW + 6)
    assert hall.authorised(at=NOW + 6, stage="canary").decision == canary.ref.digest
    assert newer.passed


def test_the_newest_promotions_reason_is_told(hall: Hall, promoted: Decision) -> None:
    refuses(hall, at=NOW + 2)
    hall.promoted(at=NOW + 3, gate=signing.gate(hall.ws, name="fleet", stage="fleet"))
    with pytest.raises(NotAuthorised, match="the decision is not in force"):
        hall.authorised(at=NOW + 2)


def test_an_expired_decision(hall: Hall, promoted: Decision) -> None:
    hall.approves(promoted)
    end = promoted.payload["expires_ns"]
    for at in (NOW - 1, end):
        with pytest.raises(NotAuthorised, match="the decision is not in force"):
            hall.authorised(at=at)
    with pytest.raises(NotAuthorised, match="not in force"):
        hall.approves(promoted, now_ns=end, expires_ns=end + 1)
    with pytest.raises(NotAuthorised, match="not in force"):
        hall.approves(promoted, now_ns=NOW - 1)


def test_an_approval_outside_its_time(hall: Hall, promoted: Decision) -> None:
    hall.approves(promoted, now_ns=NOW + 5, expires_ns=NOW + 10)
    refuses(hall, at=NOW + 4)
    hall.authorised(at=NOW + 5)
    hall.authorised(at=NOW + 9)
    refuses(hall, at=NOW + 10)


def test_an_approval_of_a_refusal(hall: Hall) -> None:
    hall.tries(3)
    held = hall.decides()
    with pytest.raises(NotAuthorised, match="nothing to approve: the gate said HOLD"):
        hall.approves(held)
    event = forge(hall.ws, "approval", stated(hall, held), key="bob")
    with pytest.raises(NotAuthorised, match="newest gate said HOLD"):
        hall.authorised()
    names(hall, event, "nothing to approve")


# ---- another chain --------------------------------------------------------------------------------------------------


def test_an_approval_given_on_a_fork(hall: Hall, promoted: Decision) -> None:
    head = {"ledger": hall.ws.id, "seq": hall.ws.ledger.head().seq, "hash": "a" * 64}
    event = forge(hall.ws, "approval", stated(hall, promoted, ledger_head=head), key="bob")
    refuses(hall)
    names(hall, event, "another ledger or on a fork")


@pytest.mark.parametrize("change", [{"ledger": "f" * 32}, {"seq": 0}, {"seq": 10**6}, {"seq": -5}])
def test_an_approval_given_on_another_ledger(hall: Hall, promoted: Decision, change: dict[str, Any]) -> None:
    head = {**stated(hall, promoted)["ledger_head"], **change}
    event = forge(hall.ws, "approval", stated(hall, promoted, ledger_head=head), key="bob")
    refuses(hall)
    names(hall, event, "another ledger or on a fork")


def test_an_approval_that_saw_its_own_future(hall: Hall, promoted: Decision, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = stated(hall, promoted)
    signed = forge(hall.ws, "approval", tree, key="bob")
    read = persons.read(Known(hall.ws), signed, "approval", approvals.Statement)
    decided = persons.find_decision(Known(hall.ws), promoted.ref.digest)
    late = persons.Seen(ledger=hall.ws.id, seq=signed.seq, hash=signed.hash)
    object.__setattr__(read.statement, "ledger_head", late)
    assert "before its decision" in persons.unseen(Known(hall.ws), read, decided)


def test_an_approval_from_before_its_decision(hall: Hall, promoted: Decision) -> None:
    event = hall.ws.ledger.get(promoted.event)
    earlier = next(hall.ws.ledger.events(since=event.seq - 2))
    for place, counts in ((earlier, False), (event, True)):
        head = {"ledger": hall.ws.id, "seq": place.seq, "hash": place.hash}
        nonce = f"{place.seq:032}"
        made = forge(hall.ws, "approval", stated(hall, promoted, ledger_head=head, nonce=nonce), key="bob")
        if counts:
            assert hall.authorised().persons == ("bob",)
        else:
            refuses(hall)
            names(hall, made, "before its decision was recorded")


def colleague(hall: Hall, tmp_path: Any) -> Workspace:
    """Another ledger that this one trusts, with its own Dan."""
    other = Workspace.init(tmp_path / "other", person="dan")
    root = other.ledger.keyring().root()
    assert root is not None
    hall.ws.trust_ledger(other.id, root=root)
    return other


def bring(hall: Hall, other: Workspace) -> None:
    hall.ws.ledger.import_events(other.ledger.events())
    for path in other.store.root.rglob("*"):  # type: ignore[attr-defined]
        if path.is_file():
            hall.ws.store.put_bytes(path.read_bytes())


@pytest.mark.parametrize(("ledger", "counts"), [("own", True), ("home", False)])
def test_an_approval_on_a_colleagues_ledger(
    hall: Hall, promoted: Decision, tmp_path: Any, ledger: str, counts: bool
) -> None:
    other = colleague(hall, tmp_path)
    seen = {"ledger": other.id if ledger == "own" else hall.ws.id, "seq": 1, "hash": "a" * 64}
    forge(other, "approval", stated(hall, promoted, person="dan", ledger_head=seen), key="dan")
    bring(hall, other)
    if counts:
        assert hall.authorised().persons == ("dan",)
    else:
        refuses(hall)
    assert verify(hall.ws, recompute=RECOMPUTE).ok == counts


def test_a_key_revoked_on_any_ledger_approves_nothing(hall: Hall, promoted: Decision, tmp_path: Any) -> None:
    other = colleague(hall, tmp_path)
    seen = {"ledger": other.id, "seq": 1, "hash": "a" * 64}
    forge(other, "approval", stated(hall, promoted, person="dan", ledger_head=seen), key="dan")
    keyid = other.signer("dan").public_key.keyid
    other.revoke_key(keyid, reason="stolen")
    bring(hall, other)
    refuses(hall)


# ---- taking back ----------------------------------------------------------------------------------------------------


def test_an_approval_withdrawn_ends_at_once(hall: Hall, promoted: Decision) -> None:
    given = hall.approves(promoted)
    hall.authorised()
    event = persons.withdraw(hall.ws, Ref("approval", given.digest), key="bob", reason="  the brake failed ")
    assert event.body == {"withdrawn": given.digest, "reason": "the brake failed"}
    assert event.inputs == (Ref("approval", given.digest),)
    refuses(hall)
    hall.approves(promoted)
    assert hall.authorised().persons == ("bob",), "a new one counts again"
    assert verify(hall.ws, recompute=RECOMPUTE).ok


@pytest.mark.parametrize("key", ["machine", "ur5", "service"])
def test_only_a_person_withdraws(hall: Hall, promoted: Decision, key: str) -> None:
    given = hall.approves(promoted)
    with pytest.raises(NotAuthorised):
        persons.withdraw(hall.ws, Ref("approval", given.digest), key=key, reason="because")
    assert hall.authorised().persons == ("bob",)


def test_only_what_was_given_is_withdrawn_and_with_a_reason(hall: Hall, promoted: Decision) -> None:
    given = hall.approves(promoted)
    with pytest.raises(NotFound, match="no such approval or waiver"):
        persons.withdraw(hall.ws, promoted.ref, key="bob", reason="because")
    with pytest.raises(UsageError, match="says why"):
        persons.withdraw(hall.ws, Ref("approval", given.digest), key="bob", reason="  ")


def test_nobody_adds_a_key_in_another_persons_name(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    hall = Hall.of(workspace)  # its root is "tester"
    with pytest.raises(NotAuthorised, match="in somebody's name"):
        workspace.add_key("bob-3", owner="bob", by="eve")
    with pytest.raises(NotAuthorised, match="in somebody's name"):
        workspace.add_key("zed", owner="zed", by="eve")
    workspace.add_key("eve-2", owner="eve", by="eve")
    workspace.add_key("bob-4", owner="bob", by="bob")
    assert verify(workspace, recompute=RECOMPUTE).ok
    with monkeypatch.context() as open_gate:  # as a program that is not ours could write it
        open_gate.setattr(
            Keyring,
            "admit",
            lambda self, e: self.authorise(e.actor, ledger=e.ledger, seq=e.origin_seq, kind=e.kind),
        )
        workspace.add_key("bob-5", owner="bob", by="eve")
    forged = workspace.ledger.head().seq
    with Workspace.open(workspace.root) as again:
        problems = verify(again, recompute=RECOMPUTE).problems
        assert [p.seq for p in problems] == [forged]
        assert "in somebody's name" in problems[0].what
        promoted = Hall(again, hall.gate, hall.release).promoted()
        with pytest.raises(NotAuthorised):
            Hall(again, hall.gate, hall.release).approves(promoted, key="bob-5")


def test_the_outsider_names_a_key_in_another_persons_name(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.add_key("eve", owner="eve")
    with monkeypatch.context() as open_gate:
        open_gate.setattr(
            Keyring,
            "admit",
            lambda self, e: self.authorise(e.actor, ledger=e.ledger, seq=e.origin_seq, kind=e.kind),
        )
        workspace.add_key("tester-2", owner="tester", by="eve")
    code = subprocess.run([sys.executable, str(TOOL), str(workspace.root)], capture_output=True, text=True, check=False)
    assert code.returncode == 1
    assert f"record {workspace.ledger.head().seq} " in code.stdout and "in somebody's name" in code.stdout
