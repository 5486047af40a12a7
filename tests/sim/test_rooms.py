"""The rooms' motion is exact: no wall is entered or jumped, sliding loses only what points into the wall."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from worldgate.core.errors import ConfigError, UsageError
from worldgate.core.tasks import TRUTH
from worldgate.sim.tasks import _rooms, open_actor, open_task

WALLS = ((112.0, 49.0),)
places = st.tuples(*[st.floats(_rooms.LOW, _rooms.HIGH)] * 2)
ways = st.tuples(*[st.floats(-300.0, 300.0)] * 2)
walls = (
    st.lists(st.floats(40.0, 184.0), min_size=1, max_size=3, unique=True)
    .map(sorted)
    .flatmap(lambda xs: st.tuples(*(st.tuples(st.just(x), st.floats(36.0, 188.0)) for x in xs)))
)


def clearance(layout: _rooms.Walls, at: _rooms.Point) -> float:
    """By dense points of every wall's outline and of the frame, independent of the task's own geometry."""
    x, y = at
    apart = min(x - 14.0, y - 14.0, 210.0 - x, 210.0 - y)
    for wall, door in layout:
        for top, bottom in ((0.0, door - 22.0), (door + 22.0, 224.0)):
            dx = max(wall - 5.0 - x, 0.0, x - wall - 5.0)
            dy = max(top - y, 0.0, y - bottom)
            apart = min(apart, math.hypot(dx, dy))
    return apart


@given(layout=walls, at=places, way=ways)
def test_the_disc_never_enters_a_wall_and_never_goes_farther_than_it_was_sent(
    layout: _rooms.Walls, at: _rooms.Point, way: _rooms.Point
) -> None:
    assume(clearance(layout, at) >= 7.0)
    there = _rooms.travel(layout, at, way)
    assert clearance(layout, there) >= 7.0 - 1e-6
    assert math.dist(at, there) <= math.hypot(*way) + 1e-9


@given(layout=walls, at=places, way=ways)
def test_what_is_free_is_gone_and_what_ends_it_is_touched(
    layout: _rooms.Walls, at: _rooms.Point, way: _rooms.Point
) -> None:
    assume(clearance(layout, at) > 7.0 + 1e-6 and math.hypot(*way) > 1e-3)
    free, normal = _rooms.first_touch(layout, at, way)
    for part in np.linspace(0.0, 1.0, 50) * free:
        assert clearance(layout, (at[0] + part * way[0], at[1] + part * way[1])) >= 7.0 - 1e-6
    if free < 1.0:
        end = (at[0] + free * way[0], at[1] + free * way[1])
        assert clearance(layout, end) == pytest.approx(7.0, abs=1e-6)
        assert math.hypot(*normal) == pytest.approx(1.0)
        assert way[0] * normal[0] + way[1] * normal[1] < 0


def test_a_wall_is_not_jumped_however_fast_the_disc_is() -> None:
    assert _rooms.travel(WALLS, (60.0, 150.0), (150.0, 0.0)) == pytest.approx((100.0, 150.0))
    assert _rooms.travel(WALLS, (60.0, 49.0), (100.0, 0.0)) == pytest.approx((160.0, 49.0))


def test_along_a_wall_the_disc_slides_with_what_is_left_of_its_motion() -> None:
    assert _rooms.travel(WALLS, (95.0, 150.0), (10.0, 6.0)) == pytest.approx((100.0, 156.0))


def test_a_door_post_turns_the_disc_along_its_tangent() -> None:
    # The lower post's left corner is at (107, 71); a disc that meets it 45 degrees off goes on along that tangent.
    half = 7.0 * math.sqrt(0.5)
    x, y = _rooms.travel(WALLS, (90.0, 71.0 - half), (27.0, 0.0))
    touch, left = 107.0 - half, 27.0 - (17.0 - half)
    assert (x, y) == pytest.approx((touch + left / 2, 71.0 - half - left / 2))


def test_a_start_or_goal_within_a_wall_or_of_another_width_is_refused() -> None:
    task = open_task("two_room")
    row = task.reset(seed=0)[TRUTH]
    for place, wrong in ((0, 112.0), (0, 3.0), (1, float("nan"))):
        bad = row.copy()
        bad[[0, 1]] = 150.0
        bad[place] = wrong
        with pytest.raises(UsageError, match=r"cannot be|not a start"):
            task.begin(bad, seed=0)
    with pytest.raises(UsageError, match="not a goal"):
        task.begin(row, row[:4], seed=0)


def test_a_goal_among_other_walls_is_refused() -> None:
    task = open_task("two_room", {"door": 0.0})
    start, goal = task.reset(seed=0)[TRUTH], task.reset(seed=1)[TRUTH]
    assert start[5] != goal[5], "the door is drawn"
    with pytest.raises(UsageError, match="among other walls"):
        task.begin(start, goal, seed=0)


@pytest.mark.parametrize("options", [{"size": 4}, {"door": 30.0}, {"door": 200.0}])
def test_rooms_that_cannot_be_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        open_task("two_room", options)


def test_the_picture_shows_disc_wall_and_door() -> None:
    task = open_task("two_room")
    row = task.reset(seed=0)[TRUTH].copy()
    row[:2] = 52.5, 150.0
    picture = task.begin(row, seed=0)["observation.images.top"]
    assert picture.shape == (64, 64, 3)
    assert picture[42, 15].tolist()[0] > 250 and picture[42, 15, 1:].max() < 20, "the dot is red"
    assert picture[50, 32].max() == 0 and picture[14, 32].min() > 250, "the wall is black, the door white"
    assert picture[1, 1].min() == 255 and picture[30, 3].max() < 140, "white outside the frame, a line round it"


@pytest.mark.parametrize(("name", "options"), [("two_room", {"door": 0.0}), ("wall", {}), ("wall", {"walls": 4})])
def test_the_scripted_actor_finds_its_way_through_every_door(name: str, options: dict[str, float]) -> None:
    task, actor = open_task(name, options), open_actor("scripted", name, options)
    for seed in range(20):
        observation, done = task.reset(seed=seed), False
        actor.reset(seed=seed)
        while not done:
            transition = task.step(actor.act(observation))
            observation, done = transition.observation, transition.done
        assert transition.facts["success"] == 1.0, seed


def test_walls_are_drawn_apart_and_told() -> None:
    for seed in range(50):
        row = open_task("wall", {"walls": 4}).reset(seed=seed)
        places = row["observation.environment_state"].reshape(4, 2)
        assert (np.diff(places[:, 0]) >= 38.0).all() and places[0, 0] >= 47.0 and places[-1, 0] <= 177.0
        assert places[:, 1].min() >= 36.0 and places[:, 1].max() <= 188.0
        np.testing.assert_array_equal(row[TRUTH][4:], places.reshape(-1))


@pytest.mark.parametrize("options", [{"walls": 0}, {"walls": 5}, {"size": 4}])
def test_mazes_that_cannot_be_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        open_task("wall", options)
