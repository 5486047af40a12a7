"""New against old: the published power, refusals, exclusions against the new."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from worldgate.core.errors import UsageError
from worldgate.evidence.betting import first_crossing
from worldgate.evidence.paired import Pair, PairedPlan, better_p, difference_lower_fixed, follow_pairs
from worldgate.evidence.sequential import Step
from worldgate.evidence.statistics import binomial_lower, binomial_upper


def pairs(differences: list[int]) -> list[Pair]:
    return [Pair(scene=str(i), new=d >= 0, old=d <= 0) for i, d in enumerate(differences)]


def plan(margin: str = "0", most: int = 100) -> PairedPlan:
    return PairedPlan.make(margin=margin, alpha="0.05", most=most)


def drawn(rng: np.random.Generator, n: int, won: float, lost: float) -> list[Pair]:
    u = rng.random(n)
    return pairs(np.where(u < won, 1, np.where(u < won + lost, -1, 0)).tolist())


def crossing(found: list[Pair], margin: str) -> int | None:
    return first_crossing([pair.unit for pair in found], (1 - Fraction(margin)) / 2, "0.05")


def test_a_better_release_is_found_as_often_and_as_early_as_published() -> None:
    # The reference: +20 points at 30 % discordance, power .90 by 100 pairs, median stop 38.
    rng = np.random.default_rng(7)
    found = [crossing(drawn(rng, 100, 0.25, 0.05), "0") for _ in range(150)]
    crossed = [n for n in found if n is not None]
    assert len(crossed) / 150 > 0.90 - 3 * (0.9 * 0.1 / 150) ** 0.5
    assert 30 < np.median(crossed) < 46


def test_a_release_at_the_margin_passes_at_most_alpha_of_the_time() -> None:
    rng = np.random.default_rng(8)
    runs = 150
    passed = sum(crossing(drawn(rng, 120, 0.1, 0.2), "0.1") is not None for _ in range(runs))
    assert passed / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_ties_show_that_the_new_is_not_worse_by_the_margin() -> None:
    found = follow_pairs(plan("0.1", 200), pairs([0] * 200))
    assert (found.step, found.wins, found.losses) == (Step.CROSSED, 0, 0)
    assert found.pairs < 60
    assert Fraction(found.lower) >= Fraction(-1, 10)
    assert follow_pairs(plan("0", 200), pairs([0] * 100)).step is Step.CONTINUE


def test_a_crossing_stands_and_is_reported_as_it_was() -> None:
    clean = follow_pairs(plan(), pairs([1] * 20))
    assert clean.step is Step.CROSSED
    assert follow_pairs(plan(), pairs([1] * clean.pairs + [-1] * 40)) == clean
    assert Fraction(clean.evidence) >= 20
    assert Fraction(clean.lower) >= 0


def test_a_worse_release_is_futile_before_the_pairs_are_spent() -> None:
    assert follow_pairs(plan(most=1000), pairs([-1] * 20)).step is Step.FUTILE
    assert follow_pairs(plan(most=12), pairs([0] * 10)).step is Step.FUTILE


def test_all_pairs_without_an_answer_exhaust_the_plan() -> None:
    assert follow_pairs(plan(most=10), pairs([1, -1] * 6)).step is Step.EXHAUSTED


def test_no_pairs_show_nothing() -> None:
    found = follow_pairs(plan(), [])
    assert (found.step, found.pairs, found.evidence, found.lower) == (Step.CONTINUE, 0, "1", "-1")


@pytest.mark.parametrize(
    ("new", "old", "difference"),
    [(None, True, -1), (None, False, 0), (True, None, 0), (False, None, -1), (None, None, -1), (True, False, 1)],
)
def test_an_excluded_run_counts_against_the_new(new: bool | None, old: bool | None, difference: int) -> None:
    assert Pair(scene="a", new=new, old=old).difference == difference


def test_what_the_bound_would_be_without_exclusions_is_told_beside() -> None:
    made = [*pairs([1] * 3), Pair(scene="x", new=None, old=True)]
    found = follow_pairs(plan(), made)
    assert (found.excluded, found.losses) == (1, 1)
    assert Fraction(found.lower_without) >= Fraction(found.lower)


def test_a_scene_that_runs_again_is_refused_or_its_first_pair_counts() -> None:
    twice = [Pair(scene="a", new=False, old=True), Pair(scene="a", new=True, old=False)]
    with pytest.raises(UsageError, match="not independent"):
        follow_pairs(plan(), twice)
    found = follow_pairs(plan(), twice, rule="first")
    assert (found.pairs, found.wins, found.losses) == (1, 0, 1)
    with pytest.raises(UsageError, match="may not change"):
        follow_pairs(plan(), twice, rule="mean")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"margin": "-0.1"}, {"margin": "1"}, {"margin": "nan"}, {"alpha": "0"}, {"alpha": "1"}, {"most": 0}]
)
def test_a_plan_that_makes_no_sense_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        PairedPlan.make(**{"margin": "0.05", "alpha": "0.05", "most": 10, **wrong})  # type: ignore[arg-type]


@given(st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=30), st.sampled_from(["0", "0.05", "0.2"]))
@settings(max_examples=40, deadline=None)
def test_the_bound_and_the_decision_agree(found: list[int], margin: str) -> None:
    result = follow_pairs(plan(margin, 30), pairs(found))
    if result.step is Step.CROSSED:
        assert Fraction(result.lower) >= -Fraction(margin) - Fraction(1, 10**11)
    else:
        assert Fraction(result.lower) <= -Fraction(margin)


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_fixed_test_is_mcnemars_exact_one(wins: int, losses: int) -> None:
    expected = stats.binomtest(wins, wins + losses, 0.5, "greater").pvalue if wins + losses else 1.0
    assert float(better_p(wins, losses)) == pytest.approx(expected, rel=1e-9)


def test_the_fixed_bound_is_the_difference_of_two_exact_ones() -> None:
    expected = Fraction(binomial_lower(12, 100, "0.015")) - Fraction(binomial_upper(3, 100, "0.035"))
    assert Fraction(difference_lower_fixed(12, 3, 100, "0.05")) == pytest.approx(expected, rel=1e-10)
    assert Fraction(difference_lower_fixed(12, 3, 100, "0.05")) <= expected
    assert difference_lower_fixed(0, 0, 0, "0.05") == "-1"


@pytest.mark.parametrize("counts", [(-1, 0), (0, -1)])
def test_counts_that_cannot_be_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(UsageError):
        better_p(*counts)
    with pytest.raises(UsageError):
        difference_lower_fixed(*counts, 10, "0.05")
    with pytest.raises(UsageError, match="more discordant"):
        difference_lower_fixed(6, 6, 10, "0.05")
