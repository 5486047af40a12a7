"""A plan over what training may see, or over one scene under two names, is found by both verifiers."""

from __future__ import annotations

import dataclasses
from types import ModuleType

import pytest
from tests.evidence import promotions

from worldgate.core.errors import UsageError
from worldgate.core.evidence import Verdict
from worldgate.evidence import plans, policy, scenarios
from worldgate.evidence.decide import Decision, Scope, decide
from worldgate.evidence.plans import EvalPlan
from worldgate.evidence.recompute import RECOMPUTE
from worldgate.evidence.scenarios import Scenario, Suite
from worldgate.record.events import Ref
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

NOW = 1_800_000_000_000_000_000
SCENES = 20


@pytest.fixture
def gate(workspace: Workspace) -> Ref:
    checks = [{"check": "success", "params": {"p0": "0.5", "looks": [SCENES]}}]
    return policy.register(workspace, policy.read({"name": "p", "kind": "promotion", "checks": checks}, where="p"))


@pytest.fixture
def release(workspace: Workspace) -> Ref:
    ref = Ref("release", workspace.put_json({"schema": "worldgate/release/1", "weights": {}}), "r1")
    workspace.record("release.registered", body={"release": ref.digest}, outputs=(ref,))
    return ref


def scene(number: int, **changes: object) -> Scenario:
    fields: dict[str, object] = {"name": f"s-{number}", "site": "bench", "initial": {"x": number}}
    return Scenario(**{**fields, **changes})  # type: ignore[arg-type]


def suite(ws: Workspace, *held: Scenario) -> Ref:
    digests = tuple(scenarios.register(ws, one).digest for one in held)
    return scenarios.register_suite(ws, Suite(name="held", role="gate-holdout", scenarios=digests, attempts=9))


def make(ws: Workspace, gate: Ref, release: Ref, held: Ref) -> EvalPlan:
    """Drawn, and not yet registered."""
    return plans.make(
        ws, name="p", policy=gate, release=release, suite=held, slots=(promotions.SLOT,), pairs=SCENES, now_ns=NOW
    )


def decided(ws: Workspace, gate: Ref, release: Ref, plan: EvalPlan) -> Decision:
    plans.register(ws, plan)
    promotions.run(ws, plan, [True] * SCENES)
    return decide(ws, gate, release, scope=Scope(slots=(promotions.SLOT,)), now_ns=NOW + 10**9)


def agreed(tool: ModuleType, ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(ws, recompute=RECOMPUTE).problems == ()
    assert tool.main([str(ws.root)]) == 0, capsys.readouterr().out


def test_a_suite_of_scenes_that_nobody_saw_passes(
    workspace: Workspace, gate: Ref, release: Ref, tool: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    scenarios.register(workspace, scene(99, role="train-visible"))
    plan = make(workspace, gate, release, suite(workspace, *map(scene, range(SCENES))))
    assert decided(workspace, gate, release, plan).verdict is Verdict.PROMOTE
    agreed(tool, workspace, capsys)


@pytest.mark.parametrize("how", ["another name", "a suite"])
def test_a_scene_that_training_may_see_under_any_name_passes_nothing(
    how: str, workspace: Workspace, gate: Ref, release: Ref, tool: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    held = suite(workspace, *map(scene, range(SCENES)))
    plan = make(workspace, gate, release, held)
    if how == "another name":
        scenarios.register(workspace, scene(3, name="shown", role="train-visible", criterion="another"))
    else:
        shown = Suite(name="shown", role="train-visible", scenarios=(scene(3).digest,))
        scenarios.register_suite(workspace, shown)
    with pytest.raises(UsageError, match="training may see"):
        make(workspace, gate, release, held)
    decision = decided(workspace, gate, release, plan)
    assert decision.verdict is not Verdict.PROMOTE
    assert "training may see" in " ".join(decision.payload["notes"])
    agreed(tool, workspace, capsys)


def test_one_scene_under_two_names_is_no_two_trials(
    workspace: Workspace, gate: Ref, release: Ref, tool: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    twins = [*map(scene, range(SCENES - 1)), scene(4, name="again")]
    plan = make(workspace, gate, release, suite(workspace, *map(scene, range(SCENES))))
    held = suite(workspace, *twins)
    with pytest.raises(UsageError, match="are one scene"):
        make(workspace, gate, release, held)
    seed = plans.seed_of(held.digest, release.digest, 1)
    rows = plans.draw({one.digest: one for one in twins}, (promotions.SLOT,), pairs=SCENES, seed=seed)
    forged = dataclasses.replace(plan, suite=held.digest, rows=rows)
    decision = decided(workspace, gate, release, forged)
    assert decision.verdict is not Verdict.PROMOTE
    assert "are one scene" in " ".join(decision.payload["notes"])
    agreed(tool, workspace, capsys)


def test_a_scene_recorded_before_events_told_its_role_is_known_by_its_document(workspace: Workspace) -> None:
    """Events of schema 1 named the scenario alone."""
    kept = "gate-holdout"
    roles = ((1, "train-visible"), (1, kept), (2, kept))
    seen, twin, other = (scene(n, name=f"{n}-{role}", role=role) for n, role in roles)
    digests = []
    for one in (seen, twin, other):
        ref = Ref("scenario", workspace.put_json(one.to_json()), one.name)
        workspace.record("scenario.made", body={"name": one.name, "site": one.site}, outputs=(ref,))
        digests.append(ref.digest)
    found = scenarios.train_visible(workspace, upto_seq=workspace.ledger.head().seq)
    assert found == set(digests[:2]), "the same situation under another name is seen, too"
