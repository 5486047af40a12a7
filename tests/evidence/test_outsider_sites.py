"""The outsider's verifier and the library agree on every check over measured episodes and paired trials."""

from __future__ import annotations

import dataclasses
import random
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.evidence import site_samples
from tests.evidence.held_out import frozen, manifest
from tests.evidence.site_samples import FORCE, GOOD, LIDAR, STATE

from worldgate.core import seams
from worldgate.core.digest import canonical, restore, sha256, to_json
from worldgate.core.evidence import Trial, Verdict
from worldgate.core.streams import Origin
from worldgate.data.datasets.manifests import EpisodeEntry
from worldgate.evidence import policy as policies
from worldgate.evidence import ranking, statistics
from worldgate.evidence.decide import Decision, Scope, decide, put_evidence
from worldgate.evidence.drift import permutation_p
from worldgate.evidence.gap import gap
from worldgate.evidence.gap_report import GapConfig, GapReport
from worldgate.evidence.gate_evidence import GateEvidence, TrainingRecord
from worldgate.evidence.policy import GatePolicy
from worldgate.evidence.recompute import RECOMPUTE
from worldgate.evidence.site_report import SiteReport
from worldgate.evidence.trials import RecordedTrial, record_trials
from worldgate.record.events import Ref
from worldgate.record.signing import sign_statement, statement_type
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

NOW = 1_800_000_000_000_000_000
CHECKS = (
    "action_following", "counterfactual", "contact", "plausibility", "calibration", "optimism", "missed_violations",
    "drift", "layout", "determinism", "rank",
)  # fmt: skip
WORLD = format(0, "064x")


def plain(value: Any) -> Any:
    return restore(to_json(value))


def stand_in(tool: ModuleType, evidence: GateEvidence) -> Any:
    """The outsider's gate, handed the same evidence as plain JSON."""
    gate = object.__new__(tool.Gate)
    gate.sites, gate.origins = list(evidence.sites), {str(o) for o in evidence.origins}
    gate.policy = {"signals": list(evidence.signals)}
    gate.gap = None if evidence.gap is None else plain(evidence.gap)
    gate.measured = None if evidence.measured is None else plain(evidence.measured)
    gate.datasets = plain(evidence.datasets)
    gate.both = [plain(item.trial) for item in evidence.pairs or ()]
    return gate


def both(tool: ModuleType, check: str, evidence: GateEvidence, **params: Any) -> list[tuple[str, str, str, int]]:
    """The library's results, after holding the outsider's against them."""
    module = seams.load("gates", check)
    if "resamples" in {f.name for f in dataclasses.fields(module.Config)}:
        params = {"resamples": 400, **params}
    config = module.Config(**params)
    ours = [(r.signal, r.status.value, r.bound, r.n) for r in module.check(config, evidence)]
    theirs = tool.CHECKS[check](plain(config), stand_in(tool, evidence))
    assert [(s, status, n) for s, status, _, n in ours] == [(s, status, n) for s, status, _, n in theirs], check
    for (signal, _, bound, _), (_, _, other, _) in zip(ours, theirs, strict=True):
        assert tool.close(other, bound), f"{check} {signal}: {bound} and {other}"
    return ours


def horizon(fakes: ModuleType) -> GapReport:
    model = fakes.FakeModel(spec=fakes.spec(digest=WORLD))
    config = GapConfig(windows=4, epsilon={STATE: 0.05})
    return gap(model, [fakes.episode(seed) for seed in range(20)], config)


def evidence(**changes: Any) -> GateEvidence:
    fields = {"subject": WORLD, "sites": ("bench",), "now_ns": NOW, "measured": site_samples.report(), "pairs": ()}
    return GateEvidence(**{**fields, **changes})


def scattered(seed: int, episodes: int, *, broken: bool = False) -> SiteReport:
    """A report whose sums vary from episode to episode, about some level of quality."""
    rng = random.Random(seed)
    quality = rng.choice((1.0, 0.95, 0.7, 0.3))

    def whole(figure: str) -> Any:
        good = next(sums for (name, _, who), sums in GOOD.items() if name == figure and who == "model")

        def told(number: int) -> tuple[float | None, ...] | None:
            if rng.random() < 0.05:
                return None
            if broken and rng.random() < 0.1:
                return (None,) * len(good)
            bad = rng.random() > quality
            if figure.endswith("gain"):
                return (good[0] or 0.0, round(rng.gauss(quality, 0.2) * (good[0] or 0.0), 3))
            if figure.endswith("onset_late"):
                return tuple(float(rng.randrange(3)) for _ in good)
            if figure.startswith("violations"):
                return (float(rng.randrange(9)) if bad else 0.0, good[1])
            if figure.endswith(("crossings", "onset_f1")):
                return tuple(float(rng.randrange(3)) for _ in good)
            if figure.endswith("optimism"):
                return (rng.randrange(4) * 0.25 * 4 if bad else 0.0, good[1])
            if figure == "same_seed":
                return (0.0 if bad and quality < 0.5 else 1.0, 1.0)
            return (round((good[0] or 0.0) * rng.uniform(quality, 1.0), 2), good[1])

        return told

    figures = {name for name, _, who in GOOD if who == "model" and not name.endswith("action_r2")}
    return site_samples.report(episodes, change={name: whole(name) for name in figures}, shift=rng.choice((0, 0, 60)))


@pytest.mark.parametrize("seed", range(12))
def test_both_agree_on_reports_of_any_quality(tool: ModuleType, seed: int) -> None:
    report = scattered(seed, (4, 7, 30, 60)[seed % 4], broken=seed % 5 == 4)
    for check in CHECKS:
        both(tool, check, evidence(measured=report))


@pytest.mark.parametrize("settings", [{}, {"contact_tolerance_s": 3.0, "force_limit_n": 2.0}, {"force_limit_n": 40.0}])
def test_both_hold_what_was_measured_to_the_policys_limits(tool: ModuleType, settings: dict[str, float]) -> None:
    given = evidence(measured=site_samples.report(settings=settings))
    both(tool, "contact", given)
    both(tool, "contact", given, tolerance_s="5")
    both(tool, "layout", given, layout="a" * 64)
    both(tool, "missed_violations", given, force_limit_n="40", clearance_limit_m="0.1")


def test_both_agree_that_good_reports_pass_and_that_nothing_does_not(tool: ModuleType) -> None:
    for check in CHECKS[:-1]:
        assert {status for _, status, _, _ in both(tool, check, evidence())} == {"PASS"}, check
        for nothing in (None, site_samples.report(0)):
            found = both(tool, check, evidence(measured=nothing))
            assert {status for _, status, _, _ in found} == {"INCONCLUSIVE"}, check


@pytest.mark.parametrize("seed", range(6))
def test_both_agree_on_pairs_of_any_kind(tool: ModuleType, fakes: ModuleType, seed: int) -> None:
    rng = random.Random(seed)

    def outcome(release: int, scene: int) -> tuple[bool, int]:
        ok, crossed = site_samples.agreeing(release, scene)
        return (ok, crossed) if rng.random() > 0.04 * seed else (not ok, rng.randrange(2))

    found = list(site_samples.trials(imagined=outcome, steps=rng.choice((5.0, None)) if seed == 5 else 5.0, scenes=40))
    for i in range(0, len(found), 37):
        item = found[i]
        found[i] = dataclasses.replace(item, trial=dataclasses.replace(item.trial, excluded="camera"))
    found += found[:30]
    pairs = tuple(found)
    given = evidence(gap=horizon(fakes), pairs=pairs, measured=None)
    for check in ("optimism", "missed_violations"):
        assert both(tool, check, given, on=("trials",))
        assert both(tool, check, given, on=("episodes", "trials"))
        both(tool, check, given, on=())
    both(tool, "rank", given)
    both(tool, "rank", given, least=9)
    both(tool, "rank", dataclasses.replace(given, sites=("kitchen",)))


def test_both_agree_where_releases_succeed_alike(tool: ModuleType, fakes: ModuleType) -> None:
    pairs = site_samples.trials(real=lambda r, s: (s % 2 == 0, 0), scenes=20)
    found = both(tool, "rank", evidence(gap=horizon(fakes), pairs=pairs))
    assert [(signal, status) for signal, status, _, _ in found] == [("", "INCONCLUSIVE")]


def test_both_find_the_same_rates_medians_and_permutations(tool: ModuleType) -> None:
    for events in (0, 1, 7, 60):
        for alpha in (Fraction(1, 20), Fraction(1, 100)):
            upper = Fraction(tool.poisson(events, alpha, upper=True))
            assert float(upper) == pytest.approx(float(statistics.poisson_upper(events, 1, alpha)), rel=1e-10)
            lower = Fraction(tool.poisson(events, alpha, upper=False))
            assert float(lower) == pytest.approx(float(statistics.poisson_lower(events, 1, alpha)), rel=1e-10)
    rng = np.random.default_rng(1)
    for m, n, shift in ((5, 9, 0), (12, 7, 30), (30, 20, 5)):
        here, there = (rng.integers(0, 100, (k, 3)).tolist() for k in (m, n))
        here = [[v + shift for v in row] for row in here]
        ours = permutation_p(here, there, permutations=99, seed=m)
        assert tool.permutation_p(here, there, 99, m) == ours
    real = {str(i): Fraction(i, 9) for i in range(9)}
    imagined = {str(i): Fraction(i * i % 9, 9) for i in range(9)}
    bounds = ranking.fisher(real=real, imagined=imagined, alpha="0.025")
    theirs = tool.fisher_bounds(list(real.values()), list(imagined.values()), Fraction("0.025"))
    assert bounds is not None
    assert all(tool.close(tool.plain(a), b) for a, b in zip(theirs, bounds, strict=True))


# ---- whole decisions ------------------------------------------------------------------------------------------------


def full_policy() -> GatePolicy:
    """The shipped policy of every check, with fewer resamples and what a small world can show."""
    shipped = policies.load("admission-full").to_json()
    for spec in shipped["checks"]:
        spec["params"] |= {"resamples": 300} if "resamples" in spec["params"] else {}
    return policies.read(shipped, where="here")


def admission(ws: Workspace, fakes: ModuleType, measured: SiteReport, pairs: tuple[RecordedTrial, ...]) -> Decision:
    model = fakes.FakeModel(spec=fakes.spec(digest=WORLD), noise=0.001)
    report = gap(model, [fakes.episode(seed) for seed in range(20)], GapConfig(windows=4, epsilon={STATE: 0.05}))
    training = TrainingRecord.of_model(model.spec, episodes=("other",), origin=Origin.REAL)
    record_trials(ws, [item.trial for item in pairs])
    given = [put_evidence(ws, document) for document in (frozen(ws, report), frozen(ws, measured), training)][:2]
    policy = policies.register(ws, full_policy())
    return decide(ws, policy, Ref("world_model", WORLD), given, scope=Scope(sites=("bench",)), now_ns=NOW)


def named(tool: ModuleType, ws: Workspace, capsys: pytest.CaptureFixture[str]) -> tuple[set[int], set[int]]:
    ours = {problem.seq for problem in verify(ws, recompute=RECOMPUTE).problems}
    tool.main([str(ws.root)])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("record ")]
    return ours, {int(line.split()[1]) for line in lines}


def test_a_full_admission_is_recomputed_by_both_and_a_forged_one_named(
    tool: ModuleType, workspace: Workspace, fakes: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    found = admission(workspace, fakes, site_samples.report(), site_samples.trials(scenes=36))
    assert {c.check: c.status.value for c in found.checks if c.status.value != "PASS"} == {}
    assert found.verdict is Verdict.ADMIT
    schemas = {item["schema"] for item in found.payload["evidence"]}
    assert {"worldgate/site-gap/1", "worldgate/paired-trials/1", "worldgate/gap/1"} <= schemas
    assert named(tool, workspace, capsys) == (set(), set())
    late = Trial(
        scenario="5" * 64, release=sha256(b"release0"), executor=Origin.IMAGINED, slot="bench/ur5/left",
        seed=99, success=True, violations=0, metrics={"steps": 3.0}, world=WORLD,
    )  # fmt: skip
    record_trials(workspace, [late])
    assert named(tool, workspace, capsys) == (set(), set()), "what is recorded later is not looked at"
    payload = dict(workspace.get_json(found.ref.digest))
    payload["evidence"] = [i for i in payload["evidence"] if i["schema"] != "worldgate/paired-trials/1"]
    data = canonical(payload)
    digest = workspace.store.put_bytes(data)
    envelope = workspace.put_json(sign_statement(data, statement_type("decision"), workspace.signer()))
    event = next(e for e in workspace.ledger.events("gate.decided") if e.digest == found.event)
    body = {**event.body, "decision": digest, "envelope": envelope}
    forged = workspace.record("gate.decided", body=body, inputs=event.inputs, outputs=[Ref("decision", digest)])
    assert named(tool, workspace, capsys) == ({forged.seq}, {forged.seq})


def test_both_reject_a_boastful_model_and_name_a_report_that_was_swapped(
    tool: ModuleType, workspace: Workspace, fakes: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    boasts = site_samples.report(change={f"{STATE}/optimism": lambda i: (2.0, 4.0)})
    found = admission(
        workspace, fakes, boasts, site_samples.trials(imagined=lambda r, s: (True, 0), scenes=36, releases=2)
    )
    failed = {(c.check, c.signal) for c in found.checks if c.status.value == "FAIL"}
    assert found.verdict is Verdict.REJECT
    assert {("optimism", f"{STATE} optimism"), ("optimism", "paired trials optimism")} <= failed
    assert {("optimism", "paired trials recall"), ("missed_violations", "paired trials")} <= failed
    assert named(tool, workspace, capsys) == (set(), set())
    payload = dict(workspace.get_json(found.ref.digest))
    better = workspace.put_json(frozen(workspace, site_samples.report()).to_json())
    payload["evidence"] = [
        {**i, "digest": better} if i["schema"] == "worldgate/site-gap/1" else i for i in payload["evidence"]
    ]
    data = canonical(payload)
    digest = workspace.store.put_bytes(data)
    envelope = workspace.put_json(sign_statement(data, statement_type("decision"), workspace.signer()))
    event = next(e for e in workspace.ledger.events("gate.decided") if e.digest == found.event)
    body = {**event.body, "decision": digest, "envelope": envelope}
    forged = workspace.record("gate.decided", body=body, inputs=event.inputs, outputs=[Ref("decision", digest)])
    assert named(tool, workspace, capsys) == ({forged.seq}, {forged.seq})


@pytest.mark.parametrize("crossed", [False, True])
def test_both_find_the_measured_episode_that_the_model_was_trained_on(
    tool: ModuleType, fakes: ModuleType, crossed: bool
) -> None:
    report, measured = horizon(fakes), site_samples.report(8)
    report = dataclasses.replace(report, cross_validated=crossed)
    model = fakes.FakeModel(spec=fakes.spec(digest=WORLD))
    for fed, count in ((("other",), 0), ((measured.episodes[3].episode, "other"), 1), ((), None)):
        training = TrainingRecord.of_model(model.spec, episodes=fed, origin=Origin.REAL)
        given = evidence(gap=report, measured=measured, training=training)
        gate = stand_in(tool, given)
        gate.training = plain(training)
        module = seams.load("gates", "schema")
        _, ours, _ = module.check(module.Config(), given)
        _, theirs, _ = tool.check_schema({}, gate)
        assert (ours.signal, ours.status.value, ours.bound, ours.n) == theirs
        own = len(report.episodes) if crossed else 0
        assert ours.bound == ("" if count is None else str(count + own))


ONE_MORE = EpisodeEntry(
    id=format(9, "064x"), log=format(9, "064x"), name="one more", split="test", site="bench", origin=Origin.REAL,
    rows=9, report="",
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "whole"),
    [
        ({}, True),
        ({"more": ONE_MORE}, False),
        ({"more": dataclasses.replace(ONE_MORE, site="")}, False),
        ({"more": dataclasses.replace(ONE_MORE, site="kitchen")}, True),
        ({"more": dataclasses.replace(ONE_MORE, split="train")}, True),
        ({"without": 1}, False),
        ({"unknown": True}, False),
    ],
)
@pytest.mark.parametrize("of_report", [True, False])
def test_both_find_what_was_left_out_of_a_report(
    tool: ModuleType, fakes: ModuleType, of_report: bool, change: dict[str, Any], whole: bool
) -> None:
    report, measured = horizon(fakes), site_samples.report(8)
    frozen = {report.dataset: manifest(report), measured.dataset: manifest(measured)}
    changed = report.dataset if of_report else measured.dataset
    entries = (*frozen[changed].episodes[change.get("without", 0) :], *([change["more"]] if "more" in change else []))
    frozen[changed] = dataclasses.replace(frozen[changed], episodes=entries)
    if "unknown" in change:
        del frozen[changed]
    training = TrainingRecord.of_model(fakes.spec(digest=WORLD), episodes=("other",), origin=Origin.REAL)
    given = evidence(gap=report, measured=measured, training=training, datasets=frozen)
    gate = stand_in(tool, given)
    gate.training = plain(training)
    module = seams.load("gates", "schema")
    *_, ours = module.check(module.Config(), given)
    *_, theirs = tool.check_schema({}, gate)
    assert (ours.signal, ours.status.value, ours.bound, ours.n) == theirs
    assert ours.status.value == ("PASS" if whole else "INCONCLUSIVE")


def test_labels_of_figures_are_those_that_the_checks_read() -> None:
    assert {FORCE, LIDAR, STATE} <= {name.split("/")[0] for name, _, _ in GOOD}
