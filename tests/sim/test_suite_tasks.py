"""Reacher, cartpole and walker against the control suite itself, and what their actors do."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from worldgate.core.errors import CapabilityMissing, NotFound, UsageError
from worldgate.core.tasks import TRUTH
from worldgate.sim.tasks import open_actor, open_task

# dm_control 1.0.50 under MuJoCo 3.17.0, each action held for two of its control periods: the start's positions, rewards
# of the periods PERIODS, the sum of 120 rewards, and what its observation held after period 20.
PERIODS = (0, 1, 5, 20, 60, 119)
GIVEN = {
    ("reacher", "easy"): (
        (0.3, -1.0),
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        2.0,
        (2.801070164, -1.165060905, 0.220929642, -0.039822482, 4.753704502, -3.323105112),
    ),
    ("cartpole", "swingup"): (
        (0.05, 3.0),
        (0.00996194405, 0.009757295033, 0.005930339023, 0.086757873204, 0.090979003268, 0.188407231412),
        24.811093679,
        (0.526136247, -0.827659598, -0.561230424, 2.828815932, 3.523548518),
    ),
    ("cartpole", "balance"): (
        (0.05, 0.03),
        (1.998105883906, 1.993279104951, 1.876855119365, 0.805522509148, 0.521184837769, 0.156300189086),
        60.114482205,
        (0.524963677, 0.762870736, -0.646551034, 2.865553597, -4.88223731),
    ),
    ("walker", "walk"): (
        (0, 0, 0.1, 0.5, -0.4, 0.1, 0.2, -0.8, -0.1),
        (0.365086561036, 0.332171559771, 0.332269316175, 0.011284935921, 1.572987316126, 0.036621606549),
        28.021759076,
        (
            *(-0.78507255, -0.619403819, -0.4657412, 0.884920976, -0.305662296, -0.95213999, -0.893354328),
            *(-0.449352918, -0.518222618, -0.855245765, 0.593029277, -0.805180897, 0.991202351, -0.132355201),
            *(0.353061434, 0.401408556, -1.287590956, 0.590885958, 0.012667207, -2.196729044, -0.001318553),
            *(0.015166607, 12.295852524, 0.585996169),
        ),
    ),
}


def run(name, policy, task, seed):
    """The sum of rewards, the last transition and the number of steps of a run."""
    policy.reset(seed=seed)
    seen, total, steps = task.reset(seed=seed), 0.0, 0
    if hasattr(policy, "aim") and task.spec.takes_goals:
        policy.aim(task.goal(), steps=task.spec.steps)
    while True:
        transition = task.step(policy.act(seen))
        seen, total, steps = transition.observation, total + transition.facts["reward"], steps + 1
        if transition.done:
            return total, transition, steps


@pytest.mark.parametrize(("name", "variant"), GIVEN)
def test_physics_rewards_and_observations_are_those_of_the_suite(name, variant):
    start, rewards, total, state = GIVEN[name, variant]
    task = open_task(name, {"task": variant, "size": 0})
    task.reset(seed=0)
    mujoco.mj_resetData(task.model, task.data)
    task.data.qpos[:] = start
    if name == "reacher":
        task.data.mocap_pos[0] = 0.1, 0.12, 0.01
    mujoco.mj_forward(task.model, task.data)
    k = np.arange(120)
    actions = np.stack([np.sin(0.11 * (i + 1) * k + i) for i in range(task.model.nu)], 1)
    rows = [task.step(action) for action in actions]
    np.testing.assert_allclose([rows[i].facts["reward"] for i in PERIODS], rewards, atol=1e-7)
    np.testing.assert_allclose(sum(row.facts["reward"] for row in rows), total, atol=1e-5)
    np.testing.assert_allclose(rows[20].observation["observation.state"], state, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "variant", "least"), [("reacher", "easy", 900), ("cartpole", "swingup", 800), ("cartpole", "balance", 990)]
)
def test_a_scripted_actor_has_the_return_of_a_competent_one(name, variant, least):
    options = {"task": variant, "size": 0}
    task, scripted = open_task(name, options), open_actor("scripted", name, options)
    returns = [run(name, scripted, task, seed)[0] for seed in range(2)]
    assert min(returns) > least
    assert run(name, open_actor("random", name, options), task, 0)[0] < least / 2


def test_the_scripted_reacher_takes_the_pose_of_a_goal_and_the_run_ends_there():
    options = {"size": 0}
    task, scripted = open_task("reacher", options), open_actor("scripted", "reacher", options)
    for seed in range(5):
        _, last, steps = run("reacher", scripted, task, seed)
        assert last.facts["success"] == 1.0
        assert last.facts["reward"] == 1.0 - last.facts["distance"] / np.pi
        assert last.facts["distance"] < 0.05
        assert steps < 150


def test_a_shoulder_that_has_turned_once_round_is_the_same_pose():
    task = open_task("reacher", {"size": 0})
    row = np.array(task.reset(seed=1)[TRUTH])
    turned = row.copy()
    turned[1] += 2 * np.pi
    task.begin(turned, row, seed=0)
    last = task.step(np.zeros(2))
    assert last.facts["success"] == 1.0
    assert last.facts["distance"] < 1e-9


def test_a_reacher_that_was_told_nothing_wanders_from_pose_to_pose():
    task, scripted = open_task("reacher", {"size": 0}), open_actor("scripted", "reacher", {"size": 0})
    scripted.reset(seed=0)
    seen, poses = task.reset(seed=0), []
    for i in range(150):
        seen = task.step(scripted.act(seen)).observation
        if i % 50 == 49:
            poses.append(seen["observation.state"][:2])
    assert min(np.abs(poses[0] - poses[1]).max(), np.abs(poses[1] - poses[2]).max()) > 0.3


def test_the_suite_s_own_reacher_has_no_goal_and_takes_none():
    task = open_task("reacher", {"task": "easy", "size": 0})
    row = task.reset(seed=0)[TRUTH]
    assert not task.spec.takes_goals
    with pytest.raises(CapabilityMissing, match="no goal"):
        task.goal()
    with pytest.raises(UsageError, match="takes no goal"):
        task.begin(row, row, seed=0)


def test_an_actor_cannot_aim_by_pictures_alone():
    scripted = open_actor("scripted", "reacher")
    with pytest.raises(UsageError, match=r"observation\.state"):
        scripted.aim({"observation.images.camera": np.zeros((64, 64, 3), np.uint8)}, steps=10)


def test_nobody_walks():
    with pytest.raises(NotFound, match="nobody"):
        open_actor("scripted", "walker")


def test_the_floor_goes_by_under_a_walker():
    task = open_task("walker")
    row = np.array(task.reset(seed=0)[TRUTH])
    moved, far = row.copy(), row.copy()
    moved[2] += 0.3
    far[2] += 10.0
    here = task.begin(row, seed=0)["observation.images.camera"]
    there = task.begin(moved, seed=0)["observation.images.camera"]
    assert np.array_equal(here, task.begin(far, seed=0)["observation.images.camera"])
    assert np.array_equal(here[:40], there[:40])
    assert (here[48:] != there[48:]).mean() > 0.1
