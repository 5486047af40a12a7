"""Rank agreement from single runs: its figures, what its intervals hold, and what it refuses to say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.evidence import Status
from worldgate.evidence import rank_bootstrap
from worldgate.evidence.rank_bootstrap import ranked

ORDER = ("pearson", "spearman", "mmrv")


def drawn(rates: list[float], starts: int, seed: int) -> dict[str, list[float]]:
    rng = np.random.default_rng(seed)
    return {f"p{k:02d}": list((rng.random(starts) < rate).astype(float)) for k, rate in enumerate(rates)}


RUNS = st.integers(3, 7).flatmap(
    lambda k: st.integers(2, 6).flatmap(
        lambda n: st.lists(
            st.lists(st.sampled_from([0.0, 1.0]), min_size=2 * n, max_size=2 * n), min_size=k, max_size=k
        )
    )
)


@settings(max_examples=25)
@given(RUNS)
def test_every_figure_stays_within_what_it_can_be(runs: list[list[float]]) -> None:
    n = len(runs[0]) // 2
    real, imagined = ({str(i): run[part] for i, run in enumerate(runs)} for part in (slice(n), slice(n, None)))
    found = ranked(real=real, imagined=imagined)
    flat = any(len({sum(v) for v in side.values()}) == 1 for side in (real, imagined))
    assert bool(found.why) == flat
    assert {name in found.figures for name in ORDER} == {not flat}
    spread = max(np.mean(v) for v in real.values()) - min(np.mean(v) for v in real.values())
    for name, figure in found.figures.items():
        low, high = (-1, 1) if name in {"pearson", "spearman", "bias"} else (0, 1)
        assert low - 1e-9 <= float(figure.lower) <= float(figure.upper) <= high + 1e-9
        assert np.isfinite(figure.estimate)
    assert 0 <= found.figures["regret"].estimate <= spread
    same = ranked(real=real, imagined=real)
    assert same.figures["regret"].estimate == same.figures["worst"].estimate == same.figures["bias"].estimate == 0
    assert float(same.figures["worst"].upper) == 0, "the same starts are redrawn for both sides"
    assert "mmrv" not in same.figures or float(same.figures["mmrv"].upper) == 0


def test_two_policies_and_policies_that_do_alike_are_inconclusive_and_never_nan() -> None:
    few = ranked(real={"a": [1, 0], "b": [0, 0]}, imagined={"a": [1, 1], "b": [0, 0]})
    assert "2 policies have no order" in few.why
    assert few.status("0.6") is Status.INCONCLUSIVE
    assert not set(ORDER) & set(few.figures)
    assert few.figures["bias"].estimate == 0.25
    flat = ranked(real=drawn([0.1, 0.5, 0.9], 8, 0), imagined={f"p{k:02d}": [1.0] * 8 for k in range(3)})
    assert "equally well in the world model (1)" in flat.why
    assert flat.status("0.6") is Status.INCONCLUSIVE
    assert flat.favourite == ("p00", "p01", "p02")
    one = ranked(real={"a": [1], "b": [0], "c": [0]}, imagined={"a": [1], "b": [0], "c": [1]})
    assert "regret" not in one.figures, "one start has no interval"
    assert "pearson" in one.figures


def test_a_bar_is_reached_missed_or_neither() -> None:
    rates = list(np.linspace(0, 1, 20))
    good = ranked(real=drawn(rates, 40, 1), imagined=drawn(rates, 40, 2))
    assert good.status("0.6") is Status.PASS
    turned = ranked(real=drawn(rates, 40, 1), imagined=drawn(rates[::-1], 40, 2))
    assert turned.status("0.6") is Status.FAIL
    assert ranked(real=drawn(rates[::5], 6, 1), imagined=drawn(rates[::5], 6, 2)).status("0.6") is Status.INCONCLUSIVE


def test_the_same_runs_give_the_same_digits_and_another_name_no_others() -> None:
    real, imagined = drawn([0.2, 0.4, 0.6, 0.8], 10, 3), drawn([0.3, 0.4, 0.5, 0.9], 10, 4)
    assert ranked(real=real, imagined=imagined) == ranked(real=dict(reversed(real.items())), imagined=imagined)


def test_unpaired_runs_may_be_of_any_number_and_vary_more() -> None:
    real = drawn([0.2, 0.5, 0.9, 0.6], 30, 5)
    paired = ranked(real=real, imagined=real)
    apart = ranked(real=real, imagined=real, paired=False)
    assert float(paired.figures["worst"].upper) == 0 < float(apart.figures["worst"].upper)
    assert apart.figures["pearson"].estimate == paired.figures["pearson"].estimate
    longer = {name: values + values[:7] for name, values in real.items()}
    assert ranked(real=real, imagined=longer, paired=False).starts == 30
    with pytest.raises(DataRefused, match="same starts"):
        ranked(real=real, imagined=longer)


def test_sides_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(UsageError, match="same policies"):
        ranked(real={"a": [1.0]}, imagined={"b": [1.0]})
    with pytest.raises(UsageError, match="same policies"):
        ranked(real={}, imagined={})
    for bad in ([], [float("nan")]):
        with pytest.raises(DataRefused, match="finite outcomes"):
            ranked(real={"a": bad}, imagined={"a": [1.0]})


def test_the_lower_bound_of_a_correlation_lies_above_the_true_one_as_seldom_as_promised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rank_bootstrap, "RESAMPLES", 400)
    rng, missed, runs, rho = np.random.default_rng(0), 0, 200, 0.8
    for _ in range(runs):
        x, y = rng.normal(size=(2, 16))
        rates = [0.5 + 0.15 * v for v in (x, rho * x + np.sqrt(1 - rho**2) * y)]
        sides = [{str(k): list(rate + 0.3 * rng.normal(size=20)) for k, rate in enumerate(side)} for side in rates]
        found = ranked(real=sides[0], imagined=sides[1], paired=False)
        missed += float(found.figures["pearson"].lower) > rho
    assert missed <= 0.05 * runs
