"""Decisions: what they say, what they rest on, and that nothing can be left out or slipped in."""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any

import pytest
from tests.evidence import promotions
from tests.evidence.held_out import frozen

from worldgate.core.digest import canonical
from worldgate.core.errors import Tampered, UsageError
from worldgate.core.evidence import Status, Trial, Verdict
from worldgate.core.streams import Origin
from worldgate.core.worlds import Signal
from worldgate.evidence import plans, policy, scenarios, trials
from worldgate.evidence.decide import DAY_NS, Decision, Scope, decide, put_evidence
from worldgate.evidence.gap import gap
from worldgate.evidence.gap_report import GapConfig, merge
from worldgate.evidence.gate_evidence import TrainingRecord
from worldgate.evidence.recompute import RECOMPUTE, recompute
from worldgate.evidence.scenarios import Scenario
from worldgate.record.events import Ref
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

STATE = "observation.state"
SLOT = "bench/ur5/left"
NOW = 1_800_000_000_000_000_000


def model_ref(fakes: ModuleType) -> Ref:
    return Ref("world_model", fakes.spec().digest)


def training(fakes: ModuleType, *episodes: str, **changes: Any) -> TrainingRecord:
    record = TrainingRecord.of_model(fakes.spec(), episodes=episodes or (fakes.digest("train"),), origin=Origin.REAL)
    return dataclasses.replace(record, **changes)


def admit(
    ws: Workspace,
    fakes: ModuleType,
    *,
    name: str = "admission",
    origin: Origin = Origin.REAL,
    site: str = "bench",
    record: TrainingRecord | None = None,
    **model: Any,
) -> Decision:
    episodes = [fakes.episode(i, origin=origin) for i in range(16)]
    report = gap(fakes.FakeModel(**{"noise": 0.001, **model}), episodes, GapConfig(windows=4, epsilon={STATE: 0.05}))
    put_evidence(ws, record or training(fakes))
    ref = policy.register(ws, policy.load(name))
    return decide(
        ws, ref, model_ref(fakes), [put_evidence(ws, frozen(ws, report))], scope=Scope(sites=(site,)), now_ns=NOW
    )


def status(decision: Decision, check: str) -> set[Status]:
    return {c.status for c in decision.checks if c.check == check}


def test_a_good_model_is_admitted_up_to_its_horizon(workspace: Workspace, fakes: ModuleType) -> None:
    found = admit(workspace, fakes)
    assert found.verdict is Verdict.ADMIT and found.passed
    assert found.payload["admitted"] == [{"signal": STATE, "unit": "m", "epsilon": 0.05, "horizon_s": 1.0, "steps": 10}]
    assert found.payload["expires_ns"] == NOW + 90 * DAY_NS
    assert any("16 episodes" in note and "skewed" in note for note in found.payload["notes"])


def test_a_model_that_ignores_its_actions_is_rejected(workspace: Workspace, fakes: ModuleType) -> None:
    found = admit(workspace, fakes, gain=0.0)
    assert found.verdict is Verdict.REJECT and not found.passed
    assert status(found, "action_sensitivity") == {Status.FAIL}
    assert found.payload["admitted"] == []


def test_a_model_that_gives_nan_is_rejected(workspace: Workspace, fakes: ModuleType) -> None:
    assert admit(workspace, fakes, broken=True).verdict is Verdict.REJECT


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"normaliser": "f" * 64}, "normaliser"),
        ({"dataset": "f" * 64}, "dataset"),
        ({"signals": (Signal(name=STATE, unit="cm", names=("x", "y"), shape=(2,)),)}, "trained in cm"),
        ({"signals": (Signal(name=STATE, unit="m", names=("y", "x"), shape=(2,)),)}, "other channel names"),
        ({"signals": (Signal(name=STATE, unit="m", frame="base", names=("x", "y"), shape=(2,)),)}, "trained in base"),
    ],
)
def test_a_model_fed_otherwise_than_trained_is_rejected_by_name(
    workspace: Workspace, fakes: ModuleType, changes: dict[str, Any], words: str
) -> None:
    found = admit(workspace, fakes, record=training(fakes, **changes))
    assert found.verdict is Verdict.REJECT
    assert any(words in c.detail for c in found.checks if c.status is Status.FAIL)


def test_a_model_judged_on_its_training_episodes_is_rejected(workspace: Workspace, fakes: ModuleType) -> None:
    found = admit(workspace, fakes, record=training(fakes, fakes.episode(3).id))
    assert found.verdict is Verdict.REJECT
    assert "episode_000003" in next(c.detail for c in found.checks if c.status is Status.FAIL)


def test_a_model_judged_on_a_training_log_aligned_anew_is_rejected(workspace: Workspace, fakes: ModuleType) -> None:
    found = admit(workspace, fakes, record=training(fakes, logs=(fakes.episode(3).log,)))
    assert found.verdict is Verdict.REJECT
    assert "the log of episode_000003" in next(c.detail for c in found.checks if c.status is Status.FAIL)


@pytest.mark.parametrize("known", [True, False])
def test_a_report_that_leaves_out_held_out_episodes_holds(workspace: Workspace, fakes: ModuleType, known: bool) -> None:
    shown = [fakes.episode(i) for i in range(20)]
    whole = gap(fakes.FakeModel(noise=0.001), shown, GapConfig(windows=4, epsilon={STATE: 0.05}))
    whole = frozen(workspace, whole) if known else whole
    best = dataclasses.replace(whole, episodes=whole.episodes[4:])
    workspace.record("dataset.snapshot", body={})  # of nothing
    put_evidence(workspace, training(fakes))
    gate = policy.register(workspace, policy.load("admission"))
    scope = Scope(sites=("bench",))
    found = [
        decide(workspace, gate, model_ref(fakes), [put_evidence(workspace, report)], scope=scope, now_ns=NOW)
        for report in (whole, best)
    ]
    assert [d.verdict for d in found] == [Verdict.ADMIT if known else Verdict.HOLD, Verdict.HOLD]
    said = " ".join(found[1].payload["missing"])
    assert ("left out: episode_000000, episode_000001, episode_000002 and 1 more" if known else "on the ledger") in said
    assert verify(workspace, recompute=RECOMPUTE).ok


def test_episodes_of_another_dataset_than_the_report_names_hold(workspace: Workspace, fakes: ModuleType) -> None:
    config = GapConfig(windows=4, epsilon={STATE: 0.05})
    few = frozen(workspace, gap(fakes.FakeModel(noise=0.001), [fakes.episode(i) for i in range(15)], config))
    more = gap(fakes.FakeModel(noise=0.001), [fakes.episode(i) for i in range(16)], config, dataset=few.dataset)
    put_evidence(workspace, training(fakes))
    gate = policy.register(workspace, policy.load("admission"))
    scope = Scope(sites=("bench",))
    found = decide(workspace, gate, model_ref(fakes), [put_evidence(workspace, more)], scope=scope, now_ns=NOW)
    assert found.verdict is Verdict.HOLD
    assert "episode_000015 is not of dataset" in " ".join(found.payload["missing"])


def test_leave_one_out_handed_in_as_its_own_is_rejected(workspace: Workspace, fakes: ModuleType) -> None:
    folds = []
    for i in range(16):
        model = fakes.FakeModel(spec=fakes.spec(digest=fakes.digest(f"fold {i}")), noise=0.001)
        folds.append(gap(model, [fakes.episode(i)], GapConfig(windows=4), donors=[fakes.episode(99)]))
    report = dataclasses.replace(merge(folds, subject=fakes.spec()), cross_validated=False)
    put_evidence(workspace, training(fakes))
    gate = policy.register(workspace, policy.load("admission"))
    scope = Scope(sites=("bench",))
    found = decide(workspace, gate, model_ref(fakes), [put_evidence(workspace, report)], scope=scope, now_ns=NOW)
    assert found.verdict is Verdict.REJECT
    assert any("predicted by another model" in c.detail for c in found.checks)
    assert verify(workspace, recompute=RECOMPUTE).ok


def test_simulated_episodes_hold_under_a_policy_that_does_not_name_them(
    workspace: Workspace, fakes: ModuleType
) -> None:
    found = admit(workspace, fakes, origin=Origin.SIMULATED)
    assert found.verdict is Verdict.HOLD
    assert any("16 simulated episodes do not count" in note for note in found.payload["notes"])


def test_simulated_episodes_count_where_the_policy_names_them_and_the_decision_says_so(
    workspace: Workspace, fakes: ModuleType
) -> None:
    found = admit(workspace, fakes, origin=Origin.SIMULATED, name="admission-simulated")
    assert found.verdict is Verdict.ADMIT
    assert found.payload["population"] == "simulated stands in for real"
    assert "says nothing about real arms" in found.payload["notes"][0]


def test_imagined_episodes_count_under_no_policy(workspace: Workspace, fakes: ModuleType) -> None:
    assert admit(workspace, fakes, origin=Origin.IMAGINED, name="admission-simulated").verdict is Verdict.HOLD


def test_a_site_without_episodes_is_not_admitted(workspace: Workspace, fakes: ModuleType) -> None:
    assert admit(workspace, fakes, site="kitchen").verdict is Verdict.HOLD


def test_leave_one_out_reports_count_only_where_the_policy_names_them(workspace: Workspace, fakes: ModuleType) -> None:
    folds = []
    for i in range(16):
        model = fakes.FakeModel(spec=fakes.spec(digest=fakes.digest(f"fold {i}")), noise=0.001)
        config = GapConfig(windows=4, epsilon={STATE: 0.05})
        folds.append(gap(model, [fakes.episode(i)], config, donors=[fakes.episode(99)]))
    evidence = [put_evidence(workspace, frozen(workspace, merge(folds, subject=fakes.spec())))]
    put_evidence(workspace, training(fakes))
    plain = policy.load("admission")
    named = dataclasses.replace(plain, cross_validation=True)
    said = []
    for each in (plain, named):
        ref = policy.register(workspace, each)
        said.append(decide(workspace, ref, model_ref(fakes), evidence, scope=Scope(sites=("bench",)), now_ns=NOW))
    assert [d.verdict for d in said] == [Verdict.HOLD, Verdict.ADMIT]
    assert "judge the recipe" in " ".join(said[1].payload["notes"])


def test_evidence_about_another_model_is_refused(workspace: Workspace, fakes: ModuleType) -> None:
    report = gap(fakes.FakeModel(), [fakes.episode(i) for i in range(3)], GapConfig(windows=1))
    ref = policy.register(workspace, policy.load("admission"))
    with pytest.raises(UsageError, match="another world model"):
        other = Ref("world_model", fakes.digest("other"))
        decide(workspace, ref, other, [put_evidence(workspace, report)], scope=Scope(sites=("bench",)), now_ns=NOW)


# ---- promotion ------------------------------------------------------------------------------------------------------


def release(ws: Workspace, fakes: ModuleType, *, normaliser: str = "") -> Ref:
    manifest = {
        "schema": "worldgate/release/1",
        "weights": {"policy.safetensors": fakes.digest("weights")},
        "normaliser": normaliser or fakes.spec().normaliser,
        "dataset": fakes.spec().dataset,
        "observation": [{"name": STATE, "unit": "m", "names": ["x", "y"], "shape": [2]}],
        "action": {"name": "action", "unit": "m", "names": [], "shape": [2]},
    }
    ref = Ref("release", ws.put_json(manifest), "r1")
    ws.record("release.registered", body={"release": ref.digest}, outputs=(ref,))
    put_evidence(ws, training(fakes, subject=fakes.digest("weights")))
    return ref


def run(
    ws: Workspace,
    ref: Ref,
    outcomes: list[bool],
    *,
    name: str = "promotion",
    origin: Origin = Origin.REAL,
    **changes: Any,
) -> None:
    """Run the next rows of the release's plan, which is made if there is none."""
    event = plans.newest(ws, ref.digest, ["bench"], upto_seq=ws.ledger.head().seq)
    if event is None:
        gate = policy.register(ws, policy.load(name))
        made = promotions.plan(ws, gate, ref, held=promotions.suite(ws), executor=origin)
    else:
        made = plans.load(ws, str(event.body["plan"]))
    done = sum(e.body["plan"] == made.digest for e in ws.ledger.events("trial.run"))
    promotions.run(ws, made, outcomes, first=done + 1, **changes)


def loose(ws: Workspace, ref: Ref, scenario: str, *, success: bool, **changes: Any) -> None:
    """A trial outside any plan."""
    number = sum(1 for _ in ws.ledger.events("trial.run"))
    fields: dict[str, Any] = {"executor": Origin.REAL, "slot": SLOT, "violations": 0, "seed": number, "started_ns": 1}
    made = Trial(scenario=scenario, release=ref.digest, success=success, **{**fields, **changes})
    trials.record_trials(ws, [made])


def promote(ws: Workspace, ref: Ref, name: str = "promotion", **changes: Any) -> Decision:
    gate = policy.register(ws, policy.load(name))
    return decide(ws, gate, ref, **{"scope": Scope(slots=(SLOT,)), "now_ns": NOW, **changes})


def test_a_release_with_enough_clean_trials_is_promoted(workspace: Workspace, fakes: ModuleType) -> None:
    ref = release(workspace, fakes)
    run(workspace, ref, [True] * 59)
    found = promote(workspace, ref)
    assert found.verdict is Verdict.PROMOTE
    success = next(c for c in found.checks if c.check == "success")
    assert (success.n, success.bound > "0.80") == (30, True)
    assert next(c for c in found.checks if c.check == "violations").n == 59
    scope = {"sites": ["bench"], "slots": [SLOT], "signals": [], "stage": "site", "hardware": {SLOT: ""}}
    assert found.payload["scope"] == scope


def test_what_is_missing_is_said_in_trials(workspace: Workspace, fakes: ModuleType) -> None:
    ref = release(workspace, fakes)
    found = promote(workspace, ref)
    assert found.verdict is Verdict.HOLD
    missing = " | ".join(found.payload["missing"])
    assert "success: needs a plan on the ledger before the first trial" in missing
    run(workspace, ref, [])
    missing = " | ".join(promote(workspace, ref).payload["missing"])
    assert "59 of the first 59 scenes would pass" in missing
    assert "29 of the first 30 scenes would pass" in missing
    run(workspace, ref, [True] * 40)
    assert any("needs 19 more scenes" in m for m in promote(workspace, ref).payload["missing"])


def test_simulated_trials_do_not_promote_under_a_real_policy(workspace: Workspace, fakes: ModuleType) -> None:
    ref = release(workspace, fakes)
    run(workspace, ref, [True] * 100, name="promotion-simulated", origin=Origin.SIMULATED)
    found = promote(workspace, ref)
    assert found.verdict is Verdict.HOLD
    assert "100 simulated trials do not count" in " ".join(found.payload["notes"])
    assert promote(workspace, ref, "promotion-simulated").verdict is Verdict.PROMOTE


def test_imagined_trials_promote_under_no_policy(workspace: Workspace, fakes: ModuleType) -> None:
    ref = release(workspace, fakes)
    run(workspace, ref, [True] * 100, name="promotion-simulated", origin=Origin.SIMULATED, executor=Origin.IMAGINED)
    assert promote(workspace, ref, "promotion-simulated").verdict is not Verdict.PROMOTE
    with pytest.raises(UsageError, match="does not count such trials"):
        run(workspace, release(workspace, fakes, normaliser="e" * 64), [], origin=Origin.IMAGINED)


def test_trials_at_another_site_do_not_count(workspace: Workspace, fakes: ModuleType) -> None:
    ref = release(workspace, fakes)
    run(workspace, ref, [True] * 100)
    found = promote(workspace, ref, scope=Scope(slots=(SLOT, "kitchen/ur5/left")))
    assert found.verdict is Verdict.HOLD
    assert "tries nothing at kitchen" in " ".join(found.payload["notes"])


def test_excluded_trials_count_as_failures(workspace: Workspace, fakes: ModuleType) -> None:
    ref = release(workspace, fakes)
    run(workspace, ref, [True] * 100, excluded="camera unplugged")
    assert promote(workspace, ref).verdict is Verdict.REJECT


def test_the_wrong_normaliser_is_rejected_however_well_the_trials_went(workspace: Workspace, fakes: ModuleType) -> None:
    ref = release(workspace, fakes, normaliser=fakes.digest("other statistics"))
    run(workspace, ref, [True] * 100)
    found = promote(workspace, ref)
    assert found.verdict is Verdict.REJECT
    assert status(found, "identity") == {Status.FAIL}


def test_a_training_record_made_later_cannot_excuse_the_normaliser(workspace: Workspace, fakes: ModuleType) -> None:
    wrong = fakes.digest("other statistics")
    ref = release(workspace, fakes, normaliser=wrong)
    later = put_evidence(workspace, training(fakes, subject=fakes.digest("weights"), normaliser=wrong))
    run(workspace, ref, [True] * 100)
    assert status(promote(workspace, ref, evidence=[later]), "identity") == {Status.FAIL}


def test_violations_reject_as_soon_as_they_are_shown(workspace: Workspace, fakes: ModuleType) -> None:
    ref = release(workspace, fakes)
    run(workspace, ref, [True] * 20, violations=1)
    assert status(promote(workspace, ref), "violations") == {Status.FAIL}


def test_an_incident_scenario_must_be_run_and_passed(workspace: Workspace, fakes: ModuleType) -> None:
    ref = release(workspace, fakes)
    run(workspace, ref, [True] * 60)
    incident = Scenario(name="near-miss", site="bench", initial={}, source="incident", incident="i-1")
    elsewhere = dataclasses.replace(incident, site="kitchen")
    made = scenarios.register(workspace, incident)
    scenarios.register(workspace, elsewhere)
    assert any("needs a trial of near-miss" in m for m in promote(workspace, ref).payload["missing"])
    loose(workspace, ref, made.digest, success=True)
    assert promote(workspace, ref).verdict is Verdict.PROMOTE
    loose(workspace, ref, made.digest, success=False)
    assert status(promote(workspace, ref), "incidents") == {Status.FAIL}


def test_scenarios_chosen_by_a_world_model_need_its_admission_here_and_now(
    workspace: Workspace, fakes: ModuleType
) -> None:
    ref = release(workspace, fakes)
    run(workspace, ref, [True] * 60, chosen_by=fakes.spec().digest)
    assert status(promote(workspace, ref), "admitted") == {Status.FAIL}
    admission = admit(workspace, fakes)
    found = promote(workspace, ref)
    assert found.verdict is Verdict.PROMOTE
    assert found.payload["admissions"] == [admission.ref.digest]
    assert status(promote(workspace, ref, now_ns=NOW + 91 * DAY_NS), "admitted") == {Status.FAIL}


def test_an_admission_on_simulated_episodes_does_not_serve_a_real_promotion(
    workspace: Workspace, fakes: ModuleType
) -> None:
    ref = release(workspace, fakes)
    run(workspace, ref, [True] * 60, chosen_by=fakes.spec().digest)
    admit(workspace, fakes, origin=Origin.SIMULATED, name="admission-simulated")
    assert status(promote(workspace, ref), "admitted") == {Status.FAIL}


@pytest.mark.parametrize("scope", [Scope(), Scope(sites=("bench",)), Scope(sites=("bench",), slots=(SLOT,))])
def test_a_promotion_without_slots_is_refused(workspace: Workspace, fakes: ModuleType, scope: Scope) -> None:
    with pytest.raises(UsageError, match="scoped by slots"):
        promote(workspace, release(workspace, fakes), scope=scope)


def test_a_policy_decides_only_for_its_sites(workspace: Workspace, fakes: ModuleType) -> None:
    gate = policy.register(workspace, dataclasses.replace(policy.load("promotion"), sites=("kitchen",)))
    with pytest.raises(UsageError, match="does not decide for that site"):
        decide(workspace, gate, release(workspace, fakes), scope=Scope(slots=(SLOT,)), now_ns=NOW)


def test_an_admission_policy_does_not_judge_a_release(workspace: Workspace, fakes: ModuleType) -> None:
    with pytest.raises(UsageError, match="judges a world_model"):
        promote(workspace, release(workspace, fakes), "admission")


# ---- recomputation --------------------------------------------------------------------------------------------------


def test_a_decision_recomputes_to_the_same_bytes_whatever_came_later(workspace: Workspace, fakes: ModuleType) -> None:
    ref = release(workspace, fakes)
    run(workspace, ref, [True] * 45, chosen_by=fakes.spec().digest)
    both = [admit(workspace, fakes), promote(workspace, ref)]
    run(workspace, ref, [False] * 20)
    scenarios.register(workspace, Scenario(name="late", site="bench", initial={}, source="incident"))
    for decision in both:
        assert recompute(workspace, decision.ref.digest) == workspace.store.get(decision.ref.digest)
        assert canonical(decision.payload) == workspace.store.get(decision.ref.digest)
    report = verify(workspace, recompute=RECOMPUTE)
    assert report.ok and report.recomputed == 2, report.problems


def test_a_decision_that_says_more_than_its_evidence_is_named(workspace: Workspace, fakes: ModuleType) -> None:
    ref = release(workspace, fakes)
    found = promote(workspace, ref)
    forged = {**found.payload, "verdict": "PROMOTE", "missing": []}
    made = Ref("decision", workspace.put_json(forged))
    body = {"decision": made.digest, "envelope": found.envelope, "gate": "promotion", "subject": ref.digest}
    body |= {"verdict": "PROMOTE", "population": "real", "slots": [SLOT], "sites": ["bench"]}
    forged_event = workspace.record("gate.decided", body=body, outputs=(made,))
    problems = verify(workspace, recompute=RECOMPUTE).problems
    assert [p.seq for p in problems] == [forged_event.seq]
    assert "signed decision is another one" in problems[0].what


def test_a_flipped_byte_of_a_trial_is_found(workspace: Workspace, fakes: ModuleType) -> None:
    ref = release(workspace, fakes)
    run(workspace, ref, [False] * 3)
    promote(workspace, ref)
    digest = next(iter(workspace.ledger.events("trial.run"))).body["trial"]
    path = workspace.store.path(digest)
    data = bytearray(path.read_bytes())
    data[data.index(b"false")] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    problems = verify(workspace, recompute=RECOMPUTE).problems
    assert any(digest[:12] in p.what for p in problems)
    with pytest.raises(Tampered):
        trials.collect(workspace, ref.digest, upto_seq=workspace.ledger.head().seq)
