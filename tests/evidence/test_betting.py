"""Betting: wealth by definition, the bound by its equation, error rates under peeking."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgate.core.errors import UsageError
from worldgate.evidence.betting import anytime_lower, final_wealth, first_crossing, wealth

units = st.lists(st.fractions(0, 1, max_denominator=6), min_size=1, max_size=14)
means = st.fractions(Fraction(1, 20), Fraction(19, 20), max_denominator=40)


@given(units, means)
def test_wealth_is_the_average_of_seven_stakes_by_definition(values: list[Fraction], mean: Fraction) -> None:
    expected = Fraction(0)
    for j in range(1, 8):
        product = Fraction(1)
        for value in values:
            product *= 1 + Fraction(j, 8) * (value / mean - 1)
        expected += product / 7
    assert final_wealth(values, mean) == expected


@given(means, st.integers(1, 6))
def test_wealth_is_fair_when_the_mean_is_the_hypothesis(mean: Fraction, n: int) -> None:
    total = Fraction(0)
    for number in range(2**n):
        outcome = [Fraction(number >> i & 1) for i in range(n)]
        wins = int(sum(outcome))
        total += mean**wins * (1 - mean) ** (n - wins) * final_wealth(outcome, mean)
    assert total == 1


@given(units, means, means)
def test_wealth_falls_as_the_hypothesis_rises(values: list[Fraction], a: Fraction, b: Fraction) -> None:
    low, high = min(a, b), max(a, b)
    assert final_wealth(values, low) >= final_wealth(values, high)


@given(units, st.sampled_from(["0.05", "0.2"]))
@settings(max_examples=50, deadline=None)
def test_the_bound_is_the_largest_mean_that_was_ever_refuted(values: list[Fraction], alpha: str) -> None:
    bound = Fraction(anytime_lower(values, alpha))
    above = bound + Fraction(1, 10**10)
    if bound > 0:
        assert first_crossing(values, bound, alpha) is not None
    if 0 < above < 1:
        assert first_crossing(values, above, alpha) is None


@given(units)
@settings(max_examples=30, deadline=None)
def test_the_bound_never_falls_as_values_come(values: list[Fraction]) -> None:
    bounds = [Fraction(anytime_lower(values[:n], "0.2")) for n in range(len(values) + 1)]
    assert bounds == sorted(bounds)
    assert 0 <= bounds[-1] < 1


def test_one_success_bounds_little_and_fifty_much() -> None:
    # (1/7) sum of 1 + j/8 (1/m - 1) over j is 1 + (1/m - 1) / 2 = 20 at m = 1/39.
    assert anytime_lower([Fraction(1)], "0.05") == "0.025641025641"
    assert anytime_lower([Fraction(1)] * 50, "0.05") == "0.910322650375"


def test_nothing_and_failures_bound_nothing() -> None:
    assert anytime_lower([], "0.05") == anytime_lower([Fraction(0)] * 9, "0.05") == "0"
    assert final_wealth([], "0.5") == 1
    assert first_crossing([], "0.5", "0.05") is None


@pytest.mark.parametrize("bad", [Fraction(-1, 9), Fraction(3, 2)])
def test_values_outside_zero_and_one_are_refused(bad: Fraction) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        list(wealth([bad], "0.5"))
    with pytest.raises(UsageError, match="between 0 and 1"):
        anytime_lower([bad], "0.05")


@pytest.mark.parametrize("bad", ["0", "1", "nan", "-0.5"])
def test_a_level_or_a_mean_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(UsageError):
        list(wealth([Fraction(1)], bad))
    with pytest.raises(UsageError):
        anytime_lower([Fraction(1)], bad)


def test_a_user_who_looks_after_every_value_is_misled_at_most_alpha_of_the_time() -> None:
    rng = np.random.default_rng(21)
    runs = 300
    crossed = sum(
        first_crossing([Fraction(int(w), 4) for w in rng.binomial(4, rng.beta(3.2, 0.8, 60))], "0.8", "0.05")
        is not None
        for _ in range(runs)
    )
    assert 0 < crossed / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
