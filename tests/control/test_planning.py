"""The policy that plans: how far it looks, what it keeps of a plan, and what it says of its plans."""

from __future__ import annotations

import time

import numpy as np
import pytest

from worldgate.control.lookahead import CostConfig
from worldgate.control.lookahead.terms import FORBIDDEN
from worldgate.control.plan_recorded import told
from worldgate.control.planners import Space, open_planner
from worldgate.control.planning import PlanningConfig, PlanningPolicy
from worldgate.core.errors import ConfigError, UsageError

LOW, HIGH = (-1.0,), (1.0,)


class Line:
    """Looks ahead on a line: a plan costs how far from the goal it ends."""

    rows, action = 2, "action"

    def __init__(self, *, guess=None, chance=None, slow_s=0.0, floor=0.0):
        self.guess, self.chance, self.slow_s, self.floor = guess, chance, slow_s, floor
        self.asked, self.starts = [], []

    def aim(self, goal):
        if "place" not in goal:
            raise UsageError("a goal that shows nothing this model sees")
        self.goal = float(goal["place"])

    def scorer(self, seen, *, ahead, left, costs, terms):
        self.asked.append((ahead, left, len(seen.observations), len(seen.actions)))
        return Scorer(self, float(seen.observations[-1]["place"]), ahead, costs.hold)

    def warm(self, seen, left):
        return self.guess

    def reachable(self, seen, left):
        return self.chance


class Scorer:
    def __init__(self, of, now, ahead, hold):
        self.of, self.now, self.hold = of, now, hold
        self.space = Space(knots=ahead // hold, low_A=np.array(LOW), high_A=np.array(HIGH))

    def costs(self, plans):
        self.of.starts.append(plans[0, :, 0].tolist())
        time.sleep(self.of.slow_s * self.space.knots * len(plans))
        return np.abs(self.now + self.hold * plans.sum(axis=(1, 2)) - self.of.goal) + self.of.floor


def policy(line, planner="cem", options=None, **config):
    config.setdefault("horizon", 6)
    config.setdefault("execute", 2)
    return PlanningPolicy(line, open_planner(planner, options), PlanningConfig(**config), low=LOW, high=HIGH)


def go(acting, goal=3.0, steps=8, place=0.0, rows=None):
    acting.reset(seed=0)
    acting.aim({"place": goal}, steps=steps)
    for _ in range(steps if rows is None else rows):
        place += float(acting.act({"place": place})[0])
    return place


def test_it_comes_to_the_goal_and_never_looks_beyond_the_time_that_is_left():
    line = Line()
    acting = policy(line)
    assert go(acting) == pytest.approx(3.0, abs=0.3)
    assert [ahead for ahead, *_ in line.asked] == [6, 6, 4, 2]
    assert [left for _, left, *_ in line.asked] == [8, 6, 4, 2]
    assert [seen for _, _, seen, _ in line.asked] == [1, 2, 2, 2], "as many rows as the model wants"


def test_it_plans_only_when_what_was_planned_is_done():
    acting = policy(Line(), execute=3)
    go(acting, steps=7)
    assert len(acting.planned) == 3
    assert all(d.evaluated > 0 and not d.late and not d.unlawful for d in acting.planned)


def test_searches_begin_where_inverse_dynamics_points_then_at_the_plan_before():
    line = Line(guess=np.array([[0.5], [0.25]]))
    acting = policy(line, "shooting", {"plans": 32})
    go(acting, rows=1)
    assert line.starts[0] == [0.5, 0.25, 0.25, 0.25, 0.25, 0.25]
    assert acting.planned[-1].warm == "inverse"
    line = Line()
    acting = policy(line, "shooting", {"plans": 32})
    go(acting, rows=3)
    assert line.starts[0] == [0.0] * 6, "the middle of the bounds"
    rest = acting._rest_KA
    assert [d.warm for d in acting.planned] == ["still", "before"]
    assert rest is not None


def test_a_policy_may_begin_the_searches():
    class Half:
        def act(self, observation):
            return np.array([0.5])

    line = Line(guess=np.array([[-1.0]]))
    acting = PlanningPolicy(
        line, open_planner("direct"), PlanningConfig(horizon=4, execute=1), low=LOW, high=HIGH, warm=Half()
    )
    assert go(acting, steps=4) == pytest.approx(2.0)
    assert {d.warm for d in acting.planned} == {"policy"}


def test_knots_are_held_and_the_start_is_their_mean():
    line = Line(guess=np.array([[1.0], [0.0], [0.5], [0.5]]))
    acting = policy(line, "shooting", {"plans": 32}, cost=CostConfig(hold=2), horizon=5)
    go(acting, rows=1)
    assert line.asked[0][0] == 4, "a multiple of what is held"
    assert line.starts[0] == [0.5, 0.5]


def test_too_little_time_gives_the_warm_start_looks_less_far_and_says_so():
    line = Line(guess=np.array([[0.25]]), slow_s=1e-4)
    line.aim({"place": 3.0})
    acting = policy(line, budget_ms=5.0, execute=1)
    acting.planner.plan(Scorer(line, 0.0, 6, 1), np.zeros((6, 1)), _forever(), np.random.default_rng(0))
    go(acting, steps=12, rows=6)
    first, last = acting.planned[0], acting.planned[-1]
    assert first.late and first.evaluated == 0 and first.ahead == 6
    assert acting.planned[1].ahead == 3
    assert last.ahead < 3 or last.evaluated > 0
    said = "\n".join(told(acting.planned, acting.config))
    assert "cut short" in said and "gave the warm start" in said


def _forever():
    from worldgate.control.planners import Deadline

    return Deadline()


def test_a_goal_that_cannot_be_reached_is_told_once_at_the_start():
    far, near = policy(Line(chance=0.01)), policy(Line(chance=0.6))
    for acting in (far, near):
        go(acting)
    assert far.unreachable and not near.unreachable
    assert "1 of 1 trials" in "\n".join(told(far.planned, far.config))
    assert "0 of 1 trials" in "\n".join(told(near.planned, near.config))
    assert "unreachable" not in "\n".join(told((p := policy(Line()), go(p), p.planned)[2], p.config))


def test_a_search_that_finds_no_lawful_plan_says_so():
    acting = policy(Line(floor=FORBIDDEN))
    go(acting)
    assert all(d.unlawful for d in acting.planned)
    assert "no lawful plan" in "\n".join(told(acting.planned, acting.config))


def test_trials_are_counted_over_resets_and_repeat():
    acting = policy(Line())
    one = go(acting)
    acting.reset(seed=1)
    two = go(acting)
    assert one == two
    assert sorted({d.trial for d in acting.planned}) == [0, 1]


@pytest.mark.parametrize("wrong", [{"horizon": 0}, {"execute": 0}, {"budget_ms": -1.0}])
def test_plans_that_cannot_be_made_are_refused(wrong):
    with pytest.raises(ConfigError, match="cannot be made"):
        PlanningConfig(**wrong)


def test_no_time_and_no_goal_are_refused():
    acting = policy(Line())
    with pytest.raises(UsageError, match="no time"):
        acting.aim({"place": 1.0}, steps=0)
    with pytest.raises(UsageError, match="nothing this model sees"):
        acting.aim({"look": 1.0}, steps=3)


def test_a_guess_beyond_the_bounds_is_refused_and_not_clipped():
    acting = policy(Line(guess=np.array([[3.0]])))
    with pytest.raises(UsageError, match="beyond the bounds"):
        go(acting)


def test_digests_tell_configurations_apart():
    one, same, other = policy(Line()), policy(Line()), policy(Line(), execute=1)
    assert one.digest == same.digest != other.digest
