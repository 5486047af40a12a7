"""What learned from a scene is found by lineage, however far upstream, by both verifiers; other attacks on a plan."""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any

import pytest
from tests.evidence import promotions

from worldgate.core.evidence import Status, Verdict
from worldgate.core.streams import Origin
from worldgate.evidence import plans, policy, scenarios
from worldgate.evidence.decide import DAY_NS, Decision, Scope, decide, put_evidence
from worldgate.evidence.gap import gap
from worldgate.evidence.gap_report import GapConfig
from worldgate.evidence.gate_evidence import TrainingRecord
from worldgate.evidence.holdout import overlaps
from worldgate.evidence.plans import EvalPlan
from worldgate.evidence.recompute import RECOMPUTE
from worldgate.record.events import Ref
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

NOW = 1_800_000_000_000_000_000
EPISODE, LOG = "e" * 64, "1" * 64


def rule(ws: Workspace, *names: str, **changes: Any) -> Ref:
    tree = {"name": "p", "kind": "promotion", "checks": [{"check": name, **changes} for name in names]}
    return policy.register(ws, policy.read(tree, where="p"))


def release(ws: Workspace, weights: str) -> Ref:
    ref = Ref("release", ws.put_json({"schema": "worldgate/release/1", "weights": {"w": weights}}), "r1")
    ws.record("release.registered", body={"release": ref.digest}, inputs=(Ref("weights", weights),), outputs=(ref,))
    return ref


def learned(ws: Workspace, subject: str, *, episodes: tuple[str, ...] = (), logs: tuple[str, ...] = ()) -> None:
    record = TrainingRecord(
        subject=subject, dataset="", normaliser="", signals=(), episodes=episodes, origin=Origin.REAL, logs=logs
    )
    put_evidence(ws, record)


def held_out(ws: Workspace) -> Ref:
    """A suite of which one scene was read off a recorded episode, which was aligned from a log."""
    ws.record("episode.aligned", body={}, inputs=(Ref("log", LOG),), outputs=(Ref("episode", EPISODE),))
    made = [scenarios.Scenario(name=f"s-{i}", site="bench", initial={"x": i}) for i in range(30)]
    refs = [scenarios.register(ws, made[0], inputs=(Ref("episode", EPISODE),))]
    refs += [scenarios.register(ws, scene) for scene in made[1:]]
    suite = scenarios.Suite(name="held", role="gate-holdout", scenarios=tuple(r.digest for r in refs), attempts=9)
    return scenarios.register_suite(ws, suite)


def tried(ws: Workspace, gate: Ref, ref: Ref, **run: Any) -> Decision:
    made = promotions.plan(ws, gate, ref, held=held_out(ws), now_ns=NOW)
    promotions.run(ws, made, [True] * 30, **run)
    return decide(ws, gate, ref, scope=Scope(slots=(promotions.SLOT,)), now_ns=NOW + 10**9)


def agreed(tool: ModuleType, ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(ws, recompute=RECOMPUTE).problems == ()
    assert tool.main([str(ws.root)]) == 0, capsys.readouterr().out


def test_a_release_that_learned_from_other_episodes_passes(
    workspace: Workspace, tool: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    ref = release(workspace, "3" * 64)
    learned(workspace, "3" * 64, episodes=("d" * 64,), logs=("c" * 64,))
    assert tried(workspace, rule(workspace, "holdout"), ref).verdict is Verdict.PROMOTE
    agreed(tool, workspace, capsys)


@pytest.mark.parametrize("behind", ["the weights", "the same log aligned anew", "a world model that chose", "upstream"])
def test_whatever_learned_from_a_scene_is_found(
    workspace: Workspace, tool: ModuleType, capsys: pytest.CaptureFixture[str], behind: str
) -> None:
    weights, world = "3" * 64, "5" * 64
    ref, run = release(workspace, weights), {}
    if behind == "the weights":
        learned(workspace, weights, episodes=(EPISODE,))
    elif behind == "the same log aligned anew":
        learned(workspace, weights, episodes=("d" * 64,), logs=(LOG,))
    elif behind == "a world model that chose":
        learned(workspace, weights, episodes=("d" * 64,))
        learned(workspace, world, episodes=(EPISODE,))
        run = {"chosen_by": world}
    else:  # weights distilled from imagination of a world model that saw the holdout
        learned(workspace, world, episodes=(EPISODE,))
        inputs = (Ref("world_model", world),)
        workspace.record("policy.trained", body={}, inputs=inputs, outputs=(Ref("weights", weights),))
    found = tried(workspace, rule(workspace, "holdout"), ref, **run)
    assert found.verdict is Verdict.REJECT
    assert "learned from" in found.checks[0].detail
    agreed(tool, workspace, capsys)


def test_without_a_plan_the_holdout_is_open(workspace: Workspace) -> None:
    ref, gate = release(workspace, "3" * 64), rule(workspace, "holdout")
    found = decide(workspace, gate, ref, scope=Scope(slots=(promotions.SLOT,)), now_ns=NOW)
    assert found.checks[0].status is Status.INCONCLUSIVE


def forged(ws: Workspace, gate: Ref, ref: Ref, **changes: Any) -> EvalPlan:
    """A plan that was changed by hand before it was registered."""
    drawn = plans.make(
        ws, name="p", policy=gate, release=ref, suite=held_out(ws), slots=(promotions.SLOT,), pairs=30, now_ns=NOW
    )
    made = dataclasses.replace(drawn, **changes)
    plans.register(ws, made)
    return made


def test_a_plan_in_a_chosen_order_counts_for_nothing(
    workspace: Workspace, tool: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    ref, gate = release(workspace, "3" * 64), rule(workspace, "success")
    easy = forged(workspace, gate, ref)
    easy = dataclasses.replace(easy, rows=easy.rows[:10] * 3)
    plans.register(workspace, easy)
    promotions.run(workspace, easy, [True] * 30)
    found = decide(workspace, gate, ref, scope=Scope(slots=(promotions.SLOT,)), now_ns=NOW + 10**9)
    assert found.verdict is Verdict.HOLD
    assert any("its rows are not those" in note for note in found.payload["notes"])
    agreed(tool, workspace, capsys)


def test_a_plan_for_a_kinder_policy_does_not_serve_a_stricter_one(
    workspace: Workspace, tool: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    ref = release(workspace, "3" * 64)
    kind, strict = rule(workspace, "success", min_n=1), rule(workspace, "success", min_n=2)
    made = promotions.plan(workspace, kind, ref, held=held_out(workspace), now_ns=NOW)
    promotions.run(workspace, made, [True] * 30)
    scope = Scope(slots=(promotions.SLOT,))
    found = decide(workspace, strict, ref, scope=scope, now_ns=NOW + 10**9)
    assert found.verdict is Verdict.HOLD
    assert any("made for another policy" in note for note in found.payload["notes"])
    agreed(tool, workspace, capsys)


def test_resubmitting_until_it_passes_wears_the_suite_out(
    workspace: Workspace, tool: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    gate, held, verdicts = rule(workspace, "violations"), promotions.suite(workspace, 90, attempts=2), []
    for name in ("3", "4", "5"):
        ref = release(workspace, name * 64)
        made = promotions.plan(workspace, gate, ref, held=held, now_ns=NOW)
        bad = name != "5"
        promotions.run(workspace, made, [True] * 90, violations=int(bad))
        scope = Scope(slots=(promotions.SLOT,))
        verdicts.append(decide(workspace, gate, ref, scope=scope, now_ns=NOW + 10**9))
    assert [d.verdict for d in verdicts] == [Verdict.REJECT, Verdict.REJECT, Verdict.HOLD]
    assert "worn out" in verdicts[-1].payload["missing"][0]
    agreed(tool, workspace, capsys)


def test_stale_or_few_trials_never_pass_and_an_advisory_check_decides_nothing(
    workspace: Workspace, tool: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    tree: dict[str, Any] = {"name": "p", "kind": "promotion", "valid_for_days": 400}
    tree["checks"] = [
        {"check": "success", "max_age_days": 30, "min_n": 30},
        {"check": "violations", "blocking": False},
    ]
    gate, ref = policy.register(workspace, policy.read(tree, where="p")), release(workspace, "3" * 64)
    made = promotions.plan(workspace, gate, ref, held=held_out(workspace), now_ns=NOW)
    promotions.run(workspace, made, [True] * 30)
    scope = Scope(slots=(promotions.SLOT,))
    fresh = decide(workspace, gate, ref, scope=scope, now_ns=NOW + DAY_NS)
    assert fresh.verdict is Verdict.PROMOTE, "30 clean scenes cannot show the violations, and need not"
    assert [c.blocking for c in fresh.checks] == [True, False]
    late = decide(workspace, gate, ref, scope=scope, now_ns=NOW + 31 * DAY_NS)
    assert late.verdict is Verdict.HOLD and "needs evidence of the last 30 days" in late.payload["missing"][0]
    tree["checks"][0]["min_n"] = 31
    more = policy.register(workspace, policy.read(tree, where="p"))
    other = release(workspace, "4" * 64)
    again = promotions.plan(workspace, more, other, held=held_out(workspace), now_ns=NOW)
    promotions.run(workspace, again, [True] * 30)
    few = decide(workspace, more, other, scope=scope, now_ns=NOW + DAY_NS)
    assert few.verdict is Verdict.HOLD and "needs at least 31" in few.payload["missing"][0]
    agreed(tool, workspace, capsys)


def test_a_policy_for_other_arms_is_refused(workspace: Workspace) -> None:
    tree = {"name": "p", "kind": "promotion", "slots": ["bench/*/right"], "checks": [{"check": "success"}]}
    gate, ref = policy.register(workspace, policy.read(tree, where="p")), release(workspace, "3" * 64)
    with pytest.raises(Exception, match="does not decide for that arm"):
        decide(workspace, gate, ref, scope=Scope(slots=(promotions.SLOT,)), now_ns=NOW)


def test_evidence_that_is_no_training_record_of_a_learner_tells_nothing(
    workspace: Workspace, fakes: ModuleType
) -> None:
    """Another model's training on the very scene, a gap report, and what was recorded later."""
    suite = held_out(workspace)
    scenes = set(scenarios.load_suite(workspace, suite.digest).scenarios)
    learned(workspace, "7" * 64, episodes=(EPISODE,))
    put_evidence(workspace, gap(fakes.FakeModel(), [fakes.episode(0)], GapConfig(windows=2)))
    head = workspace.ledger.head().seq
    learned(workspace, "3" * 64, episodes=(EPISODE,))
    assert overlaps(workspace, sorted(scenes), ["3" * 64], upto_seq=head) == []
    assert overlaps(workspace, sorted(scenes), ["3" * 64], upto_seq=head + 1)
