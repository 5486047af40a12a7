"""Bounds against scipy, rational arithmetic and the definition of coverage."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from worldgate.core.errors import UsageError
from worldgate.evidence import exact, statistics


@pytest.mark.parametrize(
    ("limit", "trials"), [("0.10", 29), ("0.05", 59), ("0.02", 149), ("0.01", 299), ("0.001", 2995)]
)
def test_clean_trials_needed_are_the_published_ones(limit: str, trials: int) -> None:
    assert statistics.zero_failure_trials(limit, "0.05") == trials
    good = 1 - Fraction(limit)
    assert good**trials <= Fraction(1, 20) < good ** (trials - 1)


@pytest.mark.parametrize(("k", "n", "bound"), [(20, 20, 0.861), (50, 50, 0.942), (49, 50, 0.909)])
def test_lower_bounds_of_success_are_the_published_ones(k: int, n: int, bound: float) -> None:
    assert round(float(statistics.binomial_lower(k, n, "0.05")), 3) == bound


@given(st.integers(1, 120), st.data(), st.sampled_from(["0.05", "0.025", "0.01"]))
@settings(max_examples=60, deadline=None)
def test_binomial_bounds_agree_with_scipy_and_are_rounded_outward(n: int, data: st.DataObject, alpha: str) -> None:
    k = data.draw(st.integers(0, n))
    lower, upper = statistics.binomial_lower(k, n, alpha), statistics.binomial_upper(k, n, alpha)
    interval = stats.binomtest(k, n).proportion_ci(1 - 2 * float(alpha), "exact")
    assert float(lower) == pytest.approx(interval.low, abs=2e-11)
    assert float(upper) == pytest.approx(interval.high, abs=2e-11)
    level = Fraction(alpha)
    if k > 0:
        assert statistics.tail_at_least(k, n, Fraction(lower)) <= level
        assert statistics.tail_at_least(k, n, Fraction(lower) + Fraction(1, 10**11)) > level
    if k < n:
        assert statistics.tail_at_most(k, n, Fraction(upper)) <= level
        assert statistics.tail_at_most(k, n, Fraction(upper) - Fraction(1, 10**11)) > level


@pytest.mark.parametrize("p", [Fraction(1, 2), Fraction(4, 5), Fraction(19, 20), Fraction(99, 100)])
@pytest.mark.parametrize("n", [5, 20, 60])
def test_the_lower_bound_misses_at_most_alpha_of_the_time_exactly(n: int, p: Fraction) -> None:
    missed = [k for k in range(n + 1) if Fraction(statistics.binomial_lower(k, n, "0.05")) > p]
    probability = statistics.tail_at_least(min(missed), n, p) if missed else Fraction(0)
    assert probability <= Fraction(1, 20)


def test_the_two_sided_interval_is_both_bounds_at_half_the_level() -> None:
    assert statistics.binomial_interval(45, 50, "0.1") == (
        statistics.binomial_lower(45, 50, "0.05"),
        statistics.binomial_upper(45, 50, "0.05"),
    )


def test_no_trials_bound_nothing() -> None:
    assert statistics.binomial_interval(0, 0, "0.05") == ("0", "1")
    assert statistics.mean_lower([], "0.05") == "0"


def test_harm_rates_are_the_published_ones() -> None:
    assert round(float(statistics.poisson_upper(0, 1, "0.05")), 3) == 2.996
    assert round(float(statistics.poisson_upper(1, 1, "0.05")), 2) == 4.74
    assert float(statistics.poisson_upper(0, 2996, "0.05")) < 1e-3 <= float(statistics.poisson_upper(0, 2995, "0.05"))


@given(st.integers(0, 40), st.floats(0.5, 5000))
@settings(max_examples=40, deadline=None)
def test_poisson_bound_agrees_with_scipy(events: int, hours: float) -> None:
    expected = stats.chi2.ppf(0.95, 2 * (events + 1)) / 2 / hours
    assert float(statistics.poisson_upper(events, hours, "0.05")) == pytest.approx(expected, rel=1e-10)


def test_the_mean_bound_of_clean_episodes_equals_the_binomial_one() -> None:
    for n in (5, 14, 29):
        assert statistics.mean_lower([Fraction(1)] * n, "0.05") == statistics.binomial_lower(n, n, "0.05")


@given(st.lists(st.fractions(0, 1, max_denominator=20), min_size=1, max_size=25))
@settings(max_examples=60, deadline=None)
def test_the_mean_bound_solves_its_equation_and_lies_below_the_mean(values: list[Fraction]) -> None:
    bound = Fraction(statistics.mean_lower(values, "0.05"))
    mean = sum(values, Fraction(0)) / len(values)
    assert 0 <= bound <= mean
    if bound > 0 and mean < 1:
        m, q = float(mean), float(bound)
        divergence = m * np.log(m / q) + (1 - m) * np.log((1 - m) / (1 - q))
        assert len(values) * divergence == pytest.approx(np.log(20), rel=1e-6)


def test_the_mean_bound_covers_in_simulation() -> None:
    rng = np.random.default_rng(5)
    missed = 0
    for _ in range(150):
        share = rng.beta(6, 1, size=15)  # episodes differ, their windows depend on each other
        values = [Fraction(int(k), 12) for k in rng.binomial(12, share)]
        missed += float(statistics.mean_lower(values, "0.05")) > 6 / 7
    assert missed / 150 <= 0.05 + 3 * (0.05 * 0.95 / 150) ** 0.5


@given(st.fractions(-1000, 1000, max_denominator=10**6))
@settings(max_examples=200)
def test_outward_rounding_never_crosses_and_moves_by_less_than_one_digit(value: Fraction) -> None:
    down, up = Fraction(exact.outward(value, "down")), Fraction(exact.outward(value, "up"))
    assert down <= value <= up
    assert up - down <= abs(value) / 10**11 + Fraction(1, 10**300)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "nan", "inf", "abc", "1/0"])
def test_a_number_that_is_not_finite_is_refused(value: object) -> None:
    with pytest.raises(UsageError):
        exact.outward(value, "down") if isinstance(value, float) else exact.ratio(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("alpha", ["0", "1", "-0.1", "1.5"])
def test_a_level_outside_zero_and_one_is_refused(alpha: str) -> None:
    with pytest.raises(UsageError, match="strictly between"):
        statistics.binomial_lower(1, 2, alpha)


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (0, -1)])
def test_impossible_counts_are_refused(k: int, n: int) -> None:
    with pytest.raises(UsageError):
        statistics.binomial_lower(k, n, "0.05")
    with pytest.raises(UsageError):
        statistics.binomial_upper(k, n, "0.05")


@given(st.integers(1, 40), st.floats(0.5, 5000))
@settings(max_examples=40, deadline=None)
def test_the_lower_poisson_bound_agrees_with_scipy(events: int, hours: float) -> None:
    expected = stats.chi2.ppf(0.05, 2 * events) / 2 / hours
    assert float(statistics.poisson_lower(events, hours, "0.05")) == pytest.approx(expected, rel=1e-10)


def test_no_events_show_no_rate_and_a_rate_needs_exposure() -> None:
    assert statistics.poisson_lower(0, 100, "0.05") == "0"
    for bound in (statistics.poisson_lower, statistics.poisson_upper):
        for events, exposure in ((-1, 1), (1, 0), (1, -5), (1, float("nan"))):
            with pytest.raises(UsageError):
                bound(events, exposure, "0.05")


def test_rates_are_bounded_from_both_sides_of_the_truth() -> None:
    rng = np.random.default_rng(9)
    counts = rng.poisson(4.0, 4000)
    lows = np.array([float(statistics.poisson_lower(int(c), 1, "0.05")) for c in range(counts.max() + 1)])
    ups = np.array([float(statistics.poisson_upper(int(c), 1, "0.05")) for c in range(counts.max() + 1)])
    ceiling = 0.05 + 3 * (0.05 * 0.95 / 4000) ** 0.5
    assert (lows[counts] > 4.0).mean() <= ceiling
    assert (ups[counts] < 4.0).mean() <= ceiling
