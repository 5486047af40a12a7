"""Assignments, receipts, recordings: what is accepted, what is refused, and that arrival order does not matter."""

from __future__ import annotations

import random
import types
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgate.core.digest import canonical, sha256
from worldgate.core.errors import DataRefused, NotAuthorised, NotFound, Tampered
from worldgate.core.names import Slot
from worldgate.fleet import deployments
from worldgate.fleet.as_of import Certainty, as_of
from worldgate.fleet.deployments import (
    RECEIPT_TYPE,
    Authorisation,
    Deployments,
    Receipt,
    assign,
    receive,
    sign_receipt,
)
from worldgate.fleet.planes import Plane
from worldgate.record.events import Event, Ref
from worldgate.record.keys import Role
from worldgate.record.signing import sign_statement

SLOT = Slot.parse("north/nr1/left")
R1, R2 = sha256(b"r1"), sha256(b"r2")
SECOND = 1_000_000_000
DECISION, APPROVAL = Ref("decision", sha256(b"decision")), Ref("approval", sha256(b"approval"))


def allow(ws, release, slot, at_ns):
    return Authorisation(decision=DECISION, approvals=(APPROVAL,))


def registered(ws, digest=R1, name="r1"):
    ref = Ref("release", digest, name)
    ws.record("release.registered", body={"release": digest}, outputs=(ref,))
    return ref


@pytest.fixture
def robot(workspace):
    workspace.add_key("nr1", owner="tester", role=Role.ROBOT)
    return workspace.signer("nr1")


def receipt(**changes):
    fields = {
        "slot": str(SLOT),
        "release": R1,
        "boot": 1,
        "booted_ns": 100 * SECOND,
        "alive_ns": 200 * SECOND,
        "err_ns": SECOND,
    }
    return Receipt(**{**fields, **changes})


def test_an_assignment_names_the_decision_and_the_approval_that_allow_it(workspace):
    event = assign(workspace, registered(workspace), SLOT, 5 * SECOND, authorise=allow)
    assert event.kind == "deployment.desired"
    assert event.inputs[1:] == (DECISION, APPROVAL)
    assert as_of(workspace, SLOT, 6 * SECOND).planes[Plane.DESIRED].release == R1


def test_an_assignment_is_no_evidence_that_it_ran(workspace):
    assign(workspace, registered(workspace), SLOT, 5 * SECOND, authorise=allow)
    answer = as_of(workspace, SLOT, 6 * SECOND)
    assert answer.certainty is Certainty.UNKNOWN
    assert "no evidence that it ran" in answer.headline.why


def refuse(ws, release, slot, at_ns):
    raise NotAuthorised("no promotion decision covers this slot", got=str(slot))


def no_approval(ws, release, slot, at_ns):
    return Authorisation(decision=DECISION, approvals=())


def no_decision(ws, release, slot, at_ns):
    return Authorisation(decision=Ref("evidence", sha256(b"e")), approvals=(APPROVAL,))


@pytest.mark.parametrize("authorise", [refuse, no_approval, no_decision])
def test_an_assignment_without_decision_and_approval_is_refused_and_the_refusal_recorded(workspace, authorise):
    release = registered(workspace)
    with pytest.raises(NotAuthorised):
        assign(workspace, release, SLOT, 5 * SECOND, authorise=authorise)
    assert not list(workspace.ledger.events("deployment.desired"))
    (event,) = workspace.ledger.events("deployment.refused")
    assert event.body["slot"] == str(SLOT)
    assert as_of(workspace, SLOT, 6 * SECOND).planes[Plane.DESIRED].certainty is Certainty.UNKNOWN


def test_a_release_nobody_registered_is_not_assigned(workspace):
    with pytest.raises(NotFound):
        assign(workspace, Ref("release", R1), SLOT, 0, authorise=allow)


def test_a_receipt_signed_by_the_robot_is_the_reported_plane(workspace, robot):
    receive(workspace, sign_receipt(receipt(), robot))
    answer = as_of(workspace, SLOT, 150 * SECOND)
    assert answer.release == R1
    assert answer.headline.error_ns == SECOND
    assert as_of(workspace, SLOT, 100 * SECOND).certainty is Certainty.AMBIGUOUS
    assert as_of(workspace, SLOT, 300 * SECOND).certainty is Certainty.UNKNOWN


def test_the_same_receipt_twice_is_one_event(workspace, robot):
    envelope = sign_receipt(receipt(), robot)
    first, second = receive(workspace, envelope), receive(workspace, dict(envelope))
    assert first.digest == second.digest
    assert len(list(workspace.ledger.events("deployment.reported"))) == 1


def test_a_replayed_old_receipt_changes_nothing(workspace, robot):
    old = sign_receipt(receipt(), robot)
    receive(workspace, old)
    receive(workspace, sign_receipt(receipt(release=R2, boot=2, booted_ns=300 * SECOND, alive_ns=400 * SECOND), robot))
    before = Deployments.of(workspace)
    receive(workspace, old)
    assert Deployments.of(workspace) == before
    assert as_of(workspace, SLOT, 350 * SECOND).release == R2


def test_a_receipt_of_another_robot_is_refused(workspace, robot):
    workspace.add_key("nr2", owner="tester", role=Role.ROBOT)
    with pytest.raises(Tampered):
        receive(workspace, sign_receipt(receipt(), workspace.signer("nr2")))
    with pytest.raises(NotAuthorised):
        receive(workspace, sign_receipt(receipt(slot="north/other/left"), robot))


def test_a_person_or_service_cannot_sign_a_receipt(workspace):
    for name in ("tester", "service"):
        with pytest.raises(NotAuthorised):
            receive(workspace, sign_receipt(receipt(slot=f"north/{name}/left"), workspace.signer(name)))


def test_a_revoked_robot_key_is_refused(workspace, robot):
    workspace.revoke_key(robot.public_key.keyid, reason="lost")
    with pytest.raises(NotAuthorised):
        receive(workspace, sign_receipt(receipt(), robot))


def test_a_receipt_changed_after_signing_is_refused(workspace, robot):
    envelope = sign_receipt(receipt(), robot)
    other = sign_receipt(receipt(release=R2), robot)
    with pytest.raises(Tampered):
        receive(workspace, {**envelope, "payload": other["payload"]})


def test_a_statement_of_another_type_is_no_receipt(workspace, robot):
    with pytest.raises(Tampered):
        receive(workspace, sign_statement(canonical(receipt()), "application/vnd.worldgate.approval.v1+json", robot))


@pytest.mark.parametrize("envelope", [{}, {"payload": "!!"}, {"payload": "e30="}, {"payload": "W10="}, {"payload": 3}])
def test_what_is_not_a_receipt_is_refused(workspace, envelope):
    with pytest.raises((DataRefused, Tampered)):
        receive(workspace, envelope)


@pytest.mark.parametrize(
    "predicate", [{}, [], 3, {**asdict(receipt()), "more": 1}, {**asdict(receipt()), "boot": "one"}]
)
def test_a_signed_statement_of_another_form_is_no_receipt(workspace, robot, predicate):
    with pytest.raises(DataRefused, match="not a receipt"):
        receive(workspace, sign_statement(canonical(predicate), RECEIPT_TYPE, robot))
    assert not list(workspace.ledger.events("deployment.reported"))


@pytest.mark.parametrize("changes", [{"boot": -1}, {"err_ns": -1}, {"alive_ns": 0}, {"release": "r1"}, {"release": ""}])
def test_a_receipt_that_contradicts_itself_is_refused(workspace, robot, changes):
    with pytest.raises(DataRefused):
        receive(workspace, sign_receipt(receipt(**changes), robot))
    assert not list(workspace.ledger.events("deployment.reported"))


def test_a_late_receipt_changes_todays_answer_and_leaves_the_earlier_one_reproducible(workspace, robot):
    friday, monday = 1_000 * SECOND, 5_000 * SECOND
    receive(workspace, sign_receipt(receipt(alive_ns=600 * SECOND), robot), recorded_at_ns=friday)
    asked = 500 * SECOND
    before = as_of(workspace, SLOT, asked, known_as_of_ns=friday)
    late = receipt(release=R2, boot=2, booted_ns=700 * SECOND, alive_ns=900 * SECOND)
    receive(workspace, sign_receipt(late, robot), recorded_at_ns=monday)
    assert as_of(workspace, SLOT, asked, known_as_of_ns=friday) == before
    assert as_of(workspace, SLOT, 800 * SECOND, known_as_of_ns=friday).certainty is Certainty.UNKNOWN
    assert as_of(workspace, SLOT, 800 * SECOND).release == R2
    assert as_of(workspace, SLOT, 650 * SECOND).release == R1


def ingested(ws, release, start, end, **facts):
    body = {"site": "north", "robot": "nr1", "arm": "left", "facts": {"release": release, **facts}}
    return ws.record("log.ingested", body=body, valid_from_ns=start, valid_to_ns=end)


def test_a_recording_stamped_with_a_release_is_the_observed_plane(workspace):
    ingested(workspace, R1, 10 * SECOND, 20 * SECOND, clock_error_s=0.5)
    assert as_of(workspace, SLOT, 15 * SECOND).release == R1
    assert as_of(workspace, SLOT, 15 * SECOND).headline.error_ns == SECOND // 2
    assert as_of(workspace, SLOT, 10 * SECOND).certainty is Certainty.AMBIGUOUS
    assert as_of(workspace, SLOT, 25 * SECOND).certainty is Certainty.UNKNOWN


def test_a_recording_that_declares_no_clock_error_is_not_taken_for_perfect(workspace):
    ingested(workspace, R1, 10 * SECOND, 20 * SECOND)
    assert as_of(workspace, SLOT, 15 * SECOND).headline.error_ns == SECOND
    assert as_of(workspace, SLOT, 20 * SECOND - 1).certainty is Certainty.AMBIGUOUS
    ingested(workspace, R1, 40 * SECOND, 41 * SECOND)
    assert as_of(workspace, SLOT, 40 * SECOND + SECOND // 2).certainty is Certainty.AMBIGUOUS


@pytest.mark.parametrize("release", ["", "r1", "R" * 64])
def test_a_recording_whose_stamp_is_no_digest_observes_nothing(workspace, release):
    ingested(workspace, release, 0, 20 * SECOND)
    assert as_of(workspace, SLOT, 10 * SECOND).certainty is Certainty.UNKNOWN


def test_planes_that_disagree_are_a_finding_and_make_the_headline_ambiguous(workspace, robot):
    assign(workspace, registered(workspace), SLOT, 0, authorise=allow)
    receive(workspace, sign_receipt(receipt(), robot))
    ingested(workspace, R2, 140 * SECOND, 160 * SECOND)
    answer = as_of(workspace, SLOT, 150 * SECOND)
    assert answer.certainty is Certainty.AMBIGUOUS
    assert set(answer.releases) == {R1, R2}
    assert len(answer.findings) == 2  # desired and reported, each against observed
    assert as_of(workspace, SLOT, 170 * SECOND).release == R1


def test_a_recording_does_not_settle_a_robot_that_contradicts_itself(workspace, robot):
    receive(workspace, sign_receipt(receipt(), robot))
    receive(workspace, sign_receipt(receipt(release=R2), robot))
    ingested(workspace, R1, 140 * SECOND, 160 * SECOND)
    answer = as_of(workspace, SLOT, 150 * SECOND)
    assert answer.planes[Plane.OBSERVED].release == R1
    assert answer.certainty is Certainty.AMBIGUOUS
    assert "receipts of boot 1 name 2 releases" in answer.findings


def test_a_recording_settles_a_mere_overlap_of_clock_errors(workspace, robot):
    receive(workspace, sign_receipt(receipt(err_ns=0, alive_ns=100 * SECOND), robot))
    later = receipt(release=R2, boot=2, booted_ns=150 * SECOND, alive_ns=300 * SECOND, err_ns=20 * SECOND)
    receive(workspace, sign_receipt(later, robot))
    ingested(workspace, R2, 145 * SECOND, 160 * SECOND)
    answer = as_of(workspace, SLOT, 150 * SECOND)
    assert answer.planes[Plane.REPORTED].certainty is Certainty.AMBIGUOUS
    assert answer.release == R2


def test_what_was_known_at_a_sequence_is_reproducible(workspace, robot):
    receive(workspace, sign_receipt(receipt(), robot))
    head = workspace.ledger.head().seq
    receive(workspace, sign_receipt(receipt(release=R2, boot=2, booted_ns=250 * SECOND, alive_ns=300 * SECOND), robot))
    then = Deployments.of(workspace, until_seq=head)
    assert as_of(then, SLOT, 280 * SECOND).certainty is Certainty.UNKNOWN
    assert as_of(workspace, SLOT, 280 * SECOND).release == R2


def event(kind, body, start, end, err, learned):
    digest = sha256(repr((kind, body, start, end, err, learned)).encode())
    blank = dict.fromkeys(Event.__dataclass_fields__)
    fields = {
        "kind": kind,
        "body": body,
        "digest": digest,
        "valid_from_ns": start,
        "valid_to_ns": end,
        "valid_err_ns": err,
        "recorded_at_ns": learned,
    }
    return types.SimpleNamespace(**{**blank, **fields})


def random_events(rng):
    out = []
    for _ in range(rng.randint(1, 12)):
        release, slot = rng.choice((R1, R2)), rng.choice(("a/b/c", "a/b/d"))
        start, err, learned = rng.randint(0, 50), rng.randint(0, 3), rng.randint(0, 100)
        end = start + rng.randint(0, 20)
        kind = rng.choice(("deployment.desired", "deployment.reported", "log.ingested"))
        site, robot, arm = slot.split("/")
        body = {"slot": slot, "release": release, "form": "boot", "boot": rng.randint(1, 5)}
        body |= {"site": site, "robot": robot, "arm": arm, "facts": {"release": release}}
        out.append(event(kind, body, start, end, err, learned))
    return out


@given(st.integers(0, 2**32), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=150)
def test_late_repeated_and_reordered_events_give_the_same_projection(seed, rng):
    events = random_events(random.Random(seed))
    delivered = [*events, *rng.choices(events, k=3)]
    rng.shuffle(delivered)
    a, b = Deployments(events), Deployments(delivered)
    assert a == b
    for slot in a.slots():
        for known in (None, 20, 60):
            for plane in Plane:
                assert a.timeline(slot, plane, known) == b.timeline(slot, plane, known)


@given(st.integers(0, 2**32), st.integers(0, 100), st.integers(-5, 80))
@settings(deadline=None, max_examples=150)
def test_known_as_of_equals_a_projection_that_never_heard_of_the_rest(seed, known, t):
    events = random_events(random.Random(seed))
    whole, then = Deployments(events), Deployments(e for e in events if e.recorded_at_ns <= known)
    for slot in whole.slots():
        assert replace(as_of(whole, slot, t, known_as_of_ns=known), known_as_of_ns=None) == as_of(then, slot, t)


def test_events_of_other_kinds_say_nothing():
    assert not deployments.facts_of(event("gate.decided", {}, 0, 1, 0, 0))
    assert not deployments.facts_of(event("deployment.desired", {}, None, None, 0, 0))
    assert Deployments() != 3
