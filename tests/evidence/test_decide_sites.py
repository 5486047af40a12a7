"""Decisions over site reports and pairs: whose evidence counts, and who may not choose it."""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any

import pytest
from tests.evidence import site_samples

from worldgate.core.digest import sha256
from worldgate.core.errors import UsageError
from worldgate.core.evidence import Status, Verdict
from worldgate.core.streams import Origin
from worldgate.evidence import policy
from worldgate.evidence.decide import DAY_NS, Inputs, Scope, decide, evaluate, put_evidence
from worldgate.evidence.pairing import SCHEMA
from worldgate.evidence.policy import GatePolicy
from worldgate.evidence.recompute import recompute
from worldgate.evidence.site_report import SiteReport
from worldgate.evidence.trials import record_trials
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

WORLD = format(0, "064x")
NOW = 1_800_000_000_000_000_000


def asking(*checks: dict[str, Any], **changes: Any) -> GatePolicy:
    tree = {"schema": "worldgate/gate-policy/1", "name": "here", "kind": "admission", "checks": list(checks), **changes}
    return policy.read(tree, where="here")


REPEATS = {"check": "determinism"}


def decided(rule: GatePolicy, *documents: Any, site: str = "bench", made_ns: int = NOW) -> dict[str, Any]:
    trees = [d.to_json() if isinstance(d, SiteReport) else d for d in documents]
    named = [(sha256(repr(tree).encode()), tree) for tree in trees]
    return evaluate(
        rule,
        Inputs(
            subject=Ref("world_model", WORLD), scope=Scope(sites=(site,)), decided_at_ns=NOW,
            expires_ns=NOW + DAY_NS, ledger_head=(1, "0" * 64), documents=named,
            made_ns={digest: made_ns for digest, _ in named},
        ),
    )  # fmt: skip


def test_a_policy_that_asks_nothing_of_errors_by_step_admits_no_signal() -> None:
    found = decided(asking(REPEATS), site_samples.report(3))
    assert found["verdict"] == Verdict.ADMIT
    assert found["admitted"] == [], "so no rollout is evidence of anything"


def test_episodes_of_other_sites_do_not_count_and_that_is_said() -> None:
    old, new = site_samples.report(4), site_samples.report(2, site="harbour")
    both = dataclasses.replace(old, episodes=(*old.episodes, *new.episodes))
    found = decided(asking(REPEATS), both, site="harbour")
    assert found["checks"][0]["n"] == 2
    assert "4 measured episodes of other sites do not count" in found["notes"]
    nowhere = decided(asking(REPEATS), both, site="kitchen")
    assert nowhere["verdict"] == Verdict.HOLD
    assert "no measured episode of site kitchen" in nowhere["notes"]


def test_another_origin_does_not_count_unless_the_policy_says_that_it_stands_in() -> None:
    simulated = site_samples.report(3, origin=Origin.SIMULATED)
    found = decided(asking(REPEATS), simulated)
    assert found["verdict"] == Verdict.HOLD
    assert any("simulated episodes does not count" in note for note in found["notes"])
    stands_in = asking(REPEATS, population="simulated stands in for real")
    assert decided(stands_in, simulated)["verdict"] == Verdict.ADMIT
    assert decided(stands_in, site_samples.report(3, origin=Origin.IMAGINED))["verdict"] == Verdict.HOLD


def test_evidence_about_another_world_model_is_refused() -> None:
    with pytest.raises(UsageError, match="site report of another world model"):
        decided(asking(REPEATS), site_samples.report(3, subject=sha256(b"other")))
    with pytest.raises(UsageError, match="trials in another world model"):
        decided(asking(REPEATS), {"schema": SCHEMA, "world": sha256(b"other"), "trials": []})
    with pytest.raises(UsageError, match="no gate reads"):
        decided(asking(REPEATS), {"schema": "worldgate/evaluation/1"})


def test_what_is_too_old_is_no_evidence() -> None:
    rule = asking({**REPEATS, "max_age_days": 30})
    assert decided(rule, site_samples.report(3), made_ns=NOW - 29 * DAY_NS)["verdict"] == Verdict.ADMIT
    stale = decided(rule, site_samples.report(3), made_ns=NOW - 31 * DAY_NS)
    assert stale["verdict"] == Verdict.HOLD
    assert decided(rule, site_samples.report(3), made_ns=0)["verdict"] == Verdict.HOLD, "or of unknown age"


def test_drift_advises_in_the_shipped_policy() -> None:
    for name in ("admission-full", "admission-full-simulated"):
        blocking = {spec.check: spec.blocking for spec in policy.load(name).checks}
        assert [check for check, blocks in blocking.items() if not blocks] == ["drift"]
        assert len(blocking) == 15
    rule = asking(REPEATS, {"check": "drift", "blocking": False})
    found = decided(rule, site_samples.report(30, shift=80))
    assert (found["checks"][1]["status"], found["verdict"]) == (Status.FAIL, Verdict.ADMIT)


def test_pairs_come_from_the_ledger_whatever_the_caller_hands_in(workspace: Workspace, fakes: ModuleType) -> None:
    bad = site_samples.trials(releases=1, scenes=3, real=lambda r, s: (False, 0), imagined=lambda r, s: (True, 0))
    record_trials(workspace, [item.trial for item in bad])
    kinder = Ref("evidence", workspace.put_json({"schema": SCHEMA, "world": WORLD, "trials": []}))
    report = put_evidence(workspace, site_samples.report(3))
    rule = policy.register(workspace, asking({"check": "optimism", "params": {"on": ["trials"]}}))
    found = decide(
        workspace, rule, Ref("world_model", WORLD), [report, kinder], scope=Scope(sites=("bench",)), now_ns=NOW
    )
    (told,) = [i["digest"] for i in found.payload["evidence"] if i["schema"] == SCHEMA]
    assert len(workspace.get_json(told)["trials"]) == 6
    assert found.verdict is Verdict.HOLD, "without a horizon no rollout is evidence"
    assert "6" not in found.checks[0].detail and "3 rollouts beyond H(epsilon) refused" in found.checks[0].detail
    assert recompute(workspace, found.ref.digest) == workspace.store.get(found.ref.digest)


def test_a_policy_that_asks_nothing_of_pairs_is_not_shown_them(workspace: Workspace) -> None:
    record_trials(workspace, [item.trial for item in site_samples.trials(releases=1, scenes=2)])
    rule = policy.register(workspace, asking(REPEATS))
    report = put_evidence(workspace, site_samples.report(3))
    found = decide(workspace, rule, Ref("world_model", WORLD), [report], scope=Scope(sites=("bench",)), now_ns=NOW)
    assert [i["schema"] for i in found.payload["evidence"]] == ["worldgate/site-gap/1"]
