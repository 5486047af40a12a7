"""Every file of the planners seam keeps the same contract."""

from __future__ import annotations

import time

import numpy as np
import pytest

from worldgate.control.planners import Deadline, Space, open_planner
from worldgate.core import seams
from worldgate.core.errors import ConfigError, UsageError

LOW, HIGH = np.array([-1.0, -2.0]), np.array([1.0, 2.0])
BEST = np.array([[0.4, -1.0], [0.7, 0.5], [-0.6, 1.6]])
SEARCHING = sorted(set(seams.cards("planners")) - {"direct"})


class Bowl:
    """Costs least at one plan."""

    space = Space(knots=3, low_A=LOW, high_A=HIGH)

    def __init__(self, slow_s=0.0):
        self.slow_s, self.seen = slow_s, []

    def costs(self, plans_NKA):
        time.sleep(self.slow_s)
        self.seen.append(plans_NKA.copy())
        return np.square(plans_NKA - BEST).sum(axis=(1, 2))

    def slopes(self, plans_NKA):
        return self.costs(plans_NKA), 2 * (plans_NKA - BEST)


@pytest.fixture(params=sorted(seams.cards("planners")))
def name(request):
    return request.param


def find(name, scorer, start, *, budget_ms=None, seed=0, planner=None):
    deadline = Deadline() if budget_ms is None else Deadline(budget_ms)
    return (planner or open_planner(name)).plan(scorer, start, deadline, np.random.default_rng(seed))


def test_every_card_is_whole():
    for name, card in seams.cards("planners").items():
        assert card.line and card.source, name


@pytest.mark.parametrize("name", SEARCHING)
def test_a_search_comes_near_to_the_best_plan_and_says_what_it_cost(name):
    scorer, start = Bowl(), np.zeros((3, 2))
    plan = find(name, scorer, start)
    assert plan.cost == pytest.approx(np.square(plan.knots_KA - BEST).sum())
    assert plan.cost < 0.25 * np.square(start - BEST).sum()
    assert plan.evaluated == sum(len(seen) for seen in scorer.seen) > 0
    assert plan.complete


def test_nothing_beyond_the_bounds_is_evaluated_or_given(name):
    scorer = Bowl()
    plan = find(name, scorer, np.full((3, 2), 0.9))
    for plans in [plan.knots_KA[None], *scorer.seen]:
        assert (plans >= LOW).all() and (plans <= HIGH).all()


def test_a_search_never_makes_its_start_worse(name):
    plan = find(name, Bowl(), BEST)
    assert np.allclose(plan.knots_KA, BEST)


def test_the_same_seed_finds_the_same_plan(name):
    one, two = (find(name, Bowl(), np.zeros((3, 2)), seed=3) for _ in range(2))
    assert np.array_equal(one.knots_KA, two.knots_KA)


@pytest.mark.parametrize("name", SEARCHING)
def test_without_time_the_start_is_given_and_said_to_be_unsearched(name):
    start = np.full((3, 2), 0.25)
    plan = find(name, Bowl(), start, budget_ms=0.0)
    assert np.array_equal(plan.knots_KA, start)
    assert (plan.evaluated, plan.complete) == (0, False)
    assert np.isnan(plan.cost)


@pytest.mark.parametrize("name", SEARCHING)
def test_rounds_that_would_not_end_in_time_are_not_begun(name):
    planner, scorer = open_planner(name), Bowl(slow_s=0.02)
    find(name, scorer, np.zeros((3, 2)), planner=planner)
    full = len(scorer.seen)
    assert full >= 1
    short = find(name, scorer, np.zeros((3, 2)), planner=planner, budget_ms=25.0)
    assert short.rounds <= max(1, full // 2)
    nothing = find(name, scorer, np.zeros((3, 2)), planner=planner, budget_ms=0.001)
    assert nothing.rounds == 0


@pytest.mark.parametrize(
    ("start", "word"),
    [
        (np.zeros((2, 2)), "not a plan of this space"),
        (np.full((3, 2), np.nan), "not a plan of this space"),
        (np.full((3, 2), 1.5), "beyond the bounds"),
    ],
)
def test_starts_that_are_no_plans_are_refused(name, start, word):
    with pytest.raises(UsageError, match=word):
        find(name, Bowl(), start)


def test_unknown_options_are_refused_with_the_nearest(name):
    with pytest.raises(ConfigError):
        open_planner(name, {"planz": 3})
