"""A bound is proved exactly: a library whose first guess is a few digits off changes nothing of what is written."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgate.evidence import sequential, statistics
from worldgate.evidence.exact import largest, rounded, step
from worldgate.evidence.sequential import SequentialPlan, Step, follow

OFF = (-4e-12, 4e-12)
"""Relative errors of a guess: up to forty steps of the last digit that is written."""


@given(st.fractions(Fraction(1, 10**6), 1), st.integers(-6, 6))
@settings(max_examples=100, deadline=None)
def test_the_largest_decimal_is_found_from_any_guess_nearby(limit: Fraction, off: int) -> None:
    truth = rounded(limit, "down")
    found = largest(float(truth + off * step(truth)), lambda p: p <= limit)
    assert found == truth
    assert found <= limit


def test_a_property_that_holds_nowhere_or_everywhere_ends_at_the_edge() -> None:
    assert largest(1 - 3e-12, lambda p: True) == 1
    assert largest(-1.0, lambda p: p <= 0) == 0, "a guess outside is brought inside"


class _Off:
    """A distribution of scipy whose inverses are off by a factor."""

    def __init__(self, right: Any, factor: float) -> None:
        self.right, self.factor = right, factor

    def __getattr__(self, name: str) -> Callable[..., float]:
        return lambda *asked: float(getattr(self.right, name)(*asked)) * self.factor


@pytest.mark.parametrize("off", OFF)
@pytest.mark.parametrize(
    "bound",
    [
        lambda: statistics.binomial_lower(17, 20, "0.05"),
        lambda: statistics.binomial_upper(3, 20, "0.05"),
        lambda: statistics.binomial_upper(0, 59, "0.05"),
        lambda: statistics.poisson_upper(2, 100, "0.05"),
        lambda: statistics.poisson_lower(7, 100, "0.05"),
    ],
)
def test_a_bound_is_the_same_whatever_the_library_guesses(
    monkeypatch: pytest.MonkeyPatch, bound: Callable[[], str], off: float
) -> None:
    right = bound()
    for name in ("beta", "chi2"):
        monkeypatch.setattr(statistics.stats, name, _Off(getattr(statistics.stats, name), 1 + off))
    assert bound() == right


@pytest.mark.parametrize("off", OFF)
def test_a_bound_after_a_crossing_is_the_same_whatever_the_search_guesses(
    monkeypatch: pytest.MonkeyPatch, off: float
) -> None:
    plan = SequentialPlan(p0=Fraction(1, 2), alpha=Fraction(1, 20), looks=(5, 10))
    found = follow(plan, [True] * 10)
    assert found.step is Step.CROSSED
    right = sequential.stagewise_lower(plan, found)
    crossing = sequential._float_crossing
    monkeypatch.setattr(sequential, "_float_crossing", lambda cut, p, here: crossing(cut, p * (1 + off), here))
    assert sequential.stagewise_lower(plan, found) == right
    assert Decimal(right) >= Decimal("0.5")
