"""Trials: how a run is judged, kept, collected and imported."""

from __future__ import annotations

import dataclasses
from types import ModuleType

import pytest

from worldgate.core.errors import DataRefused
from worldgate.core.evidence import Trial
from worldgate.core.streams import Origin
from worldgate.evidence import scenarios, trials
from worldgate.evidence.scenarios import Envelope, Scenario, Suite
from worldgate.record.workspace import Workspace

SLOT = "bench/ur5/left"
NAN = float("nan")


def scenario(**changes: object) -> Scenario:
    fields: dict[str, object] = {
        "name": "cup",
        "site": "bench",
        "initial": {"cup_m": [0.1, 0.2]},
        "envelope": Envelope(clearance_m=0.1, force_n=50.0),
    }
    return Scenario(**{**fields, **changes})  # type: ignore[arg-type]


def run(fakes: ModuleType, facts: list[dict[str, float]], **changes: object) -> Trial:
    environment = fakes.FakeEnvironment(facts=facts)
    return trials.run_trial(
        fakes.FakePolicy(), environment, scenario(**changes), slot=SLOT, seed=1, max_steps=50, clock=lambda: 7
    )


GOOD = {"clearance_m": 0.5, "force_n": 3.0, "success": 0.0}


def test_a_clean_run_that_ends_in_success_succeeds(fakes: ModuleType) -> None:
    trial = run(fakes, [GOOD, {**GOOD, "clearance_m": 0.2}, {**GOOD, "success": 1.0}])
    assert (trial.success, trial.violations, trial.excluded, trial.executor) == (True, 0, "", Origin.REAL)
    assert trial.metrics == {"steps": 3.0, "least_clearance_m": 0.2, "largest_force_n": 3.0}


def test_success_that_is_lost_again_is_no_success(fakes: ModuleType) -> None:
    assert not run(fakes, [{**GOOD, "success": 1.0}, GOOD]).success


def test_each_entry_into_violation_counts_once(fakes: ModuleType) -> None:
    near, hard = {**GOOD, "clearance_m": 0.05}, {**GOOD, "force_n": 80.0}
    assert run(fakes, [GOOD, near, near, GOOD, near, hard]).violations == 3


@pytest.mark.parametrize(
    "facts",
    [
        [{"force_n": 1.0, "success": 1.0}],
        [GOOD, {**GOOD, "clearance_m": NAN, "success": 1.0}],
        [{**GOOD, "force_n": float("inf"), "success": 1.0}],
    ],
)
def test_a_run_whose_envelope_was_not_measured_is_excluded(fakes: ModuleType, facts: list[dict[str, float]]) -> None:
    assert "not measured" in run(fakes, facts).excluded


def test_an_envelope_without_limits_needs_no_measurements(fakes: ModuleType) -> None:
    assert run(fakes, [{"success": 1.0}], envelope=Envelope()).excluded == ""


def test_a_changed_limit_is_another_scenario() -> None:
    assert scenario().digest != scenario(envelope=Envelope(clearance_m=0.2, force_n=50.0)).digest
    assert Scenario.from_json(scenario().to_json()) == scenario()


def test_recorded_trials_come_back_in_order_and_each_once(workspace: Workspace, fakes: ModuleType) -> None:
    base = run(fakes, [{**GOOD, "success": 1.0}])
    many = [dataclasses.replace(base, seed=s, started_ns=100 + s) for s in (5, 3, 9)]
    trials.record_trials(workspace, many, chosen_by=fakes.digest("world"))
    trials.record_trials(workspace, many[:1], chosen_by=fakes.digest("world"))
    other = dataclasses.replace(base, release=fakes.digest("other"))
    trials.record_trials(workspace, [other])
    head = workspace.ledger.head().seq
    found = trials.read_list(trials.collect(workspace, base.release, upto_seq=head))
    assert [t.trial for t in found] == many
    assert {t.chosen_by for t in found} == {fakes.digest("world")}


def test_a_list_of_trials_stands_as_the_ledger_did_at_a_sequence(workspace: Workspace, fakes: ModuleType) -> None:
    base = run(fakes, [GOOD])
    trials.record_trials(workspace, [dataclasses.replace(base, seed=s) for s in (1, 2, 3)])
    before_the_last = workspace.ledger.head().seq - 1
    tree = trials.collect(workspace, base.release, upto_seq=before_the_last)
    assert [t.trial.seed for t in trials.read_list(tree)] == [1, 2]


def test_scenarios_and_suites_are_kept_under_their_digests(workspace: Workspace) -> None:
    ref = scenarios.register(workspace, scenario(source="incident", incident="i-1"))
    suite = Suite(name="gate", role="gate-holdout", scenarios=(ref.digest,))
    assert scenarios.register_suite(workspace, suite).digest == suite.digest
    assert scenarios.load(workspace, ref.digest).incident == "i-1"
    head = workspace.ledger.head().seq
    assert scenarios.incident_scenarios(workspace, upto_seq=head) == [
        {"scenario": ref.digest, "name": "cup", "site": "bench"}
    ]
    assert scenarios.incident_scenarios(workspace, upto_seq=head - 2) == []


def test_a_list_of_another_form_is_refused() -> None:
    with pytest.raises(DataRefused, match="not a list of trials"):
        trials.read_list({"schema": "worldgate/trials/1", "trials": []})
