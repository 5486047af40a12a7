"""Quantiles by order statistics and exceedances of limits: exact, whatever the distribution."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from worldgate.core.errors import UsageError
from worldgate.evidence.quantiles import (
    beyond,
    exceedance_upper,
    lower_rank,
    quantile_lower,
    quantile_upper,
    upper_rank,
)
from worldgate.evidence.scenes import Scenes, one_per_scene
from worldgate.evidence.statistics import binomial_upper

LEVELS = st.sampled_from(["0.05", "0.1", "0.2"])


def scenes(values: list[float | None]) -> Scenes:
    return one_per_scene([(str(i), value) for i, value in enumerate(values)])


@pytest.mark.parametrize(("q", "least"), [("0.05", 59), ("0.1", 29), ("0.5", 5)])
def test_the_smallest_value_bounds_a_quantile_from_as_many_scenes_as_clean_trials_are_needed(
    q: str, least: int
) -> None:
    assert lower_rank(least, q, "0.05") == 1
    assert lower_rank(least - 1, q, "0.05") == 0
    assert upper_rank(least, str(1 - Fraction(q)), "0.05") == least
    assert upper_rank(least - 1, str(1 - Fraction(q)), "0.05") == 0
    assert quantile_lower(scenes([1.0]), q, "0.05").least == least


@given(st.integers(1, 120), st.fractions(Fraction(1, 20), Fraction(19, 20), max_denominator=20), LEVELS)
def test_ranks_keep_their_level_and_none_better_does(n: int, q: Fraction, alpha: str) -> None:
    low, high, level = lower_rank(n, q, alpha), upper_rank(n, q, alpha), float(alpha)
    if low:
        assert stats.binom.cdf(low - 1, n, float(q)) <= level + 1e-12
    if low < n:
        assert stats.binom.cdf(low, n, float(q)) > level - 1e-12
    if high:
        assert stats.binom.sf(high - 1, n, float(q)) <= level + 1e-12
    if high > 1:
        assert stats.binom.sf(high - 2, n, float(q)) > level - 1e-12


@given(st.integers(1, 90), st.fractions(Fraction(1, 20), Fraction(19, 20), max_denominator=20), LEVELS)
def test_upper_is_lower_of_the_values_with_their_sign_turned(n: int, q: Fraction, alpha: str) -> None:
    low, high = lower_rank(n, q, alpha), upper_rank(n, 1 - q, alpha)
    assert high == (n + 1 - low if low else 0)


def test_bounds_are_values_that_were_seen() -> None:
    made = scenes([float(i) for i in range(1, 101)])
    assert quantile_lower(made, "0.1", "0.05").bound == "5"
    assert quantile_upper(made, "0.9", "0.05").bound == "96"


def test_excluded_scenes_stand_at_the_bad_end_and_are_told_both_ways() -> None:
    made = scenes([None, None, *[float(i) for i in range(3, 101)]])
    low, high = quantile_lower(made, "0.1", "0.05"), quantile_upper(made, "0.9", "0.05")
    assert (low.bound, low.rank, low.excluded) == ("5", 5, 2)
    assert (high.bound, high.rank) == ("98", 96)
    assert Fraction(low.without or 0) > Fraction(low.bound or 0)
    assert Fraction(high.without or 0) < Fraction(high.bound or 0)


def test_too_few_scenes_and_too_many_exclusions_bound_nothing() -> None:
    assert quantile_lower(scenes([1.0] * 58), "0.05", "0.05").bound is None
    assert quantile_upper(scenes([]), "0.95", "0.05").bound is None
    worst = quantile_lower(scenes([None, *[1.0] * 58]), "0.05", "0.05")
    assert (worst.bound, worst.rank) == (None, 1)
    assert quantile_upper(scenes([None, *[1.0] * 58]), "0.95", "0.05").bound is None


def test_the_bound_holds_on_lumpy_values_with_ties() -> None:
    rng = np.random.default_rng(2)
    runs, rank = 4000, lower_rank(60, "0.1", "0.05")
    values = np.sort(rng.poisson(2.3, (runs, 60)), axis=1)
    quantile = stats.poisson.ppf(0.1, 2.3)
    assert (values[:, rank - 1] > quantile).mean() <= 0.05


def test_a_limit_counts_what_lies_beyond_it_and_what_was_not_measured() -> None:
    made = scenes([0.1, 0.05, 0.049, None])
    assert beyond(made, "0.05", "below") == (False, False, True, True)
    assert beyond(made, "0.05", "above") == (True, False, False, True)
    assert exceedance_upper(made, "0.05", "0.05", side="below") == binomial_upper(2, 4, "0.05")
    assert exceedance_upper(scenes([]), "0.05", "0.05", side="below") == "1"


def test_a_side_or_limit_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="no such side"):
        beyond(scenes([1.0]), 1, "left")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="finite"):
        exceedance_upper(scenes([1.0]), float("nan"), "0.05", side="above")


@pytest.mark.parametrize("bad", ["0", "1", "nan"])
def test_levels_that_are_none_are_refused(bad: str) -> None:
    for call in (quantile_lower, quantile_upper):
        with pytest.raises(UsageError):
            call(scenes([1.0]), bad, "0.05")
        with pytest.raises(UsageError):
            call(scenes([1.0]), "0.5", bad)
