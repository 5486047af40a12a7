"""Trials that somebody else ran: what is refused before anything is recorded."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.streams import Origin
from worldgate.evidence import intake, scenarios, trials
from worldgate.evidence.intake import Intake
from worldgate.evidence.plans import EvalPlan, Row
from worldgate.evidence.plans import register as register_plan
from worldgate.evidence.scenarios import Envelope, OracleSpec, Scenario, Suite
from worldgate.evidence.told import Entry, Told
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

SLOT = "bench/ur5/left"
NOW = 10_000
RELEASE, OLD, PLAN = "a" * 64, "c" * 64, "d" * 64
CUP = Scenario(
    name="cup", site="bench", initial={"x": 1}, envelope=Envelope(clearance_m=0.1),
    oracles=(OracleSpec(oracle="time", params={"limit_s": 9.0}),),
)  # fmt: skip
BOWL = Scenario(name="bowl", site="bench", initial={"x": 2})
LISTED = {CUP.digest: CUP, BOWL.digest: BOWL}


def entry(**changes: Any) -> Entry:
    fields: dict[str, Any] = {
        "where": "t.csv:2", "scenario": "cup", "slot": SLOT, "success": True, "violations": 0, "started_ns": 1_000,
        "seed": 5,
    }  # fmt: skip
    return Entry(**{**fields, **changes})


def held(**changes: Any) -> Intake:
    fields = {"release": RELEASE, "listed": LISTED, "origin": Origin.REAL, "now_ns": NOW}
    return Intake(**{**fields, **changes})


def check(*entries: Entry, told: dict[str, Any] | None = None, **changes: Any) -> Any:
    return intake.check(Told(entries=entries, **(told or {})), held(**changes))


def test_a_good_file_becomes_trials_in_its_order() -> None:
    first, second = check(entry(metrics={"least_clearance_m": 0.3}), entry(scenario=BOWL.digest, violations=1))
    assert (first.scenario, first.release, first.executor, first.slot, first.seed) == (
        CUP.digest, RELEASE, Origin.REAL, SLOT, 5,
    )  # fmt: skip
    assert (first.metrics, first.excluded, first.plan, first.row) == ({"least_clearance_m": 0.3}, "", "", 0)
    assert (second.scenario, second.violations) == (BOWL.digest, 1)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"scenario": "plate"}, "no such scenario"),
        ({"scenario": "f" * 64}, "no such scenario"),
        ({"slot": ""}, "a slot is"),
        ({"slot": "../ur5/left"}, "usable name"),
        ({"slot": "kitchen/ur5/left"}, "another site"),
        ({"started_ns": 0}, "that is past"),
        ({"started_ns": -5}, "that is past"),
        ({"started_ns": NOW + intake.SLACK_NS + 1}, "that is past"),
        ({"log": "run.mcap"}, "log is a digest"),
        ({"metrics": {"least_clearance_mm": 300.0}}, "no oracle of this scenario"),
        ({"metrics": {"largest_force_n": 3.0}}, "no oracle of this scenario"),
        ({"metrics": {"least_clearance_m": 300.0}}, "plausible"),
        ({"metrics": {"least_clearance_m": float("nan")}}, "plausible"),
        ({"metrics": {"least_clearance_m": 0.05}}, "contradict"),
        ({"metrics": {"least_clearance_m": 0.5}, "violations": 2}, "contradict"),
        ({"row": 1}, "no plan"),
        ({"scenario": "bowl", "metrics": {"least_clearance_m": 1.0}}, "no oracle of this scenario"),
    ],
)
def test_an_entry_that_does_not_fit_is_refused_with_its_place(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(DataRefused, match=match) as caught:
        check(entry(scenario="bowl"), entry(where="t.csv:3", **changes))
    assert caught.value.where == "t.csv:3"


def test_violations_without_a_figure_are_taken_as_they_were_counted() -> None:
    (trial,) = check(entry(violations=2, metrics={"until_success_s": 4.0}))
    assert (trial.violations, trial.metrics) == (2, {"until_success_s": 4.0})


def test_a_file_that_measures_no_envelope_is_excluded_where_there_is_one() -> None:
    limited, free = check(entry(violations=None), entry(scenario="bowl", violations=None))
    assert limited.excluded and not free.excluded
    (told,) = check(entry(violations=None, excluded="camera"))
    assert told.excluded == "camera"


def test_the_same_run_twice_is_refused_whatever_its_outcome() -> None:
    with pytest.raises(DataRefused, match="there already"):
        check(entry(), entry(success=False, where="t.csv:3"))
    known = frozenset({(CUP.digest, SLOT, 5, 1_000)})
    with pytest.raises(DataRefused, match="there already"):
        check(entry(success=False), known=known)
    assert len(check(entry(), entry(started_ns=2_000))) == 2


def test_a_file_that_ran_elsewhere_is_refused() -> None:
    assert check(entry(), told={"origin": Origin.REAL})
    with pytest.raises(DataRefused, match="ran elsewhere"):
        check(entry(), told={"origin": Origin.SIMULATED})


def plan(**changes: Any) -> EvalPlan:
    def row(scenario: Scenario, seed: int, side: str = "new") -> Row:
        return Row(scenario=scenario.digest, seed=seed, slot=SLOT, side=side, pair=seed)  # type: ignore[arg-type]

    fields: dict[str, Any] = {
        "name": "plan", "policy": "1" * 64, "release": RELEASE, "baseline": OLD, "suite": "2" * 64,
        "executor": Origin.REAL, "slots": (SLOT,), "pairs": 2, "attempt": 1, "attempts": 1, "registered_ns": 500,
        "rows": (row(CUP, 5), row(CUP, 5, "old"), row(BOWL, 6)),
    }  # fmt: skip
    return EvalPlan(**{**fields, **changes})


def planned(*entries: Entry, **changes: Any) -> Any:
    return check(*entries, **{"plan": plan(), "plan_digest": PLAN, **changes})


def test_a_trial_takes_the_row_that_fits() -> None:
    (new,) = planned(entry())
    assert (new.plan, new.row) == (PLAN, 1)
    (old,) = planned(entry(), release=OLD)
    assert old.row == 2
    (named,) = planned(entry(scenario="bowl", seed=6, row=3))
    assert named.row == 3


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"started_ns": 499}, "before its plan"),
        ({"seed": 7}, "no row of the plan"),
        ({"row": 2}, "no row of the plan"),
        ({"row": 9}, "no row of the plan"),
        ({"slot": "bench/ur5/right"}, "no row of the plan"),
    ],
)
def test_a_trial_off_its_plan_is_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(DataRefused, match=match):
        planned(entry(**changes))


def test_a_row_is_run_once() -> None:
    with pytest.raises(DataRefused, match="no row of the plan"):
        planned(entry(), entry(started_ns=2_000))
    with pytest.raises(DataRefused, match="no row of the plan"):
        planned(entry(), taken=frozenset({(PLAN, 1)}))


def test_a_seed_that_a_file_does_not_tell_is_the_rows_on_a_robot_and_nobodys_in_a_simulator() -> None:
    (real,) = planned(entry(seed=None))
    assert real.seed == 5
    (simulated,) = planned(
        entry(seed=None, where="log.json:samples.0.epochs.7"), plan=plan(executor=Origin.SIMULATED),
        origin=Origin.SIMULATED,
    )  # fmt: skip
    assert simulated.seed == 7
    (free,) = check(entry(seed=None, where="here"))
    assert free.seed == 0


@pytest.fixture
def suite(workspace: Workspace) -> Suite:
    for scenario in (CUP, BOWL):
        scenarios.register(workspace, scenario)
    digests = tuple(scenarios.check(one).digest for one in (CUP, BOWL))
    held = Suite(name="gate", role="gate-holdout", scenarios=digests)
    scenarios.register_suite(workspace, held)
    return held


def test_what_was_imported_is_on_the_ledger_with_its_file(workspace: Workspace, suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("the file")
    found = intake.intake_of(workspace, release=RELEASE, suite=suite, origin=Origin.REAL)
    refs = intake.record(workspace, tmp_path / "t.csv", intake.check(Told(entries=(entry(),)), found))
    (event,) = workspace.ledger.events(intake.IMPORTED)
    assert event.body["trials"] == [ref.digest for ref in refs]
    assert workspace.store.get(str(event.body["file"])) == b"the file"
    tree = trials.collect(workspace, RELEASE, upto_seq=workspace.ledger.head().seq)
    assert [t.trial.seed for t in trials.read_list(tree)] == [5]
    again = intake.intake_of(workspace, release=RELEASE, suite=suite, origin=Origin.REAL)
    with pytest.raises(DataRefused, match="there already"):
        intake.check(Told(entries=(entry(success=False),)), again)


def test_a_plan_of_something_else_is_refused(workspace: Workspace, suite: Suite) -> None:
    listed = [dataclasses.replace(r, scenario=suite.scenarios[i]) for i, r in zip((0, 0, 1), plan().rows, strict=True)]
    good = register_plan(workspace, plan(suite=suite.digest, rows=tuple(listed)))

    def ask(**changes: Any) -> Intake:
        fields: dict[str, Any] = {"release": RELEASE, "suite": suite, "origin": Origin.REAL, "plan": good}
        return intake.intake_of(workspace, **{**fields, **changes})

    assert ask().plan_digest == good.digest
    assert ask(release=OLD).plan is not None
    other = register_plan(workspace, plan(suite="9" * 64, rows=tuple(listed)))
    for changes in ({"release": "e" * 64}, {"origin": Origin.SIMULATED}, {"plan": other}):
        with pytest.raises(UsageError, match="a plan of another"):
            ask(**changes)
    found = intake.check(Told(entries=(entry(),)), ask())
    trials.record_trials(workspace, found)
    assert (good.digest, 1) in ask().taken


def test_a_file_that_names_other_weights_is_refused(workspace: Workspace) -> None:
    release = Ref("release", workspace.put_json({"weights": {"p.safetensors": "b" * 64}}))
    for named in ("", "hf/openvla@main", "b" * 64, release.digest):
        intake.check_checkpoint(workspace, Told(entries=(), checkpoint=named), release.digest)
    with pytest.raises(DataRefused, match="another checkpoint"):
        intake.check_checkpoint(workspace, Told(entries=(), checkpoint="0" * 64), release.digest)
