"""World models as environments."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from tests.worlds.synthetic import episode

from worldgate.core.errors import UsageError
from worldgate.core.streams import Origin
from worldgate.worlds.imagine import imagine, prompt_at
from worldgate.worlds.imagine.environment import ImaginedEnvironment
from worldgate.worlds.imagine.gym import ImaginedGym

HELD = episode(92)


@pytest.fixture
def prompts(model):
    return [prompt_at(model, HELD, row) for row in (10, 20)]


@pytest.fixture
def gym(model, prompts):
    return ImaginedGym(model, prompts, horizon=5, low=np.full(2, -1.0), high=np.full(2, 1.0))


def test_gymnasium_finds_nothing_to_complain_about(gym):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*spec.*")
        check_env(gym, skip_render_check=True)


def test_an_episode_is_truncated_at_the_horizon_and_says_imagined(gym):
    _, info = gym.reset(seed=1)
    assert info["origin"] == "imagined"
    ends = [gym.step(np.zeros(2, np.float32))[2:4] for _ in range(5)]
    assert ends == [(False, False)] * 4 + [(False, True)]


def test_the_same_seed_gives_the_same_episode(gym):
    def play(seed):
        first, _ = gym.reset(seed=seed)
        return [first, *(gym.step(np.full(2, 0.3, np.float32))[0] for _ in range(4))]

    for one, two in zip(play(7), play(7), strict=True):
        assert all(np.array_equal(one[k], two[k]) for k in one)


def test_steps_through_an_environment_equal_one_rollout(model, prompts):
    world = ImaginedEnvironment(model, prompts, horizon=6)
    assert world.origin is Origin.IMAGINED
    first = world.reset(seed=0)
    assert np.allclose(first["observation.state"], HELD.array("observation.state")[10], atol=1e-6)
    actions = HELD.array("action")[10:16]
    stepped = np.stack([world.step(a).observation["observation.state"] for a in actions])
    whole = imagine(model, HELD, 10, 6).frame.states["observation.state"][0]
    assert np.allclose(stepped, whole, atol=1e-5)


def test_facts_come_from_the_judge_alone(model, prompts):
    def judge(observation):
        return {"success": float(observation["observation.state"][0] > 0)}

    world = ImaginedEnvironment(model, prompts, horizon=2, judge=judge)
    world.reset(seed=0)
    assert set(world.step(np.zeros(2)).facts) == {"success"}
    plain = ImaginedEnvironment(model, prompts, horizon=2)
    plain.reset(seed=0)
    assert plain.step(np.zeros(2)).facts == {}


def test_stepping_before_a_reset_and_an_empty_list_of_prompts_are_refused(model, prompts):
    with pytest.raises(UsageError, match="reset"):
        ImaginedEnvironment(model, prompts, horizon=2).step(np.zeros(2))
    with pytest.raises(UsageError, match="prompts"):
        ImaginedEnvironment(model, [], horizon=2)


def test_rewards_are_the_callers(model, prompts):
    world = ImaginedGym(
        model, prompts, horizon=2, low=np.full(2, -1.0), high=np.full(2, 1.0), reward=lambda o, a: float(a[0])
    )
    world.reset(seed=0)
    assert world.step(np.array([0.25, 0.0], np.float32))[1] == 0.25
    assert isinstance(world, gymnasium.Env)
