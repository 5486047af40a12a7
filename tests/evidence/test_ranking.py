"""Policy-rank agreement: held to the success tables that SIMPLER published, and to what must hold of any tables."""

from __future__ import annotations

import inspect
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from worldgate.core.errors import UsageError
from worldgate.evidence import ranking
from worldgate.evidence.ranking import agreement, fisher, kendall, mmrv, pearson, regret, spearman

POLICIES = ("rt-2-x", "rt-1-converged", "rt-1-15pct", "rt-1-x", "rt-1-begin", "octo-base")
WIDOWX = ("rt-1-x", "octo-base", "octo-small")
SIMPLER = {
    # task: (policies, real, simulated); Li et al., arXiv:2405.05941, as the authors' repository publishes them
    "pick coke can": (POLICIES, ".907 .853 .920 .760 .133 .293", ".787 .857 .710 .567 .027 .170"),
    "move near": (POLICIES, ".733 .633 .583 .450 .017 .350", ".779 .442 .354 .317 .050 .042"),
    "open drawer": (POLICIES, ".333 .815 .704 .519 0 .148", ".157 .601 .463 .296 0 .009"),
    "close drawer": (POLICIES, ".630 .926 .889 .741 0 .519", ".343 .861 .667 .891 .278 .444"),
    "place apple": (POLICIES, ".074 .185 .185 .407 0 0", ".037 .065 .130 .213 0 0"),
    "spoon on towel": (WIDOWX, "0 .333 .417", "0 .125 .472"),
    "carrot on plate": (WIDOWX, "0 .250 .083", ".042 .083 .097"),
    "stack cube": (WIDOWX, "0 0 .125", "0 0 .042"),
    "eggplant in basket": (WIDOWX, "0 .250 .400", "0 .431 .569"),
}


def table(task: str) -> tuple[dict[str, str], dict[str, str]]:
    policies, real, imagined = SIMPLER[task]
    return dict(zip(policies, real.split(), strict=True)), dict(zip(policies, imagined.split(), strict=True))


def pooled(tasks: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    sides: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for task in tasks:
        for side, rates in zip(sides, table(task), strict=True):
            side |= {f"{task} {policy}": rate for policy, rate in rates.items()}
    return sides


def published_mmrv(imagined: list[float], real: list[float]) -> float:
    """The formula as its authors write it, on arrays, so that ours is not held against itself."""
    s, r = np.array(imagined), np.array(real)
    wrong = (s[:, None] > s[None]) != (r[:, None] > r[None])
    return float((np.abs(r[:, None] - r[None]) * wrong).max(axis=1).mean())


@pytest.mark.parametrize("task", SIMPLER)
def test_mmrv_and_pearson_are_those_of_the_published_tables(task: str) -> None:
    real, imagined = table(task)
    r, s = ([float(v) for v in side.values()] for side in (real, imagined))
    assert float(mmrv(real=real, imagined=imagined)) == pytest.approx(published_mmrv(s, r), abs=1e-12)
    assert pearson(real=real, imagined=imagined) == pytest.approx(float(np.corrcoef(r, s)[0, 1]), abs=1e-12)


def test_close_drawer_shows_how_little_six_policies_say() -> None:
    real, imagined = table("close drawer")
    found = agreement(real=real, imagined=imagined, alpha="0.025")
    assert found.pearson == pytest.approx(0.77, abs=0.005)
    assert found.lower is not None and found.upper is not None
    assert float(found.lower) == pytest.approx(-0.11, abs=0.005)
    assert float(found.upper) == pytest.approx(0.97, abs=0.005)


def test_all_tasks_pooled_correlate_well_and_are_biased() -> None:
    real, imagined = pooled(list(SIMPLER))
    found = agreement(real=real, imagined=imagined, alpha="0.025")
    assert found.pearson == pytest.approx(0.91, abs=0.005)
    assert float(found.bias) == pytest.approx(-0.075, abs=0.0005)
    assert found.rmse == pytest.approx(0.15, abs=0.005)
    assert float(found.worst) == pytest.approx(0.31, abs=0.005)


def test_sides_must_be_named() -> None:
    functions = [f for _, f in inspect.getmembers(ranking, inspect.isfunction) if f.__module__ == ranking.__name__]
    public = [f for f in functions if not f.__name__.startswith("_")]
    assert {f.__name__ for f in public} == {"agreement", "fisher", "kendall", "mmrv", "pearson", "regret", "spearman"}
    for function in public:
        assert all(p.kind is p.KEYWORD_ONLY for p in inspect.signature(function).parameters.values())
    real, imagined = table("close drawer")
    assert mmrv(real=real, imagined=imagined) != mmrv(real=imagined, imagined=real), "or names would not matter"


def test_a_true_correlation_of_090_has_the_intervals_that_the_reference_gives() -> None:
    for k, low, high in ((6, 0.33, 0.99), (16, 0.73, 0.97)):
        x = np.arange(k) - (k - 1) / 2
        y = np.random.default_rng(0).normal(size=k)
        y -= y.mean()
        y -= x * (x @ y) / (x @ x)
        mixed = 0.9 * x / np.linalg.norm(x) + np.sqrt(1 - 0.81) * y / np.linalg.norm(y)
        rates = [{str(i): float(v) for i, v in enumerate(side)} for side in (x, mixed)]
        bounds = fisher(real=rates[0], imagined=rates[1], alpha="0.025")
        assert bounds is not None
        assert [float(b) for b in bounds] == pytest.approx([low, high], abs=0.006)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=2, max_size=9))
def test_rank_figures_keep_what_they_promise(pairs: list[tuple[int, int]]) -> None:
    real = {str(i): Fraction(r, 8) for i, (r, _) in enumerate(pairs)}
    imagined = {str(i): Fraction(s, 8) for i, (_, s) in enumerate(pairs)}
    violation = mmrv(real=real, imagined=imagined)
    assert 0 <= violation <= max(real.values()) - min(real.values())
    assert mmrv(real=real, imagined=real) == 0
    r, s = list(real.values()), list(imagined.values())
    assert float(violation) == pytest.approx(published_mmrv([float(v) for v in s], [float(v) for v in r]))
    tau, correlation = kendall(real=real, imagined=imagined), pearson(real=real, imagined=imagined)
    flat = len(set(r)) == 1 or len(set(s)) == 1
    assert (tau is None) == (correlation is None) == flat
    if tau is not None and correlation is not None:
        expected = stats.kendalltau([float(v) for v in r], [float(v) for v in s]).statistic
        assert tau == pytest.approx(expected)
        assert -1 <= correlation <= 1
    ranked = spearman(real=real, imagined=imagined)
    assert (ranked is None) == flat
    if ranked is not None:
        assert ranked == pytest.approx(stats.spearmanr([float(v) for v in r], [float(v) for v in s]).statistic)
    lost = regret(real=real, imagined=imagined)
    assert 0 <= lost <= max(r) - min(r)
    assert regret(real=real, imagined=real) == 0


def test_the_order_is_all_that_rank_figures_of_the_model_see() -> None:
    real, imagined = table("close drawer")
    turned = {name: Fraction(rate) ** 3 / 2 + 1 for name, rate in imagined.items()}
    for figure in (mmrv, spearman, kendall, regret):
        assert figure(real=real, imagined=turned) == figure(real=real, imagined=imagined)
    shifted = {name: 3 * Fraction(rate) + 2 for name, rate in imagined.items()}
    assert pearson(real=real, imagined=shifted) == pytest.approx(pearson(real=real, imagined=imagined))


def test_the_model_s_favourites_share_the_regret() -> None:
    real = {"a": "0.9", "b": "0.5", "c": "0.1"}
    assert regret(real=real, imagined={"a": 1, "b": 1, "c": 0}) == Fraction(1, 5)
    assert regret(real=real, imagined={"a": 0, "b": 0, "c": 1}) == Fraction(4, 5)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=12, unique=True), st.floats(-1, 1))
def test_an_interval_holds_its_own_correlation_whatever_the_tables(rates: list[float], turn: float) -> None:
    real = {str(i): r for i, r in enumerate(rates)}
    imagined = {str(i): turn * r + (i % 3) / 7 for i, r in enumerate(rates)}
    found = pearson(real=real, imagined=imagined)
    bounds = fisher(real=real, imagined=imagined, alpha="0.05")
    assert (found is None) == (bounds is None)
    if found is not None and bounds is not None:
        assert -1 <= float(bounds[0]) <= found + 1e-9 and found - 1e-9 <= float(bounds[1]) <= 1


def test_sides_of_other_policies_are_refused() -> None:
    with pytest.raises(UsageError, match="same policies"):
        mmrv(real={"a": 1}, imagined={"b": 1})
    with pytest.raises(UsageError, match="same policies"):
        agreement(real={}, imagined={}, alpha="0.05")
    with pytest.raises(UsageError, match="finite"):
        mmrv(real={"a": float("nan")}, imagined={"a": 1})


def test_three_policies_have_no_interval_and_equal_rates_no_correlation() -> None:
    assert fisher(real={"a": 0, "b": 1, "c": 0}, imagined={"a": 0, "b": 1, "c": 1}, alpha="0.05") is None
    flat = agreement(real=dict.fromkeys("abcd", 1), imagined={"a": 0, "b": 1, "c": 1, "d": 1}, alpha="0.05")
    assert (flat.pearson, flat.lower, flat.upper, flat.kendall) == (None, None, None, None)
    assert (flat.bias, flat.worst, flat.worst_policy) == (Fraction(-1, 4), 1, "a")
