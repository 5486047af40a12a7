"""PushT's own parts: coverage, told goals, restoring, relative actions; its physics is held in tests/golden."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgate.core.errors import ConfigError, UsageError
from worldgate.core.tasks import TRUTH
from worldgate.sim.tasks import open_actor, open_task
from worldgate.sim.tasks._pusht import coverage
from worldgate.sim.tasks._pusht_expert import GOAL
from worldgate.sim.watch import collect

SMALL = {"size": 16}
GRID = np.stack(np.meshgrid(np.arange(512) + 0.5, np.arange(512) + 0.5), axis=-1)
poses = st.tuples(st.floats(150, 360), st.floats(150, 360), st.floats(-math.pi, math.pi)).map(np.array)


def inside(pose: np.ndarray) -> np.ndarray:
    """Which middles of the plane's pixels lie in the T."""
    c, s = math.cos(pose[2]), math.sin(pose[2])
    x, y = (GRID - pose[:2]) @ np.array([c, s]), (GRID - pose[:2]) @ np.array([-s, c])
    return ((abs(x) < 60) & (y > 0) & (y < 30)) | ((abs(x) < 15) & (y >= 30) & (y < 120))


@settings(max_examples=25, deadline=None)
@given(pose=poses, goal=poses)
def test_coverage_is_the_share_of_the_goals_pixels_that_the_t_covers(pose: np.ndarray, goal: np.ndarray) -> None:
    counted = (inside(pose) & inside(goal)).sum() / inside(goal).sum()
    assert coverage(pose, goal) == pytest.approx(counted, abs=0.02)


def test_coverage_of_itself_is_whole_and_of_what_is_far_nothing() -> None:
    assert coverage(GOAL, GOAL) == pytest.approx(1.0, abs=1e-12)
    assert coverage(GOAL, GOAL + np.array([200.0, 0.0, 0.0])) == 0.0
    assert coverage(np.array([100.0, 100.0, 0.0]), np.array([160.0, 100.0, 0.0])) == pytest.approx(1800 / 6300)


def test_the_scripted_actor_covers_the_outline() -> None:
    episode = collect(open_task("pusht", SMALL), open_actor("scripted", "pusht"), seed=1)
    assert episode.facts["success"] is True and episode.facts["ended"] == "terminated"
    assert episode.array("reward")[-1] == 1.0 and len(episode) < 200


def test_an_actor_steers_by_relative_actions_to_the_same_targets() -> None:
    options = {**SMALL, "relative": True}
    seen = open_task("pusht", SMALL).reset(seed=0)
    absolute, relative = open_actor("scripted", "pusht", SMALL), open_actor("scripted", "pusht", options)
    goal = open_task("pusht", SMALL)
    goal.begin(seen[TRUTH], seen[TRUTH], seed=0)
    for actor in (absolute, relative):
        actor.reset(seed=0)
        actor.aim(goal.goal(), steps=5)
    ahead = absolute.act(seen) - seen["observation.state"]
    np.testing.assert_allclose(relative.act(seen), np.clip(ahead / 100.0, -1, 1), atol=1e-12)
    aimless = open_actor("random", "pusht", options)
    aimless.aim(goal.goal(), steps=5)
    aimless.reset(seed=0)
    assert np.abs(aimless.act(seen)).max() <= 1.0


def test_a_told_goal_is_reached_with_tool_and_t_together() -> None:
    task, actor = open_task("pusht", SMALL), open_actor("scripted", "pusht")
    truth = collect(open_task("pusht", SMALL), open_actor("play", "pusht"), seed=4, steps=60).array(TRUTH)
    observation = task.begin(truth[5], truth[40], seed=0)
    assert not task.measure()["success"]
    actor.reset(seed=0)
    actor.aim(task.goal(), steps=100)
    for _ in range(100):
        transition = task.step(actor.act(observation))
        observation = transition.observation
        if transition.done:
            break
    assert transition.facts["success"]
    apart = observation[TRUTH] - truth[40]
    assert math.hypot(*apart[[0, 1, 4, 5]]) == pytest.approx(transition.facts["distance"])
    assert transition.facts["distance"] < 20.0


def test_success_at_a_told_goal_asks_for_place_and_turn() -> None:
    task = open_task("pusht", SMALL)
    goal = np.array([100.0, 100.0, 0, 0, 300.0, 300.0, 3.0, 0, 0, 0])
    for change, reached in (
        ((0, 19.9), True), ((0, 20.1), False), ((5, 19.9), True), ((5, 20.1), False),
        ((6, 0.34), True), ((6, 0.36), False), ((6, 0.34 - 2 * math.pi), True),
    ):  # fmt: skip
        start = goal.copy()
        start[change[0]] += change[1]
        task.begin(start, goal, seed=0)
        assert bool(task.measure()["success"]) is reached, change
    both = goal.copy()
    both[[0, 4]] += 15.0
    task.begin(both, goal, seed=0)
    assert task.measure()["distance"] == pytest.approx(15.0 * math.sqrt(2)) and not task.measure()["success"]


def test_a_restored_run_goes_on_as_it_did_but_for_what_the_engine_keeps_of_a_contact() -> None:
    episode, task = (
        collect(open_task("pusht", SMALL), open_actor("play", "pusht"), seed=2, steps=80),
        open_task("pusht", SMALL),
    )
    truth, actions, apart = episode.array(TRUTH), episode.array("action"), []
    for row in range(len(episode) - 1):
        task.begin(truth[row], seed=0)
        there = task.step(actions[row]).observation[TRUTH]
        np.testing.assert_allclose(there[:4], truth[row + 1][:4], atol=1e-9)  # the tool, which nothing pushes
        apart.append(np.linalg.norm(there[4:6] - truth[row + 1][4:6]))
    assert np.median(apart) < 0.01 and max(apart) < 0.5
    still = np.abs(np.diff(truth[:, 4:7], axis=0)).max(axis=1) == 0
    assert np.array(apart)[still].max() < 1e-6, "no contact, no difference"


def test_a_relative_action_is_the_way_from_the_tool() -> None:
    first, second = open_task("pusht", SMALL), open_task("pusht", {**SMALL, "relative": True})
    seen = first.reset(seed=0)
    second.reset(seed=0)
    a = first.step(seen["observation.state"] + [40.0, -30.0]).observation[TRUTH]
    np.testing.assert_allclose(second.step(np.array([0.4, -0.3])).observation[TRUTH], a, atol=1e-9)
    with pytest.raises(UsageError, match="outside its bounds"):
        second.step(np.array([1.5, 0.0]))


def test_the_own_goal_shows_the_t_on_its_outline() -> None:
    task = open_task("pusht")
    task.reset(seed=0)
    np.testing.assert_allclose(task.goal()["observation.environment_state"], GOAL)
    assert (task.goal()["observation.images.top"] == [144, 238, 144]).all(-1).sum() == 0, "nothing green is left"


@pytest.mark.parametrize("row", [[0.0] * 9, [float("nan")] * 10, [600.0] + [100.0] * 9])
def test_rows_that_are_no_situation_are_refused(row: list[float]) -> None:
    with pytest.raises(UsageError, match=r"not a start|outside the plane"):
        open_task("pusht", SMALL).begin(np.array(row), seed=0)


def test_pictures_too_small_are_refused() -> None:
    with pytest.raises(ConfigError):
        open_task("pusht", {"size": 7})
