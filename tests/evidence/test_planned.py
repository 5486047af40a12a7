"""What came of a plan: nothing that was not planned counts as a success, whatever it says."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.evidence.promotions import SLOT, came_of, imagined_plan

from worldgate.core import seams
from worldgate.core.evidence import CheckResult, Status, Trial
from worldgate.core.streams import Origin
from worldgate.evidence import planned
from worldgate.evidence.gate_evidence import GateEvidence
from worldgate.evidence.planned import Planned
from worldgate.evidence.plans import Row
from worldgate.evidence.trials import RecordedTrial


def check(name: str, given: Planned | None, **params: Any) -> tuple[CheckResult, ...]:
    module = seams.load("gates", name)
    trials = tuple(run.trial for run in given.runs) if given else ()
    evidence = GateEvidence(subject="6" * 64, sites=("bench",), now_ns=10, planned=given, trials=trials)
    found: tuple[CheckResult, ...] = module.check(module.Config(**params), evidence)
    return found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"early": True}, "on the ledger before its plan"),
        ({"started_ns": 0}, "begun before its plan"),
        ({"release": "f" * 64}, "another release"),
        ({"scenario": "f" * 64}, "not the scene, seed or arm"),
        ({"seed": 99}, "not the scene, seed or arm"),
        ({"slot": "bench/ur5/right"}, "not the scene, seed or arm"),
        ({"executor": Origin.IMAGINED}, "imagined, planned real"),
    ],
)
def test_a_trial_that_is_not_the_planned_one_fails_its_row(changes: dict[str, Any], words: str) -> None:
    found = came_of(imagined_plan(5), lambda n, _: dict(changes) if n == 3 else {})
    assert [run.success for run in found.runs] == [True, True, None, True, True]
    assert words in found.runs[2].problems[0]
    assert found.successes().counted(0)[2] == 0
    assert found.clean().counted(0)[2] == 0


def made(number: int, plan: Any, **changes: Any) -> RecordedTrial:
    row = plan.rows[number - 1]
    fields: dict[str, Any] = {
        "scenario": row.scenario, "release": plan.release, "executor": Origin.REAL, "slot": SLOT, "seed": row.seed,
        "success": True, "violations": 0, "started_ns": 5, "plan": "a" * 64, "row": number,
    }  # fmt: skip
    trial = Trial(**{**fields, **changes})
    return RecordedTrial(digest=format(abs(hash(repr(trial))), "064x")[:64], trial=trial, chosen_by="")


def test_a_row_run_again_after_a_failure_stays_a_failure() -> None:
    plan = imagined_plan(3)
    failed, again = made(1, plan, success=False), made(1, plan)
    found = planned.read(plan, "a" * 64, [failed, again, made(2, plan), made(3, plan)], attempt=1)
    assert [run.success for run in found.runs] == [None, True, True]
    assert found.runs[0].problems == ("run 2 times",)


def test_a_violation_stands_in_whichever_run_of_the_row_it_happened() -> None:
    plan = imagined_plan(1)
    found = planned.read(plan, "a" * 64, [made(1, plan), made(1, plan, violations=2)], attempt=1)
    assert found.runs[0].clean is False


def test_a_recording_stands_for_one_row_only() -> None:
    plan = imagined_plan(3)
    log = "b" * 64
    given = [made(1, plan, log=log), made(2, plan, log=log), made(3, plan, log="c" * 64)]
    found = planned.read(plan, "a" * 64, given, attempt=1)
    assert [run.success for run in found.runs] == [None, None, True]


def test_rows_are_read_up_to_the_first_without_a_trial() -> None:
    plan = imagined_plan(5)
    given = [made(n, plan) for n in (1, 2, 4, 5)]
    found = planned.read(plan, "a" * 64, given, attempt=1)
    assert [run.number for run in found.runs] == [1, 2]
    assert (found.waiting, found.beyond) == (3, 2)
    whole = planned.read(plan, "a" * 64, [*given, made(3, plan)], attempt=1)
    assert (whole.waiting, whole.beyond, len(whole.runs)) == (0, 0, 5)


def test_trials_of_another_plan_are_passed_over() -> None:
    plan = imagined_plan(2)
    other = dataclasses.replace(made(1, plan), trial=dataclasses.replace(made(1, plan).trial, plan="d" * 64))
    assert planned.read(plan, "a" * 64, [other], attempt=1).runs == ()


def test_an_exclusion_counts_as_a_failure_and_is_told_both_ways() -> None:
    found = came_of(imagined_plan(20), lambda n, _: {"excluded": "camera"} if n <= 2 else {})
    (result,) = check("success", found, p0="0.5", looks=(20,))
    assert (result.status, result.estimate, result.n) == (Status.PASS, "0.9", 20)
    assert "2 excluded, unplanned or unmeasured runs count as failures, 18 of 18 without them" in result.detail


def test_without_a_plan_or_with_a_worn_suite_nothing_passes() -> None:
    good = came_of(imagined_plan(100, baseline=True, strata=("dim", "bright")), lambda n, _: {}, attempt=2)
    assert good.worn
    for name in ("success", "violations", "strata", "not_worse", "exceedance"):
        for given, words in ((None, "needs a plan"), (good, "worn out")):
            found = check(name, given)
            assert {r.status for r in found} == {Status.INCONCLUSIVE}
            assert all(words in r.detail for r in found)


def test_each_attempt_spends_its_part_of_alpha() -> None:
    alone = check("violations", came_of(imagined_plan(100), lambda n, _: {}))[0]
    third = check("violations", came_of(imagined_plan(100, attempts=3), lambda n, _: {}))[0]
    assert (alone.status, alone.n) == (Status.PASS, 59)
    assert (third.status, third.n) == (Status.PASS, 80), "0.95^80 is the first below 0.05 / 3"


def test_one_bad_stratum_of_two_fails_though_the_whole_would_pass() -> None:
    plan = imagined_plan(100, strata=("dim", "bright"))

    def outcome(number: int, row: Row) -> dict[str, Any]:
        return {"success": row.strata["condition"] == "bright" or number % 10 not in (2, 4, 6)}

    found = came_of(plan, outcome)
    whole = check("success", found, p0="0.60")[0]
    assert whole.status is Status.PASS
    by = {r.signal: r.status for r in check("strata", found, p0="0.60")}
    assert by["condition=bright"] is Status.PASS
    assert by["condition=dim"] is not Status.PASS


def test_a_stratum_without_enough_scenes_or_none_at_all_is_inconclusive() -> None:
    few = came_of(imagined_plan(4, strata=("dim", "bright")), lambda n, _: {})
    assert {r.status for r in check("strata", few)} == {Status.INCONCLUSIVE}
    assert "needs 10 scenes in the plan, which has 2" in check("strata", few)[0].detail
    none = came_of(imagined_plan(30), lambda n, _: {})
    assert "no scene of the plan says its condition" in check("strata", none)[0].detail
    named = came_of(imagined_plan(30, strata=("dim",)), lambda n, _: {})
    found = {r.signal: r.status for r in check("strata", named, values=("dim", "glare"))}
    assert found == {"condition=dim": Status.PASS, "condition=glare": Status.INCONCLUSIVE}


def test_a_new_release_that_loses_pairs_is_found_and_one_that_does_not_passes() -> None:
    plan = imagined_plan(200, baseline=True)
    good = check("not_worse", came_of(plan, lambda n, row: {}), margin="0.10")[0]
    assert good.status is Status.PASS and float(good.bound) > -0.1

    def loses(number: int, row: Row) -> dict[str, Any]:
        return {"success": row.side == "old" or row.pair % 4 > 0}

    bad = check("not_worse", came_of(plan, loses), margin="0.10")[0]
    assert bad.status is Status.FAIL and "lost" in bad.detail


def test_pairs_are_asked_by_stratum_and_need_a_baseline() -> None:
    plan = imagined_plan(200, baseline=True, strata=("dim", "bright"))

    def loses(number: int, row: Row) -> dict[str, Any]:
        return {"success": row.side == "old" or row.strata["condition"] == "bright" or row.pair % 3 > 0}

    by = {r.signal: r.status for r in check("not_worse", came_of(plan, loses), by="condition", margin="0.15")}
    assert by == {"condition=bright": Status.PASS, "condition=dim": Status.FAIL}
    alone = check("not_worse", came_of(imagined_plan(10), lambda n, _: {}))[0]
    assert "needs a plan with a baseline" in alone.detail
    unnamed = check("not_worse", came_of(imagined_plan(10, baseline=True), lambda n, _: {}), by="condition")[0]
    assert "says its condition" in unnamed.detail
    none = check("not_worse", came_of(imagined_plan(10, baseline=True), lambda n, _: {}, rows=0))[0]
    assert "needs pairs: 10 are planned" in none.detail


def test_a_pair_that_says_nothing_counts_against_the_new() -> None:
    plan = imagined_plan(60, baseline=True)
    found = came_of(plan, lambda n, row: {"excluded": "camera"} if row.pair == 3 else {})
    pair = found.pairs()[2]
    assert pair.excluded and pair.difference == -1
    assert "1 excluded or unplanned pairs count against the new" in check("not_worse", found)[0].detail


def test_a_quantity_beyond_its_limit_or_not_measured_counts_against_it() -> None:
    plan = imagined_plan(40)
    close = came_of(plan, lambda n, _: {"metrics": {"least_clearance_m": 0.2}})
    assert check("exceedance", close)[0].status is Status.PASS
    assert check("exceedance", close, limit="0.2")[0].status is Status.PASS, "at the limit is not beyond it"
    assert check("exceedance", close, limit="0.3")[0].status is Status.FAIL
    assert check("exceedance", close, limit="0.1", bad="above")[0].status is Status.FAIL
    silent = came_of(plan, lambda n, _: {})
    found = check("exceedance", silent)[0]
    assert found.status is Status.FAIL and "40 excluded, unplanned or unmeasured" in found.detail


def test_a_tripwire_must_pass_and_enters_no_bound() -> None:
    plan = imagined_plan(59, wires=1)
    good = came_of(plan, lambda n, _: {})
    assert len(list(good.tripwires())) == 1
    assert check("violations", good)[0].n == 59
    assert check("incidents", good)[0].status is Status.PASS
    tripped = came_of(plan, lambda n, row: {"success": not row.tripwire})
    assert check("success", tripped, looks=(59,))[0].status is Status.PASS
    assert check("incidents", tripped)[0].status is Status.FAIL


def test_a_limit_of_looks_that_no_number_of_scenes_could_pass_is_inconclusive() -> None:
    found = check("success", came_of(imagined_plan(5), lambda n, _: {}), looks=(5,))[0]
    assert (found.status, found.n) == (Status.INCONCLUSIVE, 0)
    assert "5 scenes are too few" in found.detail
