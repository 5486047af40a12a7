"""The rows of a plan are run as they were drawn, by the releases that they name."""

from __future__ import annotations

from types import ModuleType

import pytest
from tests.evidence import promotions

from worldgate.core.errors import UsageError
from worldgate.evidence import plans, policy, trials
from worldgate.evidence.plans import EvalPlan
from worldgate.evidence.running import run_rows
from worldgate.evidence.scenarios import Scenario
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace


def release(ws: Workspace, name: str) -> Ref:
    ref = Ref("release", ws.put_json({"schema": "worldgate/release/1", "weights": {}, "code": name}), name)
    ws.record("release.registered", body={"release": ref.digest}, outputs=(ref,))
    return ref


@pytest.fixture
def plan(workspace: Workspace) -> EvalPlan:
    gate = policy.register(workspace, policy.load("promotion-simulated"))
    new, old = release(workspace, "new"), release(workspace, "old")
    return promotions.plan(workspace, gate, new, pairs=6, baseline=old, executor="simulated")


def test_rows_are_run_in_order_on_their_scene_with_their_seed_and_release(
    workspace: Workspace, plan: EvalPlan, fakes: ModuleType
) -> None:
    asked: list[tuple[str, str, int]] = []

    def environments(slot: str) -> trials.EnvironmentFactory:
        def make(scenario: Scenario, seed: int) -> object:
            asked.append((slot, scenario.digest, seed))
            return fakes.FakeEnvironment(facts=[{"success": 1.0}], origin=plan.executor)

        return make  # type: ignore[return-value]

    sides = {"new": fakes.FakePolicy(plan.release), "old": fakes.FakePolicy(plan.baseline)}
    found = list(run_rows(workspace, plan, sides, environments, first=3, count=4, clock=lambda: 7))
    rows = plan.rows[2:6]
    assert asked == [(row.slot, row.scenario, row.seed) for row in rows]
    assert [t.row for t in found] == [3, 4, 5, 6]
    assert [t.release for t in found] == [plan.release if row.side == "new" else plan.baseline for row in rows]
    assert {(t.plan, t.started_ns, t.success) for t in found} == {(plan.digest, 7, True)}
    assert len(list(run_rows(workspace, plan, sides, environments, first=11))) == 2, "all that are left"


def test_another_policy_than_was_planned_runs_nothing(workspace: Workspace, plan: EvalPlan, fakes: ModuleType) -> None:
    for sides in ({}, {"new": fakes.FakePolicy("f" * 64), "old": fakes.FakePolicy("f" * 64)}):
        with pytest.raises(UsageError, match="not what was planned"):
            next(run_rows(workspace, plan, sides, lambda slot: None))  # type: ignore[arg-type]
    assert list(workspace.ledger.events("trial.run")) == []
    assert plans.load(workspace, plan.digest) == plan
