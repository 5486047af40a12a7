"""One value a scene: repeats are refused or ruled, exclusions count against the claim."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldgate.core.errors import UsageError
from worldgate.evidence.scenes import Rule, Scenes, one_per_scene, success_lower
from worldgate.evidence.statistics import binomial_lower, mean_lower

RUNS = [("b", 1), ("a", 1), ("b", 0), ("b", 1)]


def test_repeats_are_refused_with_what_got_and_hint() -> None:
    with pytest.raises(UsageError, match="not independent") as caught:
        one_per_scene(RUNS)
    assert caught.value.got == "1 of 2 scenes repeat, 'b' 3 times"
    assert "first, least, largest or mean" in str(caught.value.hint)


def test_repeats_cannot_be_smuggled_in_past_the_rules() -> None:
    with pytest.raises(UsageError, match="not independent"):
        Scenes(names=("a", "a"), values=(Fraction(1), Fraction(1)), runs=2)


@pytest.mark.parametrize(
    ("rule", "value"),
    [("first", Fraction(1)), ("least", Fraction(0)), ("largest", Fraction(1)), ("mean", Fraction(2, 3))],
)
def test_a_rule_makes_one_value_of_each_scene_in_the_order_of_their_first_runs(rule: Rule, value: Fraction) -> None:
    scenes = one_per_scene(RUNS, rule=rule)
    assert (scenes.names, scenes.values, scenes.n, scenes.runs) == (("b", "a"), (value, Fraction(1)), 2, 4)


@pytest.mark.parametrize("rule", ["least", "largest", "mean"])
def test_one_excluded_run_excludes_its_scene(rule: Rule) -> None:
    assert one_per_scene([("a", 1), ("a", None), ("b", 1)], rule=rule).values == (None, Fraction(1))


def test_the_first_run_counts_even_if_it_was_excluded() -> None:
    assert one_per_scene([("a", None), ("a", 1)], rule="first").values == (None,)
    assert one_per_scene([("a", 1), ("a", None)], rule="first").values == (Fraction(1),)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "nan"])
def test_values_that_are_no_numbers_are_refused(bad: float | str) -> None:
    with pytest.raises(UsageError, match="finite"):
        one_per_scene([("a", bad)])


def test_a_run_without_a_scene_and_an_unknown_rule_are_refused() -> None:
    with pytest.raises(UsageError, match="needs its scene"):
        one_per_scene([("", 1)])
    with pytest.raises(UsageError, match="no such rule"):
        one_per_scene([("a", 1)], rule="best")  # type: ignore[arg-type]


def test_exclusions_count_as_failures_and_are_told_both_ways() -> None:
    found = success_lower(one_per_scene([(str(i), None if i < 5 else 1) for i in range(50)]), "0.05")
    assert found.lower == binomial_lower(45, 50, "0.05")
    assert found.lower_without == binomial_lower(45, 45, "0.05")
    assert (found.n, found.excluded, found.estimate, found.estimate_without) == (50, 5, Fraction(9, 10), Fraction(1))


def test_shares_are_bounded_as_shares() -> None:
    found = success_lower(one_per_scene([("a", 1), ("a", 0), ("b", 1), ("b", 1)], rule="mean"), "0.05")
    assert found.lower == mean_lower([Fraction(1, 2), Fraction(1)], "0.05")


def test_clusters_of_one_are_plain_trials() -> None:
    runs = [(str(i), int(i % 7 > 0)) for i in range(40)]
    bounds = {success_lower(one_per_scene(runs, rule=rule), "0.05").lower for rule in ("refuse", "first", "least")}
    assert bounds == {binomial_lower(sum(v for _, v in runs), 40, "0.05")}


def test_no_scenes_show_nothing() -> None:
    found = success_lower(one_per_scene([]), "0.05")
    assert (found.lower, found.lower_without, found.n) == ("0", "0", 0)


def test_a_value_outside_zero_and_one_is_no_success() -> None:
    with pytest.raises(UsageError, match="a failure 0"):
        success_lower(one_per_scene([("a", "0.5")]), "0.05")
    with pytest.raises(UsageError, match="between 0 and 1"):
        success_lower(one_per_scene([("a", 2)], rule="mean"), "0.05")


def test_an_exclusion_does_not_choose_the_sharper_bound() -> None:
    # Found by search: without the share of 1/3 only zeros and ones are left, and a bound picked by values was sharper.
    runs: list[tuple[str, int | None]] = [("a", 1), ("a", 0), ("a", 0), *[(f"b{i}", 1) for i in range(9)]]
    told = success_lower(one_per_scene(runs, rule="mean"), "0.05")
    excluded = success_lower(one_per_scene([("a", None), *runs[1:]], rule="mean"), "0.05")
    assert Fraction(excluded.lower) < Fraction(told.lower)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from([0, 1, None])), min_size=1, max_size=30))
def test_an_exclusion_never_raises_the_bound(runs: list[tuple[str, int | None]]) -> None:
    told = [(scene, 1 if value is None else value) for scene, value in runs]
    for rule in ("first", "least", "mean"):
        with_exclusions = success_lower(one_per_scene(runs, rule=rule), "0.05")
        as_successes = success_lower(one_per_scene(told, rule=rule), "0.05")
        assert Fraction(with_exclusions.lower) <= Fraction(as_successes.lower)


def test_repeats_counted_as_trials_would_miss_as_often_as_is_published_and_one_a_scene_does_not() -> None:
    rng = np.random.default_rng(5)
    runs, p, icc = 20_000, 0.8, 0.3
    share = rng.beta(p * (1 / icc - 1), (1 - p) * (1 / icc - 1), (runs, 10))
    repeats = rng.binomial(10, share).sum(axis=1)
    pooled = np.array([float(binomial_lower(k, 100, "0.05")) for k in range(101)])
    assert (pooled[repeats] > p).mean() == pytest.approx(0.21, abs=0.015)
    first = (rng.random((runs, 10)) < share).sum(axis=1)
    single = np.array([float(binomial_lower(k, 10, "0.05")) for k in range(11)])
    assert (single[first] > p).mean() <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
