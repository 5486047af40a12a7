"""Waivers: persons stand in for one check, for a while, and what ends it; what no person stands in for."""

from __future__ import annotations

from typing import Any

import pytest
from tests.evidence import promotions_to_sign as signing
from tests.evidence.promotions_to_sign import HOUR_NS, LATER, LEFT, NOW, RIGHT, Hall

from worldgate.core.errors import ConfigError, NotAuthorised, NotFound, UsageError
from worldgate.core.evidence import CheckResult, Status, Verdict
from worldgate.evidence import persons, policy, waivers
from worldgate.evidence.decide import DAY_NS, Decision, Scope, decide
from worldgate.evidence.exposure import record_exposure
from worldgate.evidence.persons import WAIVED, Known
from worldgate.evidence.policy import NEVER_WAIVED
from worldgate.evidence.recompute import RECOMPUTE
from worldgate.record.events import Ref
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

DAY = DAY_NS


def lives(hall: Hall, digest: str, at: int = NOW) -> bool:
    try:
        waivers.standing(Known(hall.ws), digest, at)
    except NotAuthorised:
        return False
    return True


def dies(hall: Hall, digest: str, why: str, at: int = NOW) -> NotAuthorised:
    with pytest.raises(NotAuthorised, match=why) as caught:
        waivers.standing(Known(hall.ws), digest, at)
    return caught.value


def test_a_waiver_lets_the_next_decision_pass_and_stays_visible(hall: Hall, held: Decision) -> None:
    given = hall.waives(held)
    decision = hall.decides(at=NOW + 1)
    assert decision.verdict is Verdict.PROMOTE
    by_check = {c.check: c for c in decision.checks}
    assert (by_check["success"].status, by_check["success"].waived) == (Status.INCONCLUSIVE, given.digest)
    assert (by_check["admitted"].status, by_check["admitted"].waived) == (Status.PASS, "")
    assert decision.payload["waivers"] == [given.digest]
    assert decision.payload["expires_ns"] == LATER
    assert f"success: INCONCLUSIVE, waived by {given.digest[:12]}" in decision.payload["notes"]
    hall.approves(decision, now_ns=NOW + 1)
    found = hall.authorised(at=NOW + 2)
    assert (found.waivers, found.expires_ns) == ((given.digest,), LATER)
    assert verify(hall.ws, recompute=RECOMPUTE).ok


def test_a_waiver_says_everything_that_it_was_given_for(hall: Hall, held: Decision) -> None:
    given = hall.waives(
        held, reason="  new pen ", control=" a guard ", slots=(LEFT,), stage="canary", max_episodes=None
    )
    terms = given.terms
    assert given.persons == ("bob",)
    assert (terms.decision, terms.policy, terms.release) == (held.ref.digest, hall.gate.digest, hall.release.digest)
    assert (terms.check, terms.signal, terms.status) == ("success", "", Status.INCONCLUSIVE)
    assert (terms.sites, terms.slots, terms.stage) == (("bench",), (LEFT,), "canary")
    assert (terms.reason, terms.control, terms.max_hours, terms.max_episodes) == ("new pen", "a guard", 10, None)
    assert (terms.not_before_ns, terms.expires_ns) == (NOW, LATER)
    seen = terms.ledger_head
    (event,) = hall.ws.ledger.events(WAIVED)
    assert (seen.ledger, seen.seq) == (hall.ws.id, event.seq - 1)
    assert len(terms.nonce) == 32
    assert terms.nonce != hall.waives(held).terms.nonce
    assert [(ref.kind, ref.digest) for ref in event.outputs] == [("waiver", given.digest)]
    assert {ref.digest for ref in event.inputs} == {held.ref.digest, hall.release.digest}
    assert (event.valid_from_ns, event.valid_to_ns) == (NOW, LATER)
    assert waivers.standing(Known(hall.ws), given.digest, NOW) == given
    assert waivers.standing(Known(hall.ws), given.digest, LATER - 1) == given


def test_a_decision_that_was_made_before_a_waiver_stays_as_it_was(hall: Hall, held: Decision) -> None:
    hall.waives(held)
    assert verify(hall.ws, recompute=RECOMPUTE).ok, "its head lies before the waiver"


def test_a_decision_stays_recomputable_after_its_waiver_ended_was_withdrawn_or_lost_its_key(
    hall: Hall, held: Decision
) -> None:
    given = hall.waives(held)
    hall.decides(at=NOW + 1)
    persons.withdraw(hall.ws, Ref("waiver", given.digest), key="cy", reason="the guard left")
    hall.ws.revoke_key(hall.ws.signer("bob").public_key.keyid, reason="lost")
    signing.run_for(hall, 11, 200)
    assert verify(hall.ws, recompute=RECOMPUTE).ok
    assert hall.decides(at=NOW + 2).verdict is Verdict.HOLD


@pytest.mark.parametrize("check", sorted(NEVER_WAIVED - {"schema", "signatures"}))
def test_no_policy_file_makes_format_identity_or_envelope_waivable(check: str) -> None:
    tree = {"name": "lax", "kind": "promotion", "checks": [{"check": check, "waivable": True}]}
    with pytest.raises(ConfigError, match="never waived"):
        policy.read(tree, where="test")


def test_the_schema_of_a_world_model_is_not_waivable_either() -> None:
    with pytest.raises(ConfigError, match="never waived"):
        policy.read(
            {"name": "lax", "kind": "admission", "checks": [{"check": "schema", "waivable": True}]}, where="test"
        )
    assert {"schema", "identity", "signatures", "holdout", "violations", "incidents"} == NEVER_WAIVED


def test_a_check_is_waivable_only_if_its_policy_says_so(workspace: Workspace) -> None:
    hall = Hall.of(workspace, checks=[{"check": "success", "params": {"p0": "0.5"}}])
    hall.tries(3)
    held = hall.decides()
    with pytest.raises(NotAuthorised, match="not waived") as caught:
        hall.waives(held)
    assert caught.value.hint == "its policy does not say waivable"


def test_a_check_that_is_never_waived_cannot_be(workspace: Workspace) -> None:
    hall = Hall.of(workspace, checks=[{"check": "violations"}, {"check": "admitted"}])
    hall.tries(3)
    held = hall.decides()
    with pytest.raises(NotAuthorised, match="not waived") as caught:
        hall.waives(held, check="violations")
    assert caught.value.hint == "this check is never waived"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"check": "speed"}, "no such result"),
        ({"signal": "arm"}, "no such result"),
        ({"slots": ("kitchen/ur5/left",)}, "beyond the slots"),
        ({"stage": "fleet"}, "beyond the slots, sites or stage"),
        ({"expires_ns": NOW}, "begins after its decision"),
        ({"expires_ns": NOW + 90 * DAY + 1}, "lasts no longer than 90 days"),
        ({"now_ns": NOW - 1}, "begins after its decision"),
        ({"reason": "  "}, "says why"),
        ({"control": ""}, "what is done instead"),
        ({"max_hours": None, "max_episodes": None}, "so many hours or episodes"),
        ({"max_hours": 0}, "so many hours or episodes"),
        ({"max_episodes": 0, "max_hours": None}, "so many hours or episodes"),
        ({"max_episodes": -1}, "so many hours or episodes"),
    ],
)
def test_a_waiver_beyond_its_decision_is_refused(hall: Hall, held: Decision, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        hall.waives(held, **changes)
    assert not list(hall.ws.ledger.events(WAIVED))


def test_the_longest_waiver_and_the_smallest_limits_are_taken(hall: Hall, held: Decision) -> None:
    given = hall.waives(held, expires_ns=NOW + 90 * DAY, max_hours=1, max_episodes=1)
    assert lives(hall, given.digest, NOW + 90 * DAY - 1)


def test_a_result_that_is_not_there_lists_those_that_are(hall: Hall, held: Decision) -> None:
    with pytest.raises(UsageError) as caught:
        hall.waives(held, check="speed", signal="arm")
    assert (caught.value.got, caught.value.hint) == ("speed arm", "one of success, admitted")


def test_what_passed_is_not_waived(workspace: Workspace) -> None:
    checks = [{"check": "success", "params": {"p0": "0.5"}}, {"check": "admitted", "waivable": True}]
    hall = Hall.of(workspace, checks=checks)
    hall.tries(3)
    with pytest.raises(UsageError, match="a result that the decision does not have"):
        hall.waives(hall.decides(), check="admitted")


def test_a_promotion_is_not_waived(hall: Hall) -> None:
    with pytest.raises(UsageError, match="nothing to waive: the gate said PROMOTE"):
        hall.waives(hall.promoted())


def test_a_decision_nobody_made_is_not_waived(hall: Hall, held: Decision) -> None:
    with pytest.raises(NotFound, match="no such decision"):
        hall.waives(Decision(ref=Ref("decision", "f" * 64), event="", envelope="", payload={}))


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("ada", "their own release"),
        ("tester", "their own release"),
        ("machine", "only a person waives"),
        ("ur5", "only a person waives"),
        ("service", "only a person waives"),
    ],
)
def test_releasers_and_machines_waive_nothing(hall: Hall, held: Decision, key: str, why: str) -> None:
    with pytest.raises(NotAuthorised, match=why):
        hall.waives(held, key)
    assert not list(hall.ws.ledger.events(WAIVED))


def test_who_recorded_the_trials_does_not_waive_alone(hall: Hall, held: Decision) -> None:
    given = hall.waives(held, "eve")
    assert dies(hall, given.digest, "too few persons").got == "nobody but who ran or recorded the trials"
    both = waivers.countersign(hall.ws, Ref("waiver", given.digest), key="bob")
    assert (both.persons, both.digest, both.terms) == (("eve", "bob"), given.digest, given.terms)
    assert waivers.standing(Known(hall.ws), given.digest, NOW).persons == ("bob", "eve")


def test_as_many_persons_waive_as_approve_and_two_keys_are_one(workspace: Workspace) -> None:
    hall = Hall.of(workspace, approvals=2)
    hall.tries(3)
    held = hall.decides()
    given = hall.waives(held, "bob")
    assert dies(hall, given.digest, "too few persons").got == "1 of 2"
    ref = Ref("waiver", given.digest)
    with pytest.raises(NotAuthorised, match="signed it already"):
        waivers.countersign(hall.ws, ref, key="bob-2")
    assert hall.decides(at=NOW + 1).verdict is Verdict.HOLD
    assert waivers.countersign(hall.ws, ref, key="cy").persons == ("bob", "cy")
    assert hall.decides(at=NOW + 2).verdict is Verdict.PROMOTE
    assert verify(hall.ws, recompute=RECOMPUTE).ok


@pytest.mark.parametrize("key", ["ada", "machine"])
def test_releasers_and_machines_countersign_nothing(hall: Hall, held: Decision, key: str) -> None:
    given = hall.waives(held)
    with pytest.raises(NotAuthorised, match=r"their own release|only a person waives"):
        waivers.countersign(hall.ws, Ref("waiver", given.digest), key=key)


def test_only_a_waiver_is_countersigned(hall: Hall, held: Decision) -> None:
    with pytest.raises(NotFound, match="no such waiver"):
        waivers.countersign(hall.ws, held.ref, key="bob")


def test_persons_whom_the_policy_does_not_name_waive_nothing(workspace: Workspace) -> None:
    hall = Hall.of(workspace, approvers=["cy"])
    hall.tries(3)
    held = hall.decides()
    with pytest.raises(NotAuthorised, match="does not name bob"):
        hall.waives(held, "bob")
    assert lives(hall, hall.waives(held, "cy").digest)


def test_a_waiver_ends_by_time(hall: Hall, held: Decision) -> None:
    given = hall.waives(held)
    decision = hall.decides(at=NOW + 1)
    dies(hall, given.digest, "not in force", at=NOW - 1)
    dies(hall, given.digest, "not in force", at=LATER)
    assert hall.decides(at=LATER).verdict is Verdict.HOLD
    assert hall.decides(at=LATER - 1).payload["expires_ns"] == LATER
    assert decision.payload["expires_ns"] == LATER


@pytest.mark.parametrize(("hours", "episodes"), [(10, 0), (12, 0), (0, 100), (0, 101)])
def test_a_waiver_ends_by_hours_and_by_episodes(hall: Hall, held: Decision, hours: int, episodes: int) -> None:
    given = hall.waives(held)
    hall.approves(hall.decides(at=NOW + 1), now_ns=NOW + 1)
    signing.run_for(hall, 9, 99)
    hall.authorised(at=NOW + DAY)
    signing.run_for(hall, hours - 9 if hours else 0, episodes - 99 if episodes else 0, slot=RIGHT)
    what = "hours" if hours else "episodes"
    error = dies(hall, given.digest, f"the {what} of the waiver are used up", at=NOW + DAY)
    assert error.got == (f"{hours} of 10 h" if hours else f"{episodes} of 100")
    with pytest.raises(NotAuthorised, match="used up"):
        hall.authorised(at=NOW + DAY)


@pytest.mark.parametrize("limit", ["max_hours", "max_episodes"])
def test_only_the_limits_that_were_set_end_it(hall: Hall, held: Decision, limit: str) -> None:
    given = hall.waives(held, **{limit: None})
    signing.run_for(hall, 20 if limit == "max_hours" else 9, 200 if limit == "max_episodes" else 99)
    assert lives(hall, given.digest, NOW + DAY)


def test_what_ran_before_the_waiver_or_elsewhere_does_not_wear_it(hall: Hall, held: Decision) -> None:
    given = hall.waives(held, slots=(LEFT,))
    signing.run_for(hall, 24, 900, start=NOW - DAY)
    signing.run_for(hall, 24, 900, slot=RIGHT)
    signing.run_for(hall, 24, 900, start=NOW + DAY)
    record_exposure(hall.ws, Ref("release", "9" * 64), LEFT, (NOW, NOW + DAY), running_ns=DAY, episodes=900)
    assert lives(hall, given.digest, NOW + DAY)
    dies(hall, given.digest, "used up", NOW + DAY + 1)


def test_exposure_that_is_not_known_ends_it_until_it_is(hall: Hall, held: Decision) -> None:
    given = hall.waives(held)
    hall.approves(hall.decides(at=NOW + 1), now_ns=NOW + 1)
    hall.authorised(at=NOW + 1)
    signing.assign_by_hand(hall, LEFT, NOW + 2 * HOUR_NS)
    hall.authorised(at=NOW + 2 * HOUR_NS)
    error = dies(hall, given.digest, "exposure under a waiver is not known", at=NOW + 3 * HOUR_NS)
    assert error.got == f"{LEFT} since 2027-01-15T10:00:00Z"
    with pytest.raises(NotAuthorised, match="not known") as caught:
        hall.authorised(at=NOW + 3 * HOUR_NS)
    assert caught.value.hint == "worldgate fleet exposure"
    signing.run_for(hall, 0.5, 3, window_h=3)
    hall.authorised(at=NOW + 3 * HOUR_NS)


def test_a_waiver_of_what_is_not_known_covers_no_failure(hall: Hall, held: Decision) -> None:
    hall.waives(held)
    hall.tries(8, success=False, at=NOW + 10)
    worse = hall.decides(at=NOW + 100)
    assert worse.verdict is Verdict.REJECT
    assert worse.payload["waivers"] == []


def test_a_waiver_of_a_failure_covers_it(hall: Hall) -> None:
    hall.tries(8, success=False)
    rejected = hall.decides()
    assert rejected.verdict is Verdict.REJECT
    given = hall.waives(rejected)
    assert given.terms.status is Status.FAIL
    assert hall.decides(at=NOW + 1).verdict is Verdict.PROMOTE


def test_other_slots_stages_policies_and_releases_are_not_covered(hall: Hall, held: Decision) -> None:
    hall.waives(held, slots=(LEFT,))
    assert hall.decides(at=NOW + 1).verdict is Verdict.HOLD
    assert hall.decides(at=NOW + 1, slots=(LEFT,)).verdict is Verdict.PROMOTE
    other = signing.gate(hall.ws, name="another")
    assert hall.decides(at=NOW + 1, slots=(LEFT,), gate=other).verdict is Verdict.HOLD
    hall.waives(held, slots=(RIGHT,), stage="canary")
    assert hall.decides(at=NOW + 1, slots=(RIGHT,)).verdict is Verdict.HOLD
    twin = Ref("release", hall.ws.put_json({"schema": "worldgate/release/1", "weights": {"a": "b"}}), "r2")
    hall.ws.record("release.registered", body={"release": twin.digest}, outputs=(twin,), actor="ada")
    assert decide(hall.ws, hall.gate, twin, scope=Scope(slots=(LEFT,)), now_ns=NOW + 1).verdict is Verdict.HOLD


def test_a_waiver_withdrawn_ends_at_once_and_stays_so(hall: Hall, held: Decision) -> None:
    given = hall.waives(held)
    hall.approves(hall.decides(at=NOW + 1), now_ns=NOW + 1)
    hall.authorised(at=NOW + 1)
    persons.withdraw(hall.ws, Ref("waiver", given.digest), key="cy", reason="the guard left")
    with pytest.raises(NotAuthorised, match="withdrawn"):
        hall.authorised(at=NOW + 1)
    assert hall.decides(at=NOW + 2).verdict is Verdict.HOLD
    waivers.countersign(hall.ws, Ref("waiver", given.digest), key="cy")
    dies(hall, given.digest, "withdrawn")


def test_a_waiver_falls_with_its_key(hall: Hall, held: Decision) -> None:
    given = hall.waives(held)
    hall.approves(hall.decides(at=NOW + 1), key="cy", now_ns=NOW + 1)
    hall.authorised(at=NOW + 1)
    hall.ws.revoke_key(hall.ws.signer("bob").public_key.keyid, reason="lost")
    dies(hall, given.digest, "nobody signed")
    with pytest.raises(NotAuthorised, match="nobody signed"):
        hall.authorised(at=NOW + 1)


def test_of_several_waivers_the_one_that_ends_last_is_named(hall: Hall, held: Decision) -> None:
    hall.waives(held, expires_ns=NOW + DAY)
    last = hall.waives(held, expires_ns=NOW + 3 * DAY)
    hall.waives(held, expires_ns=NOW + 2 * DAY)
    decision = hall.decides(at=NOW + 1)
    assert decision.payload["waivers"] == [last.digest]
    assert decision.payload["expires_ns"] == NOW + 3 * DAY


def result(status: Status, *, check: str = "success", signal: str = "") -> CheckResult:
    return CheckResult(check=check, status=status, signal=signal, statistic="", estimate="", bound="", required="", n=1)


def test_a_result_that_cannot_be_told_from_another_is_not_waived() -> None:
    asked = [{"check": "success", "params": {"p0": p0}, "waivable": True} for p0 in ("0.5", "0.6")]
    rule = policy.read({"name": "q", "kind": "promotion", "checks": asked}, where="t")
    terms = {"check": "success", "signal": "", "status": "FAIL", "expires_ns": "5"}
    twice = [result(Status.FAIL), result(Status.PASS)]
    assert waivers.apply(rule, [("d" * 64, terms)], twice) == twice
    assert [r.waived for r in waivers.apply(rule, [("d" * 64, terms)], twice[:1])] == ["d" * 64]


def test_a_check_that_is_asked_twice_is_waivable_only_if_both_say_so() -> None:
    asked = [{"check": "success", "params": {"p0": p0}, "waivable": p0 == "0.5"} for p0 in ("0.5", "0.6")]
    rule = policy.read({"name": "q", "kind": "promotion", "checks": asked}, where="t")
    terms = {"check": "success", "signal": "", "status": "FAIL", "expires_ns": "5"}
    assert waivers.apply(rule, [("d" * 64, terms)], [result(Status.FAIL)])[0].waived == ""


def test_a_decision_with_two_such_results_answers_to_no_waiver(workspace: Workspace) -> None:
    asked = [{"check": "success", "params": {"p0": p0, "looks": [8]}, "waivable": True} for p0 in ("0.5", "0.51")]
    hall = Hall.of(workspace, checks=asked)
    hall.tries(3)
    with pytest.raises(UsageError, match="no such result"):
        hall.waives(hall.decides())


def test_a_waiver_by_hand_of_what_no_policy_lets_be_waived(workspace: Workspace) -> None:
    hall = Hall.of(workspace, checks=[{"check": "violations"}, {"check": "admitted"}])
    hall.tries(3)
    held = hall.decides()
    event = signing.forge(workspace, "waiver", signing.waiving(hall, held, check="violations"), key="bob")
    dies(hall, event.body["waiver"], "a waiver of a check that is not waived")
    assert hall.decides(at=NOW + 1).payload["waivers"] == []
    assert "not waived" in str(waivers.check_waiver(workspace, event))


@pytest.mark.parametrize(
    ("waived", "found", "counts"),
    [
        ("FAIL", Status.FAIL, True),
        ("FAIL", Status.INCONCLUSIVE, True),
        ("INCONCLUSIVE", Status.INCONCLUSIVE, True),
        ("INCONCLUSIVE", Status.FAIL, False),
        ("INCONCLUSIVE", Status.PASS, False),
        ("FAIL", Status.PASS, False),
    ],
)
def test_a_waiver_stands_in_for_its_status_or_a_lesser_one(waived: str, found: Status, counts: bool) -> None:
    rule = policy.read(
        {"name": "q", "kind": "promotion", "checks": [{"check": "success", "waivable": True}]}, where="t"
    )
    terms = {"check": "success", "signal": "", "status": waived, "expires_ns": "5"}
    (after,) = waivers.apply(rule, [("d" * 64, terms)], [result(found)])
    assert (after.waived, after.status) == ("d" * 64 if counts else "", found)
    for other in ({"check": "admitted"}, {"signal": "arm"}):
        (after,) = waivers.apply(rule, [("d" * 64, {**terms, **other})], [result(found)])
        assert after.waived == ""


def test_a_waiver_of_what_its_policy_does_not_let_be_waived_is_passed_over() -> None:
    rule = policy.read({"name": "q", "kind": "promotion", "checks": [{"check": "success"}]}, where="t")
    terms = {"check": "success", "signal": "", "status": "FAIL", "expires_ns": "5"}
    assert waivers.apply(rule, [("d" * 64, terms)], [result(Status.FAIL)]) == [result(Status.FAIL)]


FORGED: list[tuple[dict[str, Any], str]] = [
    ({"check": "admitted", "status": "PASS"}, "a result that the decision does not have"),
    ({"check": "violations"}, "a result that the decision does not have"),
    ({"status": "FAIL"}, "a result that the decision does not have"),
    ({"release": "9" * 64}, "another release or policy"),
    ({"policy": "9" * 64}, "another release or policy"),
    ({"slots": []}, "beyond the slots"),
    ({"slots": [LEFT, "kitchen/ur5/left"], "sites": ["bench", "kitchen"]}, "beyond the slots"),
    ({"sites": ["bench", "kitchen"]}, "beyond the slots"),
    ({"stage": "fleet"}, "beyond the slots"),
    ({"not_before_ns": NOW - 1}, "begins after its decision"),
    ({"expires_ns": NOW}, "begins after its decision"),
    ({"expires_ns": NOW + 90 * DAY + 1}, "lasts no longer"),
    ({"reason": ""}, "says why"),
    ({"control": ""}, "says why"),
    ({"max_hours": None, "max_episodes": None}, "so many hours"),
    ({"max_hours": 0}, "so many hours"),
]


@pytest.mark.parametrize(("changes", "why"), FORGED)
def test_a_waiver_written_by_hand_is_held_to_its_decision(
    hall: Hall, held: Decision, changes: dict[str, Any], why: str
) -> None:
    event = signing.forge(hall.ws, "waiver", signing.waiving(hall, held, **changes), key="bob")
    dies(hall, event.body["waiver"], why)
    assert hall.decides(at=NOW + 1).payload["waivers"] == []
    assert why in str(waivers.check_waiver(hall.ws, event))


def test_a_waiver_written_by_hand_that_is_right_counts(hall: Hall, held: Decision) -> None:
    event = signing.forge(hall.ws, "waiver", signing.waiving(hall, held), key="bob")
    assert lives(hall, event.body["waiver"])
    assert waivers.check_waiver(hall.ws, event) is None


def test_a_waiver_by_the_releaser_written_by_hand_counts_for_nothing(hall: Hall, held: Decision) -> None:
    event = signing.forge(hall.ws, "waiver", signing.waiving(hall, held), key="ada")
    assert dies(hall, event.body["waiver"], "too few persons").got == "0 of 1"
    assert "their own release" in str(waivers.check_waiver(hall.ws, event))


def test_a_waiver_from_before_its_decision_counts_for_nothing(hall: Hall, held: Decision) -> None:
    early = next(hall.ws.ledger.events())
    head = {"ledger": hall.ws.id, "seq": early.seq, "hash": early.hash}
    event = signing.forge(hall.ws, "waiver", signing.waiving(hall, held, ledger_head=head), key="bob")
    assert dies(hall, event.body["waiver"], "too few persons").got == "0 of 1"
    assert "before its decision" in str(waivers.check_waiver(hall.ws, event))


def test_a_waiver_whose_nonce_was_used_counts_for_nothing(hall: Hall, held: Decision) -> None:
    first = hall.waives(held)
    tree = signing.waiving(hall, held, nonce=first.terms.nonce)
    event = signing.forge(hall.ws, "waiver", tree, key="bob")
    dies(hall, event.body["waiver"], "too few persons")
    assert "nonce" in str(waivers.check_waiver(hall.ws, event))


def test_signed_nonsense_in_place_of_a_waiver_is_passed_over(hall: Hall, held: Decision) -> None:
    for body in ({"waiver": 5}, {"waiver": "7" * 64, "envelope": 5}, {}):
        hall.ws.record(WAIVED, body={**body, "release": hall.release.digest}, actor="bob")
    assert hall.decides(at=NOW + 1).verdict is Verdict.HOLD
    dies(hall, "7" * 64, "nobody signed")
    assert len(verify(hall.ws, recompute=RECOMPUTE).problems) == 3


def test_signed_nonsense_does_not_hide_a_waiver_that_holds(hall: Hall, held: Decision) -> None:
    hall.ws.record(WAIVED, body={"waiver": "0" * 64, "release": hall.release.digest}, actor="bob")
    given = hall.waives(held)
    assert hall.decides(at=NOW + 1).payload["waivers"] == [given.digest]


def test_a_policy_that_lost_its_document_ends_its_waivers(hall: Hall, held: Decision) -> None:
    given = hall.waives(held)
    hall.ws.store.path(hall.gate.digest).unlink()  # type: ignore[attr-defined]
    with pytest.raises(NotFound):
        waivers.standing(Known(hall.ws), given.digest, NOW)
