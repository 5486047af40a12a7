"""Gate honesty by simulation: releases and models exactly at the limit pass at most alpha of the time (plus 3 s.e.).

The fast versions run with every test; the long ones are marked slow. Users who peek, and who stop as soon as they like
what they see, are simulated too.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.evidence import promotions

from worldgate.core import seams
from worldgate.core.evidence import Status
from worldgate.core.streams import BoolArray, IntArray, Origin
from worldgate.core.worlds import ModelSpec
from worldgate.evidence.gap_report import EpisodeGap, Errors, GapConfig, GapReport, SignalInfo
from worldgate.evidence.gate_evidence import GateEvidence

SPEC = ModelSpec(family="fake", digest="8" * 64, normaliser="", rate_hz=10.0, context=1)
RUNS = [pytest.param(300, id="fast"), pytest.param(4000, id="long", marks=pytest.mark.slow)]


def ceiling(alpha: float, runs: int) -> float:
    return alpha + 3 * (alpha * (1 - alpha) / runs) ** 0.5


PLAN = promotions.imagined_plan(100)


def evidence(outcomes: BoolArray, broken: IntArray) -> GateEvidence:
    came = promotions.came_of(
        PLAN,
        lambda number, _: {"success": bool(outcomes[number - 1]), "violations": int(broken[number - 1])},
        rows=len(outcomes),
    )
    return GateEvidence(subject=PLAN.release, sites=("bench",), now_ns=0, planned=came)


def passes_at_any_peek(check: str, params: dict[str, object], outcomes: BoolArray, broken: IntArray) -> bool:
    """A user who asks the gate after every fifth trial and stops at the first pass or fail."""
    module = seams.load("gates", check)
    config = module.Config(**params)
    whole = evidence(outcomes, broken)
    for n in range(5, len(outcomes) + 1, 5):
        assert whole.planned is not None
        so_far = dataclasses.replace(whole, planned=dataclasses.replace(whole.planned, runs=whole.planned.runs[:n]))
        (result,) = module.check(config, so_far)
        if result.status is not Status.INCONCLUSIVE:
            return bool(result.status is Status.PASS)
    return False


@pytest.mark.parametrize("runs", RUNS)
def test_a_release_at_the_limit_of_success_passes_at_most_alpha_of_the_time(runs: int) -> None:
    rng = np.random.default_rng(11)
    looks = tuple(range(10, 61, 10))
    wins = rng.random((runs, 60)) < 0.8
    none = np.zeros(60, dtype=int)
    passed = sum(passes_at_any_peek("success", {"p0": "0.80", "looks": looks}, row, none) for row in wins)
    assert passed / runs <= ceiling(0.05, runs)
    assert passed > 0, "a test that nothing passes shows nothing"


@pytest.mark.parametrize("runs", RUNS)
def test_a_release_at_the_limit_of_violations_passes_at_most_alpha_of_the_time(runs: int) -> None:
    rng = np.random.default_rng(12)
    broken = (rng.random((runs, 60)) < 0.10).astype(int)
    won = np.ones(60, dtype=bool)
    passed = sum(passes_at_any_peek("violations", {"limit": "0.10"}, won, row) for row in broken)
    assert passed / runs <= ceiling(0.05, runs)
    assert passed > 0


def test_a_good_release_passes_most_of_the_time_with_fewer_trials_than_a_fixed_test() -> None:
    rng = np.random.default_rng(13)
    module = seams.load("gates", "success")
    none, used = np.zeros(100, dtype=int), []
    for row in rng.random((200, 100)) < 0.95:
        (result,) = module.check(module.Config(), evidence(row, none))
        if result.status is Status.PASS:
            used.append(result.n)
    assert len(used) / 200 > 0.97
    assert 36 < np.mean(used) < 45  # 40 of 100 by the exact programme


def report(ratio: float, rng: np.random.Generator, *, episodes: int, within: float = 1.0) -> GapReport:
    """One step, one signal: model errors are ``ratio`` times the baseline's in expectation, mildly skewed."""
    base = rng.gamma(4.0, 0.25, episodes)
    model = ratio * base * rng.lognormal(0.0, 0.25, episodes) / np.exp(0.25**2 / 2)
    shares = rng.binomial(10, np.clip(rng.beta(20 * within, 20 * (1 - within) + 1e-9, episodes), 0, 1))
    rows = tuple(
        EpisodeGap(
            episode=format(i, "064x"),
            log="7" * 64,
            name=str(i),
            site="bench",
            model="8" * 64,
            windows=10,
            skipped=0,
            signals={
                "s": Errors(
                    model=(float(m),),
                    hold=(float(b),),
                    velocity=(float(b),),
                    shuffled=(float(b),),
                    measured=(10,),
                    within=(int(k),),
                    nonfinite=0,
                )
            },
        )
        for i, (m, b, k) in enumerate(zip(model, base, shares, strict=True))
    )
    info = SignalInfo(name="s", stream="s", metric="state_rms", unit="m", better="lower", channels=(0,), epsilon=1.0)
    return GapReport(
        subject="8" * 64,
        spec=SPEC,
        origin=Origin.REAL,
        dataset="",
        rate_hz=10.0,
        steps=1,
        config=GapConfig(),
        signals=(info,),
        episodes=rows,
    )


def admitted(check: str, params: dict[str, object], given: GapReport) -> bool:
    module = seams.load("gates", check)
    found = module.check(module.Config(**params), GateEvidence(subject="8" * 64, sites=("bench",), now_ns=0, gap=given))
    return {r.status for r in found} == {Status.PASS}


@pytest.mark.parametrize("runs", RUNS)
def test_a_model_as_good_as_the_baseline_is_rarely_called_better(runs: int) -> None:
    # The bootstrap is not exact: 7.0 % at 12 mildly skewed episodes is what its documentation tells.
    rng = np.random.default_rng(14)
    params = {"horizons_s": (0.1,), "resamples": 500}
    passed = sum(admitted("skill", {**params, "seed": i}, report(1.0, rng, episodes=12)) for i in range(runs))
    assert passed / runs <= ceiling(0.070, runs)


@pytest.mark.parametrize("runs", RUNS)
def test_a_model_within_epsilon_as_often_as_the_limit_is_believed_at_most_alpha_of_the_time(runs: int) -> None:
    rng = np.random.default_rng(15)
    params = {"probability": "0.8", "required_s": 0.1}
    passed = sum(admitted("horizon", params, report(1.0, rng, episodes=20, within=0.8)) for _ in range(runs))
    assert passed / runs <= ceiling(0.05, runs)


def test_a_model_clearly_better_is_found() -> None:
    rng = np.random.default_rng(16)
    params = {"horizons_s": (0.1,), "resamples": 500}
    assert sum(admitted("skill", params, report(0.6, rng, episodes=12)) for _ in range(50)) >= 48
