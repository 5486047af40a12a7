"""The sequential test: published figures, exact type I error by enumeration, decisions."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgate.core.errors import UsageError
from worldgate.evidence.sequential import SequentialPlan, Step, fixed_trials, follow, operating, stagewise_lower


def plan(p0: str = "0.80", last: int = 100, every: int = 10, alpha: str = "0.05") -> SequentialPlan:
    return SequentialPlan.make(p0=p0, alpha=alpha, looks=range(every, last + 1, every))


@pytest.mark.parametrize(
    ("p0", "p", "last", "power", "mean"),
    [("0.80", 0.95, 100, 0.999, 40), ("0.90", 0.98, 100, 0.959, 58), ("0.90", 0.98, 200, 0.999, 73)],
)
def test_power_and_mean_trials_are_the_published_ones(p0: str, p: float, last: int, power: float, mean: int) -> None:
    test = plan(p0, last)
    behaviour = operating(test, p)
    assert behaviour.power == pytest.approx(power, abs=1e-3)
    assert round(behaviour.mean_trials) == mean
    assert 0.045 < float(test.type_one) <= 0.05


def test_type_one_error_equals_the_enumeration_of_every_outcome() -> None:
    test = SequentialPlan.make(p0="0.5", alpha="0.2", looks=(4, 7, 10))
    total = Fraction(0)
    for outcomes in itertools.product((False, True), repeat=10):
        if follow(test, outcomes).step is Step.CROSSED:
            total += Fraction(1, 2**10)
    assert total == test.type_one <= Fraction(1, 5)


@given(
    st.sampled_from(["0.5", "0.7", "0.80", "0.9", "0.95"]),
    st.sampled_from(["0.01", "0.05", "0.1"]),
    st.sets(st.integers(1, 70), min_size=1, max_size=8),
)
@settings(max_examples=40, deadline=None)
def test_the_type_one_error_never_exceeds_alpha(p0: str, alpha: str, looks: set[int]) -> None:
    test = SequentialPlan.make(p0=p0, alpha=alpha, looks=sorted(looks))
    assert test.type_one <= Fraction(alpha)
    for boundary, look in zip(test.boundaries, test.looks, strict=True):
        assert boundary is None or 0 < boundary <= look


def test_a_crossing_is_found_at_the_first_look_that_allows_it() -> None:
    test = plan()
    assert test.boundaries[:3] == (None, None, 29)
    result = follow(test, [True] * 45)
    assert (result.step, result.trials, result.successes) == (Step.CROSSED, 30, 30)


def test_between_looks_nothing_is_decided_and_what_is_needed_is_said() -> None:
    result = follow(plan(), [True] * 29)
    assert result.step is Step.CONTINUE
    assert (result.next_look, result.needed) == (30, 29)


def test_no_trials_continue() -> None:
    assert follow(plan(), []).step is Step.CONTINUE


def test_a_later_failure_does_not_undo_a_crossing() -> None:
    assert follow(plan(), [True] * 30 + [False] * 5).step is Step.CROSSED


def test_failures_make_it_futile() -> None:
    assert follow(plan(), [False] * 10).step is Step.FUTILE


def test_one_success_short_of_every_boundary_exhausts_the_plan() -> None:
    test = plan()
    outcomes: list[bool] = []
    for look, boundary in zip(test.looks, test.boundaries, strict=True):
        short = (boundary or look) - 1 - sum(outcomes)
        outcomes += [True] * short + [False] * (look - len(outcomes) - short)
    result = follow(test, outcomes)
    assert (result.step, result.trials, result.successes) == (Step.EXHAUSTED, 100, 87)


def test_the_bound_after_a_crossing_exceeds_p0_and_grows_with_success() -> None:
    test = plan()
    clean, worse = follow(test, [True] * 30), follow(test, [False] + [True] * 29)
    assert Fraction(stagewise_lower(test, clean)) > Fraction(stagewise_lower(test, worse)) > test.p0


@pytest.mark.parametrize("p", [0.82, 0.9, 0.97])
def test_the_bound_after_a_crossing_covers_in_simulation(p: float) -> None:
    test = plan(last=60)
    rng = np.random.default_rng(int(1000 * p))
    runs, missed = 2000, 0
    bounds: dict[tuple[int, int], float] = {}
    for outcomes in rng.random((runs, 60)) < p:
        result = follow(test, outcomes.tolist())
        if result.step is Step.CROSSED:
            key = (result.trials, result.successes)
            if key not in bounds:
                bounds[key] = float(stagewise_lower(test, result))
            missed += bounds[key] > p
    assert missed / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


@pytest.mark.parametrize("looks", [(), (0, 10), (10, 10), (20, 10)])
def test_looks_that_do_not_increase_are_refused(looks: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="increase"):
        SequentialPlan.make(p0="0.8", alpha="0.05", looks=looks)


def test_a_fixed_test_of_the_same_power_takes_as_many_trials_as_the_tables_say() -> None:
    test = SequentialPlan.make(p0="0.80", alpha="0.05", looks=(10, 100))
    assert fixed_trials(test, 0.95) == 44
    assert fixed_trials(test, 0.95, power=0.95) == 50
    assert fixed_trials(test, 1.0) == 14
    assert fixed_trials(test, 0.80) is None


@pytest.mark.parametrize("p", ["0.5", "0.8", "0.97"])
def test_exact_and_floating_figures_of_a_plan_agree(p: str) -> None:
    test = plan()
    behaviour = operating(test, float(p))
    assert float(sum(test.crossings(p))) == pytest.approx(behaviour.power, abs=1e-12)
    assert float(test.expected_trials(p)) == pytest.approx(behaviour.mean_trials, rel=1e-12)


def test_the_mean_number_of_trials_equals_the_enumeration_of_every_outcome() -> None:
    test = SequentialPlan.make(p0="0.5", alpha="0.2", looks=(4, 7, 10))
    total = Fraction(0)
    for outcomes in itertools.product((False, True), repeat=10):
        found = follow(test, outcomes)
        weight = Fraction(3, 4) ** sum(outcomes) * Fraction(1, 4) ** (10 - sum(outcomes))
        total += weight * (found.trials if found.step is Step.CROSSED else 10)
    assert total == test.expected_trials("0.75")


@given(st.integers(1, 5), st.sampled_from(["0.01", "0.05"]))
@settings(max_examples=10, deadline=None)
def test_alpha_spent_up_to_each_look_stays_within_the_spending_function(rho: int, alpha: str) -> None:
    test = SequentialPlan.make(p0="0.8", alpha=alpha, looks=range(10, 81, 10), rho=rho)
    spent = Fraction(0)
    for look, share in zip(test.looks, test.crossings("0.8"), strict=True):
        spent += share
        assert spent <= Fraction(alpha) * Fraction(look, 80) ** rho


def test_spending_later_stops_later_and_gains_power_where_there_are_many_trials() -> None:
    early, late = (SequentialPlan.make(p0="0.9", alpha="0.05", looks=range(10, 201, 10), rho=rho) for rho in (1, 3))
    assert operating(late, 0.96).mean_trials > operating(early, 0.96).mean_trials + 10
    assert operating(late, 0.96).power > operating(early, 0.96).power + 0.02


@pytest.mark.parametrize("rho", [0, -1])
def test_a_spending_function_that_does_not_rise_is_refused(rho: int) -> None:
    with pytest.raises(UsageError, match="power"):
        SequentialPlan.make(p0="0.8", alpha="0.05", looks=(10,), rho=rho)


@pytest.mark.parametrize("bad", ["0", "1", "nan"])
def test_a_probability_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(UsageError):
        plan().expected_trials(bad)
    with pytest.raises(UsageError):
        SequentialPlan.make(p0=bad, alpha="0.05", looks=(10,))
    with pytest.raises(UsageError):
        SequentialPlan.make(p0="0.8", alpha=bad, looks=(10,))
