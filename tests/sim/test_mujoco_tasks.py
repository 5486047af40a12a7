"""Every task in MuJoCo: a row restores the very run, the same seed gives the same bytes, what is no row is refused."""

from __future__ import annotations

import numpy as np
import pytest

from worldgate.core.errors import ConfigError, UsageError
from worldgate.core.tasks import TRUTH
from worldgate.sim.tasks import open_actor, open_task

TASKS = ("reacher", "cartpole", "walker", "push", "pick_place", "insert", "instructed")
SMALL = {"size": 16}


def same(a, b):
    return set(a) == set(b) and all(np.array_equal(a[name], b[name]) for name in a)


def rollout(task, seen, policy, steps):
    rows = [seen]
    for _ in range(steps):
        transition = task.step(policy.act(rows[-1]))
        rows.append(transition.observation)
        if transition.done:
            break
    return rows


@pytest.mark.parametrize("name", TASKS)
def test_a_row_restores_the_very_situation_and_all_that_follows(name):
    task, other = open_task(name, SMALL), open_task(name, SMALL)
    policy = open_actor("random", name, SMALL)
    policy.reset(seed=0)
    actions = [policy.act({}) for _ in range(9)]
    rows = [task.reset(seed=3)] + [task.step(action).observation for action in actions]
    assert same(other.begin(rows[4][TRUTH], seed=9), rows[4])
    for action, expected in zip(actions[4:], rows[5:], strict=True):
        assert same(other.step(action).observation, expected)


@pytest.mark.parametrize("name", TASKS)
def test_one_seed_is_one_run_and_another_seed_another(name):
    runs = []
    for seed in (5, 5, 6):
        task, policy = open_task(name, SMALL), open_actor("random", name, SMALL)
        policy.reset(seed=seed)
        runs.append(rollout(task, task.reset(seed=seed), policy, 3))
    assert all(same(a, b) for a, b in zip(runs[0], runs[1], strict=True))
    assert not same(runs[0][0], runs[2][0])


@pytest.mark.parametrize("name", TASKS)
def test_an_observation_is_what_the_spec_says(name):
    for options in (SMALL, {"size": 0}):
        task = open_task(name, options)
        seen, spec = task.reset(seed=0), task.spec
        signals = (*spec.states, *spec.cameras, spec.truth)
        assert {signal.name for signal in signals} == set(seen)
        assert all(seen[signal.name].shape == signal.shape for signal in signals)
        assert all(len(signal.names) == len(signal.unit.split(",")) or "," not in signal.unit for signal in spec.states)
        assert all(seen[camera.name].dtype == np.uint8 for camera in spec.cameras)
        assert bool(spec.cameras) == bool(options["size"])


@pytest.mark.parametrize("name", ["reacher", "push", "pick_place"])
def test_a_goal_row_is_shown_reached_where_it_stands_and_not_from_afar(name):
    task, policy = open_task(name, SMALL), open_actor("random", name, SMALL)
    rows = []
    for seed in range(2):
        policy.reset(seed=seed)
        rows.append(rollout(task, task.reset(seed=seed), policy, 10)[-1])
    seen = task.begin(rows[0][TRUTH], rows[1][TRUTH], seed=0)
    assert same(seen, rows[0])
    assert same(task.goal(), rows[1])
    low, high = np.array(task.spec.low), np.array(task.spec.high)
    far = task.step((low + high) / 2)
    assert far.facts["success"] == 0.0 > far.facts["reward"]
    assert task.measure() == far.facts
    assert not far.done
    here = open_actor("random", name, SMALL)
    here.reset(seed=0)
    task.begin(rows[1][TRUTH], rows[1][TRUTH], seed=0)
    near = task.step(here.act(rows[1]))
    assert near.facts["distance"] < far.facts["distance"]


@pytest.mark.parametrize("name", TASKS)
def test_what_is_no_row_or_no_action_is_refused(name):
    task = open_task(name, {"size": 0})
    row = task.reset(seed=0)[TRUTH]
    with pytest.raises(UsageError, match="not a start"):
        task.begin(row[:-1], seed=0)
    with pytest.raises(UsageError, match="not finite"):
        task.begin(np.full_like(row, np.nan), seed=0)
    with pytest.raises(UsageError, match="outside its bounds"):
        task.step(np.full(len(task.spec.low), 1e3))
    with pytest.raises(ConfigError, match="too small"):
        open_task(name, {"size": 4})


@pytest.mark.parametrize("name", TASKS)
def test_a_run_ends_with_its_steps(name):
    task, policy = open_task(name, {"size": 0}), open_actor("random", name, {"size": 0})
    policy.reset(seed=1)
    assert len(rollout(task, task.reset(seed=1), policy, task.spec.steps + 1)) <= task.spec.steps + 1


def test_the_scripted_pusher_brings_the_object_into_the_bay_and_that_ends_the_run():
    task, policy = open_task("push", {"size": 0}), open_actor("scripted", "push")
    for seed in range(3):
        policy.reset(seed=seed)
        seen = task.reset(seed=seed)
        for _ in range(120):
            transition = task.step(policy.act(seen))
            seen = transition.observation
            if transition.done:
                break
        assert transition.facts["success"] == 1.0 > transition.facts["reward"] > 0.8
        assert transition.facts["force_n"] > 0.1


def test_a_pusher_that_is_told_a_goal_takes_object_and_tool_there():
    task, play = open_task("push", {"size": 0}), open_actor("play", "push")
    policy, nearer, reached = open_actor("scripted", "push"), 0, 0
    for seed in range(4):
        play.reset(seed=seed)
        rows = rollout(task, task.reset(seed=seed), play, 45)
        seen = task.begin(rows[15][TRUTH], rows[45][TRUTH], seed=0)
        policy.reset(seed=0)
        policy.aim(task.goal(), steps=100)
        for _ in range(81):
            transition = task.step(policy.act(seen))
            seen = transition.observation
            if transition.done:
                break
        nearer += transition.facts["distance"] < 0.03
        reached += transition.facts["success"] == 1.0
    assert nearer >= 3
    assert reached >= 2


def test_a_pusher_cannot_aim_by_pictures_alone():
    with pytest.raises(UsageError, match=r"observation\.environment_state"):
        open_actor("scripted", "push").aim({"observation.images.front": np.zeros((64, 64, 3), np.uint8)}, steps=10)
