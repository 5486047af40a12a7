"""Plans: drawn, not chosen; before the trials; and worn out by attempts."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evidence import promotions

from worldgate.core.errors import ConfigError, DataRefused, UsageError
from worldgate.core.streams import Origin
from worldgate.evidence import plans, policy, scenarios, trials
from worldgate.evidence.plans import EvalPlan
from worldgate.evidence.scenarios import Envelope, Scenario
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

SLOT = promotions.SLOT


@pytest.fixture
def gate(workspace: Workspace) -> Ref:
    return policy.register(workspace, policy.load("promotion"))


def release(ws: Workspace, name: str = "r1") -> Ref:
    ref = Ref("release", ws.put_json({"schema": "worldgate/release/1", "weights": {}, "code": name}), name)
    ws.record("release.registered", body={"release": ref.digest}, outputs=(ref,))
    return ref


def listed(count: int, **changes: Any) -> dict[str, Scenario]:
    made = [Scenario(name=f"s-{i}", site="bench", initial={"x": i}, **changes) for i in range(count)]
    return {scene.digest: scene for scene in made}


@given(count=st.integers(1, 40), seed=st.integers(0, 2**60), baseline=st.booleans(), wires=st.integers(0, 4))
@settings(max_examples=60)
def test_a_drawn_plan_has_every_scene_once_a_side_and_both_sides_alike(
    count: int, seed: int, baseline: bool, wires: int
) -> None:
    scenes = listed(count) | {w.digest: w for w in listed(wires, role="tripwire").values()}
    slots = (SLOT, "bench/ur5/right")
    rows = plans.draw(scenes, slots, pairs=count, seed=seed, baseline=baseline)
    assert rows == plans.draw(dict(reversed(scenes.items())), slots, pairs=count, seed=seed, baseline=baseline)
    new = [r for r in rows if r.side == "new"]
    assert len({r.scenario for r in new}) == len(new) == count + wires
    assert [r.tripwire for r in new] == [True] * wires + [False] * count
    for old in (r for r in rows if r.side == "old"):
        twin = next(r for r in new if r.pair == old.pair)
        assert (old.scenario, old.seed, old.slot) == (twin.scenario, twin.seed, twin.slot)
    assert sum(r.side == "old" for r in rows) == (count if baseline else 0)
    arms = [r.slot for r in new]
    assert abs(arms.count(slots[0]) - arms.count(slots[1])) <= 1


def test_either_side_runs_first_about_as_often() -> None:
    rows = plans.draw(listed(200), (SLOT,), pairs=200, seed=3, baseline=True)
    first = sum(rows[i].side == "new" for i in range(0, 400, 2))
    assert 70 < first < 130
    assert all(rows[i].pair == rows[i + 1].pair for i in range(0, 400, 2)), "the sides of a pair run one after another"


def test_a_scene_does_not_count_twice_so_a_suite_limits_its_plans() -> None:
    with pytest.raises(UsageError, match="a scene counts once"):
        plans.draw(listed(5), (SLOT,), pairs=6, seed=0)
    with pytest.raises(UsageError, match="a scene counts once"):
        plans.draw(listed(5), (SLOT,), pairs=0, seed=0)
    with pytest.raises(UsageError, match="without an arm"):
        plans.draw(listed(5), ("kitchen/ur5/left",), pairs=5, seed=0)


def test_a_registered_plan_is_read_back_and_anybody_can_draw_it_again(workspace: Workspace, gate: Ref) -> None:
    made = promotions.plan(workspace, gate, release(workspace), pairs=20)
    event = plans.newest(workspace, made.release, ["bench"], upto_seq=workspace.ledger.head().seq)
    assert event is not None and event.body["plan"] == made.digest
    assert plans.load(workspace, made.digest) == made
    assert plans.problems(workspace, made, seq=event.seq) == []


def test_a_document_of_another_schema_is_no_plan() -> None:
    with pytest.raises(DataRefused, match="not a plan"):
        EvalPlan.from_json({"schema": "worldgate/plan/9"})
    with pytest.raises(DataRefused, match="not a suite"):
        scenarios.Suite.from_json({"schema": "worldgate/suite/9"})


def test_what_a_plan_may_not_rest_on_is_refused(workspace: Workspace, gate: Ref) -> None:
    ref = release(workspace)
    visible = promotions.suite(workspace, 3, name="seen", role="train-visible")
    with pytest.raises(UsageError, match="training may see"):
        promotions.plan(workspace, gate, ref, held=visible)
    with pytest.raises(UsageError, match="itself"):
        promotions.plan(workspace, gate, ref, pairs=3, baseline=ref)
    with pytest.raises(UsageError, match="does not count such trials"):
        promotions.plan(workspace, gate, ref, pairs=3, executor=Origin.IMAGINED)
    admission = policy.register(workspace, policy.load("admission"))
    with pytest.raises(UsageError, match="only a promotion"):
        promotions.plan(workspace, admission, ref, pairs=3)
    with pytest.raises(UsageError, match="at least one plan"):
        promotions.suite(workspace, 1, attempts=0)


def test_a_suite_that_training_may_see_is_refused(workspace: Workspace, gate: Ref) -> None:
    digest = scenarios.register(workspace, Scenario(name="a", site="bench", initial={})).digest
    suite = scenarios.Suite(name="seen", role="train-visible", scenarios=(digest,))
    with pytest.raises(UsageError, match="training may see"):
        promotions.plan(workspace, gate, release(workspace), held=scenarios.register_suite(workspace, suite))


def test_a_policys_envelope_binds_every_scene(workspace: Workspace) -> None:
    rule = dataclasses.replace(policy.load("promotion"), envelope=Envelope(clearance_m=0.05, force_n=50.0))
    gate = policy.register(workspace, rule)
    loose = promotions.suite(workspace, 3, name="loose", envelope=Envelope(clearance_m=0.02, force_n=50.0))
    with pytest.raises(UsageError, match="wider limits"):
        promotions.plan(workspace, gate, release(workspace), held=loose)
    strict = promotions.suite(workspace, 3, name="strict", envelope=Envelope(clearance_m=0.06, force_n=40.0))
    assert promotions.plan(workspace, gate, release(workspace), held=strict).pairs == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attempts": 9}, "another number of attempts"),
        ({"pairs": 99}, "a scene counts once"),
        ({"attempt": 2}, "not those that its suite"),
        ({"executor": Origin.IMAGINED}, "does not count"),
    ],
)
def test_a_plan_written_by_hand_is_found_out(
    workspace: Workspace, gate: Ref, changes: dict[str, Any], words: str
) -> None:
    made = promotions.plan(workspace, gate, release(workspace), pairs=10)
    forged = dataclasses.replace(made, **changes)
    plans.register(workspace, forged)
    seq = workspace.ledger.head().seq
    assert any(words in problem for problem in plans.problems(workspace, forged, seq=seq))


def test_rows_in_a_chosen_order_are_found_out(workspace: Workspace, gate: Ref) -> None:
    made = promotions.plan(workspace, gate, release(workspace), pairs=10)
    forged = dataclasses.replace(made, rows=made.rows[::-1])
    assert "its rows are not" in plans.problems(workspace, forged, seq=workspace.ledger.head().seq)[0]


def test_a_plan_with_wider_limits_than_its_policy_is_found_out(workspace: Workspace) -> None:
    rule = dataclasses.replace(policy.load("promotion"), envelope=Envelope(force_n=50.0))
    gate, plain = policy.register(workspace, rule), policy.register(workspace, policy.load("promotion"))
    made = promotions.plan(workspace, plain, release(workspace), pairs=3)
    forged = dataclasses.replace(made, policy=gate.digest)
    assert "wider limits" in plans.problems(workspace, forged, seq=workspace.ledger.head().seq)[-1]


def test_a_plan_over_scenes_that_training_may_see_is_found_out(workspace: Workspace, gate: Ref) -> None:
    made = promotions.plan(workspace, gate, release(workspace), pairs=3)
    seen = promotions.suite(workspace, 3, name="seen", role="train-visible")
    forged = dataclasses.replace(made, suite=seen.digest)
    assert "training may see" in plans.problems(workspace, forged, seq=workspace.ledger.head().seq)[0]


def before(ws: Workspace, made: EvalPlan, **changes: Any) -> int:
    scenes = frozenset(row.scenario for row in made.rows)
    found = plans.attempts_before(ws, made.suite, made.release, scenes, sites=made.sites, before=made.digest, **changes)
    return len(found)


def test_attempts_are_counted_by_suite_scene_and_release_at_a_site(workspace: Workspace, gate: Ref) -> None:
    held = promotions.suite(workspace, 4, attempts=3)
    first = promotions.plan(workspace, gate, release(workspace, "a"), held=held)
    second = promotions.plan(workspace, gate, release(workspace, "b"), held=held)
    assert (first.attempt, second.attempt) == (1, 1), "a plan without a trial is no attempt"
    promotions.run(workspace, first, [True])
    assert before(workspace, second) == 1
    third = promotions.plan(workspace, gate, release(workspace, "c"), held=held)
    assert third.attempt == 2
    # The same scenes under another suite's name are as worn, and so is the same release on fresh ones.
    digests = workspace.get_json(held.digest)["scenarios"]
    renamed = scenarios.Suite(name="renamed", role="gate-holdout", scenarios=tuple(digests[:1]))
    copy = promotions.plan(workspace, gate, release(workspace, "d"), held=scenarios.register_suite(workspace, renamed))
    assert copy.attempt == 2
    fresh = promotions.suite(workspace, 4, name="fresh")
    again = promotions.plan(workspace, gate, release(workspace, "a"), held=fresh)
    assert again.attempt == 2
    other = promotions.plan(workspace, gate, release(workspace, "e"), held=fresh)
    assert other.attempt == 1
    assert before(workspace, other, upto_seq=1) == 0


def test_an_incident_scene_that_every_plan_runs_wears_no_suite_of_new_scenes_out(
    workspace: Workspace, gate: Ref
) -> None:
    incident = Scenario(name="near-miss", site="bench", initial={"x": -1}, source="incident", incident="i")
    scenarios.register(workspace, incident)
    first = promotions.plan(workspace, gate, release(workspace), pairs=3)
    promotions.run(workspace, first, [True])
    held = promotions.suite(workspace, 3, name="new")
    second = promotions.plan(workspace, gate, release(workspace, "r2"), held=held)
    assert incident.digest in {row.scenario for row in first.rows} & {row.scenario for row in second.rows}
    assert second.attempt == 1


def test_attempts_at_another_site_wear_nothing_out(workspace: Workspace, gate: Ref) -> None:
    held = promotions.suite(workspace, 3, attempts=2)
    promotions.run(workspace, promotions.plan(workspace, gate, release(workspace), held=held), [True])
    elsewhere = promotions.suite(workspace, 3, site="kitchen", name="k")
    ref = release(workspace)
    made = promotions.plan(workspace, gate, ref, held=elsewhere, slots=("kitchen/ur5/left",))
    assert made.attempt == 1


def test_policies_refuse_what_could_decide_nothing() -> None:
    tree: dict[str, Any] = {"name": "p", "kind": "promotion", "checks": [{"check": "success", "blocking": False}]}
    with pytest.raises(ConfigError, match="blocking"):
        policy.read(tree, where="p")
    tree["checks"] = [{"check": "success", "min_n": -1}]
    with pytest.raises(ConfigError, match="at least 0"):
        policy.read(tree, where="p")
    tree["checks"] = [{"check": "success"}, {"check": "success"}]
    with pytest.raises(ConfigError, match="twice"):
        policy.read(tree, where="p")


def test_a_trial_list_of_another_release_is_refused(workspace: Workspace, gate: Ref) -> None:
    made = promotions.plan(workspace, gate, release(workspace), pairs=3)
    promotions.run(workspace, made, [True])
    tree = trials.collect(workspace, made.release, upto_seq=workspace.ledger.head().seq, plan=made.digest)
    assert len(trials.read_list(tree)) == 1
    tree["release"], tree["plan"] = "f" * 64, "e" * 64
    with pytest.raises(DataRefused, match="another release"):
        trials.read_list(tree)
