"""Recorded episodes open loop at the gate: they can block, promote nothing, and two verifiers agree on their bound."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest
from tests.evidence import promotions

from worldgate.core import seams
from worldgate.core.errors import ConfigError, UsageError
from worldgate.core.evidence import Verdict
from worldgate.core.streams import Origin
from worldgate.core.worlds import Signal
from worldgate.evidence import counted
from worldgate.evidence import decide as deciding
from worldgate.evidence import policy as policies
from worldgate.evidence.decide import Decision, Scope, decide, put_evidence
from worldgate.evidence.gate_evidence import TrainingRecord
from worldgate.evidence.recompute import RECOMPUTE
from worldgate.evidence.regression_table import Regression, RegressionConfig, Replayed, Trace, put
from worldgate.record.events import Ref
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

NOW = 1_800_000_000_000_000_000
SLOT = promotions.SLOT
WEIGHTS, OLD = "8" * 64, "7" * 64


@pytest.fixture
def release(workspace: Workspace) -> Ref:
    tree = {"schema": "worldgate/release/1", "weights": {"policy.safetensors": WEIGHTS}}
    ref = Ref("release", workspace.put_json(tree), "r1")
    workspace.record("release.registered", body={"release": ref.digest}, outputs=[ref])
    return ref


def policy(**changes: Any) -> policies.GatePolicy:
    checks = [{"check": "holdout"}, {"check": "regression", **changes}]
    tree = {"name": "advised", "kind": "promotion", "checks": checks}
    return policies.read(tree, where="here")


def said(release: Ref, new: Sequence[float | None], old: Sequence[float], **changes: Any) -> Regression:
    """A regression whose episodes say these."""
    rows = tuple(
        Replayed(
            episode=format(1000 + i, "064x"), log=format(2000 + i, "064x"), name=f"episode_{i}", site="bench", rows=50,
            skipped=0, new=Trace(mean=a, moments=(a,), nonfinite=int(a is None)), old=Trace(mean=b, moments=(b,)),
        )
        for i, (a, b) in enumerate(zip(new, old, strict=True))
    )  # fmt: skip
    fields: dict[str, Any] = {
        "subject": release.digest, "baseline": OLD, "origin": Origin.REAL, "rate_hz": 10.0,
        "action": Signal(name="action"), "spread": (1.0,), "config": RegressionConfig(), "episodes": rows,
    }  # fmt: skip
    return Regression(**{**fields, **changes})


def decided(ws: Workspace, release: Ref, rule: policies.GatePolicy, *, baseline: str = "") -> Decision:
    ref = policies.register(ws, rule)
    against = Ref("release", baseline) if baseline else None
    promotions.plan(ws, ref, release, held=promotions.suite(ws, 2), pairs=2, now_ns=NOW, baseline=against)
    return decide(ws, ref, release, scope=Scope(slots=(SLOT,)), now_ns=NOW + 1)


def both(tool: ModuleType, ws: Workspace, capsys: pytest.CaptureFixture[str]) -> tuple[set[int], set[int]]:
    ours = {problem.seq for problem in verify(ws, recompute=RECOMPUTE).problems}
    tool.main([str(ws.root)])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("record ")]
    return ours, {int(line.split()[1]) for line in lines}


ERRORS = [0.9, 1.1, 1.0, 0.95, 1.05, 1.2, 0.8, 1.0, 1.02, 0.97]
CASES: dict[str, tuple[list[float | None], str]] = {
    "as close as the old one": ([*ERRORS], "PASS"),
    "twice as far": ([2 * e for e in ERRORS], "FAIL"),
    "about at the limit": ([1.25 * e for e in reversed(ERRORS)], "INCONCLUSIVE"),
    "a number missing of the old one": ([*ERRORS], "INCONCLUSIVE"),
    "not a number": ([None, *ERRORS[1:]], "FAIL"),
}


@pytest.mark.parametrize("case", CASES)
def test_two_verifiers_agree_on_what_recorded_episodes_say(
    tool: ModuleType, workspace: Workspace, release: Ref, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    new, status = CASES[case]
    held = said(release, new, ERRORS)
    if case == "a number missing of the old one":
        first = dataclasses.replace(held.episodes[0], old=Trace(mean=None, moments=(None,), nonfinite=1))
        held = dataclasses.replace(held, episodes=(first, *held.episodes[1:]))
    put(workspace, held)
    made = decided(workspace, release, policy())
    assert {c.check: c.status.value for c in made.checks} == {"holdout": "PASS", "regression": status}
    wanted = {"PASS": Verdict.PROMOTE, "FAIL": Verdict.REJECT, "INCONCLUSIVE": Verdict.HOLD}
    assert made.verdict is wanted[status]
    assert both(tool, workspace, capsys) == (set(), set())


def test_as_advice_that_does_not_block_it_is_told_and_decides_nothing(
    tool: ModuleType, workspace: Workspace, release: Ref, capsys: pytest.CaptureFixture[str]
) -> None:
    put(workspace, said(release, [3.0] * 10, ERRORS))
    made = decided(workspace, release, policy(blocking=False))
    assert made.verdict is Verdict.PROMOTE
    assert [(c.status.value, c.blocking) for c in made.checks if c.check == "regression"] == [("FAIL", False)]
    assert both(tool, workspace, capsys) == (set(), set())


def test_without_recorded_episodes_it_says_how_to_get_them(workspace: Workspace, release: Ref) -> None:
    made = decided(workspace, release, policy())
    assert made.verdict is Verdict.HOLD
    assert "worldgate replay episodes" in made.payload["missing"][0]


def test_no_policy_rests_on_it_alone() -> None:
    for checks in ([{"check": "regression"}], [{"check": "regression"}, {"check": "holdout", "blocking": False}]):
        with pytest.raises(ConfigError, match="rests on advice alone"):
            policies.read({"name": "alone", "kind": "promotion", "checks": checks}, where="here")


def test_a_decision_that_rests_on_it_alone_is_named_by_both_verifiers(
    tool: ModuleType,
    workspace: Workspace,
    release: Ref,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(workspace, said(release, [*ERRORS], ERRORS))
    with monkeypatch.context() as forged:
        forged.setattr(seams.load("gates", "regression"), "ADVISES", False)
        alone = policies.read({"name": "alone", "kind": "promotion", "checks": [{"check": "regression"}]}, where="here")
        made = decided(workspace, release, alone)
    assert made.verdict is Verdict.PROMOTE
    ours, theirs = both(tool, workspace, capsys)
    assert ours == theirs == {workspace.ledger.get(made.event).seq}


def test_the_newest_counts_and_another_choice_is_named_by_both_verifiers(
    tool: ModuleType,
    workspace: Workspace,
    release: Ref,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = put(workspace, said(release, [*ERRORS], ERRORS))
    put(workspace, said(release, [3.0] * 10, ERRORS))
    assert decided(workspace, release, policy()).verdict is Verdict.REJECT
    chosen = [(good.digest, workspace.get_json(good.digest))]
    with monkeypatch.context() as forged:
        forged.setattr(deciding, "_newest_regression", lambda ws, release, upto_seq: chosen)
        made = decide(
            workspace, policies.register(workspace, policy()), release, scope=Scope(slots=(SLOT,)), now_ns=NOW
        )
    ours, theirs = both(tool, workspace, capsys)
    assert ours == theirs == {workspace.ledger.get(made.event).seq}


def test_episodes_that_the_release_learned_from_do_not_count(
    tool: ModuleType, workspace: Workspace, release: Ref, capsys: pytest.CaptureFixture[str]
) -> None:
    made = said(release, [*ERRORS], ERRORS)
    known, logs = [row.episode for row in made.episodes[:3]], [row.log for row in made.episodes[3:5]]
    put_evidence(
        workspace,
        TrainingRecord(
            subject=WEIGHTS, dataset="1" * 64, normaliser="2" * 64, signals=(), episodes=tuple(known),
            logs=tuple(logs), origin=Origin.REAL,
        ),
    )  # fmt: skip
    put(workspace, made)
    found = decided(workspace, release, policy())
    assert [c.n for c in found.checks if c.check == "regression"] == [5]
    assert both(tool, workspace, capsys) == (set(), set())


@pytest.mark.parametrize(
    ("changes", "note"),
    [({"origin": Origin.SIMULATED}, "simulated episodes open loop do not count"), ({}, "of other sites do not count")],
)
def test_simulated_episodes_and_those_of_other_sites_do_not_count(
    tool: ModuleType,
    workspace: Workspace,
    release: Ref,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    note: str,
) -> None:
    made = said(release, [*ERRORS], ERRORS, **changes)
    rows = made.episodes if changes else tuple(dataclasses.replace(row, site="kitchen") for row in made.episodes)
    put(workspace, dataclasses.replace(made, episodes=rows))
    found = decided(workspace, release, policy())
    assert found.verdict is Verdict.HOLD
    assert any(note in said for said in found.payload["notes"])
    assert both(tool, workspace, capsys) == (set(), set())


def test_it_must_compare_with_the_old_release_of_the_plan(
    tool: ModuleType, workspace: Workspace, release: Ref, capsys: pytest.CaptureFixture[str]
) -> None:
    put(workspace, said(release, [*ERRORS], ERRORS))
    other = Ref("release", workspace.put_json({"schema": "worldgate/release/1", "weights": {}}), "r0")
    workspace.record("release.registered", body={"release": other.digest}, outputs=[other])
    made = decided(workspace, release, policy(), baseline=other.digest)
    assert made.verdict is Verdict.HOLD
    assert "plan's old release" in made.payload["missing"][0]
    assert both(tool, workspace, capsys) == (set(), set())


def test_a_regression_of_another_release_is_refused(workspace: Workspace, release: Ref) -> None:
    made = said(Ref("release", OLD), [*ERRORS], ERRORS).to_json()
    with pytest.raises(UsageError, match="another release"):
        counted._regression(policy(), release, made, ("bench",), [])
