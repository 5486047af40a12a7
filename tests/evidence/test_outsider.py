"""Two verifiers written apart agree: on good decisions, on every kind of broken one, and on each bound."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.evidence import promotions
from tests.evidence.held_out import frozen
from tests.outsider import TOOL

from worldgate.core.digest import canonical
from worldgate.core.evidence import Verdict
from worldgate.core.streams import Origin
from worldgate.evidence import policy as policies
from worldgate.evidence import scenarios, statistics
from worldgate.evidence.approvals import approve
from worldgate.evidence.bootstrap import ratio_interval
from worldgate.evidence.decide import Decision, Scope, decide, put_evidence
from worldgate.evidence.gap import gap
from worldgate.evidence.gap_report import GapConfig
from worldgate.evidence.gate_evidence import TrainingRecord
from worldgate.evidence.recompute import RECOMPUTE
from worldgate.evidence.sequential import SequentialPlan, follow, stagewise_lower
from worldgate.record.events import Ref
from worldgate.record.lineage import backward, forward
from worldgate.record.signing import sign_statement, statement_type
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

NOW = 1_800_000_000_000_000_000
SLOT = "bench/ur5/left"


@pytest.fixture
def admitted(workspace: Workspace, fakes: ModuleType) -> Decision:
    return _admission(workspace, fakes, gain=1.0)


def _admission(ws: Workspace, fakes: ModuleType, *, gain: float, site: str = "bench") -> Decision:
    episodes = [fakes.episode(seed) for seed in range(16)]
    model = fakes.FakeModel(gain=gain, noise=0.001)
    report = gap(model, episodes, GapConfig(windows=4, epsilon={"observation.state": 0.05}))
    training = TrainingRecord.of_model(model.spec, episodes=("other",), origin=Origin.REAL)
    evidence = [put_evidence(ws, frozen(ws, report)), put_evidence(ws, training)]
    policy = policies.register(ws, policies.load("admission"))
    return decide(ws, policy, Ref("world_model", model.spec.digest), evidence, scope=Scope(sites=(site,)), now_ns=NOW)


def _promotion(
    ws: Workspace, fakes: ModuleType, outcomes: list[bool], *, violations: int = 0, normaliser: str = "normaliser",
    chosen_by: str = "", actor: str | None = None,
) -> Decision:  # fmt: skip
    signal = {"name": "observation.state", "unit": "m", "names": ["x", "y"], "shape": [2]}
    manifest = {
        "schema": "worldgate/release/1",
        "weights": {"policy.safetensors": fakes.digest("weights")},
        "normaliser": fakes.digest(normaliser),
        "dataset": fakes.digest("dataset"),
        "observation": [signal],
        "action": {"name": "action", "unit": "m", "shape": [2]},
    }
    release = Ref("release", ws.put_json(manifest), "r1")
    ws.record("release.registered", body={"release": release.digest}, outputs=[release], actor="tester")
    training = TrainingRecord(
        subject=fakes.digest("weights"),
        dataset=fakes.digest("dataset"),
        normaliser=fakes.digest("normaliser"),
        signals=(*fakes.spec().states, fakes.spec().action),
        episodes=(),
        origin=Origin.REAL,
    )
    policy = policies.register(ws, policies.load("promotion"))
    evidence = [put_evidence(ws, training)]
    scenario = scenarios.Scenario(name="reach", site="bench", initial={"x": 0.5}, source="incident", incident="i1")
    scenarios.register(ws, scenario)
    made = promotions.plan(ws, policy, release, held=promotions.suite(ws, attempts=1), now_ns=NOW)
    promotions.run(ws, made, [True], metrics={"steps": 12.0})  # the incident's
    broken, told = outcomes[:violations], {"metrics": {"steps": 12.0}, "chosen_by": chosen_by}
    promotions.run(ws, made, broken, first=2, violations=1, **told)
    promotions.run(ws, made, outcomes[violations:], first=2 + len(broken), **told)
    return decide(ws, policy, release, evidence, scope=Scope(slots=(SLOT,)), now_ns=NOW + 10**9, actor=actor)


def _both(tool: ModuleType, ws: Workspace, capsys: pytest.CaptureFixture[str]) -> tuple[set[int], set[int]]:
    """Which records each of the two verifiers names."""
    ours = {problem.seq for problem in verify(ws, recompute=RECOMPUTE).problems}
    code = tool.main([str(ws.root)])
    lines = capsys.readouterr().out.splitlines()
    named = [line for line in lines if line.startswith(("record ", "ledger:"))]
    assert code == int(bool(named)), lines
    return ours, {int(line.split()[1]) if line.startswith("record ") else 0 for line in named}


def test_both_agree_that_good_decisions_hold(
    tool: ModuleType, workspace: Workspace, fakes: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _admission(workspace, fakes, gain=1.0).verdict is Verdict.ADMIT
    assert _admission(workspace, fakes, gain=0.0).verdict is Verdict.REJECT
    promoted = _promotion(workspace, fakes, [True] * 60, chosen_by=fakes.FakeModel().spec.digest)
    assert {c.check: c.status.value for c in promoted.checks}["success"] == "PASS"
    assert _both(tool, workspace, capsys) == (set(), set())


@pytest.mark.parametrize(
    ("outcomes", "violations", "normaliser", "verdict"),
    [
        ([True] * 60, 0, "normaliser", "PROMOTE"),
        ([True] * 60, 0, "another", "REJECT"),
        ([True] * 60, 20, "normaliser", "REJECT"),
        ([True] * 25, 0, "normaliser", "HOLD"),
        ([False] * 12, 0, "normaliser", "REJECT"),
        ([True, False] * 20, 3, "normaliser", "REJECT"),
        ([True] * 9 + [False] + [True] * 9 + [False] + [True] * 45, 1, "normaliser", "REJECT"),
        ([True] * 10 + [False] * 40, 0, "normaliser", "REJECT"),
        ([], 0, "normaliser", "HOLD"),
    ],
)
def test_both_recompute_promotions(
    tool: ModuleType,
    workspace: Workspace,
    fakes: ModuleType,
    capsys: pytest.CaptureFixture[str],
    outcomes: list[bool],
    violations: int,
    normaliser: str,
    verdict: str,
) -> None:
    decision = _promotion(workspace, fakes, outcomes, violations=violations, normaliser=normaliser)
    assert decision.verdict == verdict
    assert _both(tool, workspace, capsys) == (set(), set())


def test_a_promotion_leads_back_to_its_trials_and_a_trial_forward_to_it(
    workspace: Workspace, fakes: ModuleType
) -> None:
    decision = _promotion(workspace, fakes, [True] * 3)
    trial = workspace.artifacts("trial")[0]
    assert trial.digest in {node.ref.digest for node in backward(workspace, decision.ref.digest).walk()}
    assert decision.ref.digest in {node.ref.digest for node in forward(workspace, trial.digest).walk()}


def test_both_check_approvals(
    tool: ModuleType, workspace: Workspace, fakes: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    decision = _promotion(workspace, fakes, [True] * 60)
    workspace.add_key("bea", owner="bea")
    approve(workspace, decision.ref, key="bea", now_ns=NOW + 2 * 10**9, expires_ns=NOW + 3 * 10**9)
    assert _both(tool, workspace, capsys) == (set(), set())
    workspace.add_key("laptop", owner="tester")
    body = {
        "decision": decision.ref.digest,
        "release": decision.payload["subject"]["digest"],
        "slots": [SLOT],
        "expires_ns": NOW + 3 * 10**9,
        "person": "tester",
    }
    own = workspace.record("gate.approved", body=body, actor="laptop")
    assert _both(tool, workspace, capsys) == ({own.seq}, {own.seq})


def _forge(ws: Workspace, fakes: ModuleType, change: Callable[[dict[str, Any]], None]) -> int:
    """A decision whose payload was changed before it was signed by an authorised key."""
    honest = _promotion(ws, fakes, [True] * 25)
    payload = dict(ws.get_json(honest.ref.digest))
    change(payload)
    data = canonical(payload)
    digest = ws.store.put_bytes(data)
    envelope = ws.put_json(sign_statement(data, statement_type("decision"), ws.signer()))
    event = next(e for e in ws.ledger.events("gate.decided") if e.digest == honest.event)
    body = {**event.body, "decision": digest, "envelope": envelope, "verdict": payload["verdict"]}
    return ws.record("gate.decided", body=body, inputs=event.inputs, outputs=[Ref("decision", digest)]).seq


def _promote_anyway(payload: dict[str, Any]) -> None:
    payload["verdict"] = "PROMOTE"


def _claim_a_pass(payload: dict[str, Any]) -> None:
    payload["checks"] = [{**check, "status": "PASS"} for check in payload["checks"]]
    payload["verdict"] = "PROMOTE"


def _forget_a_check(payload: dict[str, Any]) -> None:
    payload["checks"] = payload["checks"][:-1]


def _forget_trials(payload: dict[str, Any]) -> None:
    payload["ledger_head"] = {**payload["ledger_head"], "seq": payload["ledger_head"]["seq"] - 4}


def _forget_incidents(payload: dict[str, Any]) -> None:
    payload["incidents"] = []


def _forget_the_training(payload: dict[str, Any]) -> None:
    payload["evidence"] = [item for item in payload["evidence"] if item["schema"] != "worldgate/training/1"]


def _hold_for_ever(payload: dict[str, Any]) -> None:
    payload["expires_ns"] = payload["expires_ns"] + 10**18


def _ask_for_nobody(payload: dict[str, Any]) -> None:
    payload["approvals_needed"] = 0


@pytest.mark.parametrize(
    "change",
    [
        _promote_anyway,
        _claim_a_pass,
        _forget_a_check,
        _forget_trials,
        _forget_incidents,
        _forget_the_training,
        _hold_for_ever,
        _ask_for_nobody,
    ],
)
def test_both_name_a_forged_decision(
    tool: ModuleType,
    workspace: Workspace,
    fakes: ModuleType,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, Any]], None],
) -> None:
    seq = _forge(workspace, fakes, change)
    assert _both(tool, workspace, capsys) == ({seq}, {seq})


def test_both_name_the_trial_whose_bytes_were_changed(
    tool: ModuleType, workspace: Workspace, fakes: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    decision = _promotion(workspace, fakes, [True] * 8 + [False] * 4)
    failed = next(event for event in workspace.ledger.events("trial.run") if not event.body["success"])
    path = workspace.store.path(failed.body["trial"])
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b'"success":false', b'"success":true '))
    decided = workspace.ledger.get(decision.event).seq
    ours, theirs = _both(tool, workspace, capsys)
    assert ours == theirs == {failed.seq, decided}


def test_the_outsider_needs_nothing_of_ours(admitted: Decision, workspace: Workspace) -> None:
    code = (
        "import runpy, sys; tool = sys.argv.pop(1)\n"
        "try: runpy.run_path(tool, run_name='__main__')\n"
        "finally: assert not {'worldgate', 'numpy', 'scipy', 'rfc8785'} & {m.split('.')[0] for m in sys.modules}"
    )
    told = [sys.executable, "-I", "-c", code, str(TOOL), str(workspace.root)]
    done = subprocess.run(told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 problems" in done.stdout
    assert "unwitnessed" in done.stdout


def test_both_find_the_same_binomial_bounds(tool: ModuleType) -> None:
    for k, n in ((1, 1), (3, 10), (20, 20), (49, 50), (1, 200), (299, 300)):
        for alpha in ("0.05", "0.01"):
            assert tool.binomial_lower(k, n, Fraction(alpha)) == statistics.binomial_lower(k, n, alpha)
            for limit in ("0.5", "0.8", "0.05"):
                below = Fraction(statistics.binomial_upper(k, n, alpha)) < Fraction(limit)
                assert tool.shown_below(k, n, Fraction(limit), Fraction(alpha)) == below


def test_both_follow_the_sequential_test_alike(tool: ModuleType) -> None:
    rng = random.Random(5)
    for p0, alpha, looks in (("0.8", "0.05", (10, 20, 30, 40)), ("0.95", "0.05", (59,)), ("0.5", "0.1", (3, 5, 9))):
        plan = SequentialPlan.make(p0=p0, alpha=alpha, looks=looks)
        told = (Fraction(p0), Fraction(alpha), looks)
        assert tuple(tool.spending(*told)) == plan.boundaries
        for _ in range(30):
            outcomes = [rng.random() < rng.choice((0.3, 0.8, 0.98)) for _ in range(rng.randrange(looks[-1] + 5))]
            ours, theirs = follow(plan, outcomes), tool.follow(*told, outcomes)
            assert (ours.step.value, ours.trials, ours.successes) == theirs[:3]
            if ours.look is not None:
                assert stagewise_lower(plan, ours) == tool.stagewise(*told, ours.look, ours.successes)


def test_both_bootstrap_alike(tool: ModuleType) -> None:
    rng = np.random.default_rng(3)
    for n in (5, 7, 23):
        above, below = rng.lognormal(0, 0.4, n).tolist(), rng.lognormal(0.2, 0.4, n).tolist()
        ours = ratio_interval(above, below, alpha="0.05", resamples=1000, seed=n)
        low, high = tool.ratio_interval(above, below, Fraction("0.05"), 1000, n)
        assert (tool.plain(low), tool.plain(high)) == (ours.lower, ours.upper)
        shares = [Fraction(int(v), 7) for v in rng.integers(0, 8, n)]
        assert tool.mean_lower(shares, Fraction("0.05")) == statistics.mean_lower(shares, "0.05")
