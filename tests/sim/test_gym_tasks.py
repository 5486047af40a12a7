"""Any Gymnasium environment by its id as a task."""

from __future__ import annotations

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from gymnasium import spaces  # noqa: E402

from worldgate.core.errors import CapabilityMissing, ConfigError, NotFound, UsageError  # noqa: E402
from worldgate.core.tasks import TRUTH  # noqa: E402
from worldgate.sim.tasks import actors_of, config_of, open_actor, open_task  # noqa: E402


class Dial(gymnasium.Env):
    """A hand that is turned by choices; three steps right is success."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012

    def __init__(self, render_mode=None, space=None):
        self.render_mode, self.received = render_mode, []
        self.action_space = space or spaces.Discrete(3, start=-1)
        self.observation_space = spaces.Box(-9, 9, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = float(self.np_random.integers(2))
        return np.array([self.at], np.float32), {}

    def step(self, action):
        self.received.append(action)
        self.at += float(np.ravel(action)[0])
        return np.array([self.at], np.float32), self.at / 10, self.at >= 3, False, {"success": self.at >= 3}

    def render(self):
        return np.full((40, 60, 3), int(20 * abs(self.at)), np.uint8)


@pytest.fixture(autouse=True)
def dial():
    gymnasium.register("worldgate-test/Dial-v0", entry_point=Dial, max_episode_steps=7)
    yield "gym:worldgate-test/Dial-v0"
    del gymnasium.registry["worldgate-test/Dial-v0"]


def test_an_id_is_a_task_with_numbers_pictures_and_choices(dial):
    task = open_task(dial, {"size": 16})
    spec = task.spec
    assert (spec.name, spec.rate_hz, spec.steps, spec.takes_goals) == (dial, 5.0, 7, False)
    assert (spec.low, spec.high, spec.truth.shape) == ((-1.0,), (1.0,), (0,))
    assert [(s.name, s.shape) for s in spec.states] == [("observation.state", (1,))]
    assert [(c.name, c.shape) for c in spec.cameras] == [("observation.images.camera", (16, 16, 3))]
    seen = task.reset(seed=0)
    assert set(seen) == {"observation.state", "observation.images.camera", TRUTH}
    moved = task.step(np.array([0.9]))
    assert moved.observation["observation.state"] == seen["observation.state"] + 1
    assert moved.observation["observation.images.camera"].mean() == 20 * moved.observation["observation.state"][0]
    assert moved.facts == task.measure() == {
        "success": 0.0, "reward": pytest.approx(moved.observation["observation.state"][0] / 10), "terminated": 0.0,
    }  # fmt: skip


def test_success_is_what_the_environment_tells_and_an_end_in_time_is_no_termination(dial):
    task = open_task(dial, {"size": 0})
    assert not task.spec.cameras
    task.reset(seed=0)
    while not (last := task.step(np.ones(1))).done:
        pass
    assert (last.facts["success"], last.facts["terminated"]) == (1.0, 1.0)
    task.reset(seed=0)
    ends = [task.step(np.zeros(1)) for _ in range(7)]
    assert [t.done for t in ends] == [False] * 6 + [True]
    assert (ends[-1].facts["success"], ends[-1].facts["terminated"]) == (0.0, 0.0)


def test_a_seed_repeats_a_run_of_an_aimless_actor():
    runs = []
    for seed in (4, 4, 5):
        task, actor = open_task("gym:CartPole-v1", {"size": 0}), open_actor("random", "gym:CartPole-v1", {"size": 0})
        seen = task.reset(seed=seed)
        actor.reset(seed=seed)
        rows = [seen["observation.state"]]
        for _ in range(8):
            rows.append(task.step(actor.act(seen)).observation["observation.state"])
        runs.append(np.array(rows))
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


@pytest.mark.parametrize(
    ("space", "low", "high"),
    [
        (spaces.Box(-2.0, 3.0, (2,), np.float32), (-2.0, -2.0), (3.0, 3.0)),
        (spaces.Discrete(4), (0.0,), (3.0,)),
        (spaces.MultiDiscrete([2, 5]), (0.0, 0.0), (1.0, 4.0)),
        (spaces.MultiBinary(3), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ],
)
def test_every_kind_of_action_has_bounds_that_it_takes(space, low, high):
    gymnasium.register("worldgate-test/Other-v0", entry_point=Dial, kwargs={"space": space})
    try:
        task = open_task("gym:worldgate-test/Other-v0", {"size": 0})
        assert (task.spec.low, task.spec.high, task.spec.steps) == (low, high, 1000)
        for action in (low, high):
            task.reset(seed=0)
            task.step(np.array(action))
        with pytest.raises(UsageError):
            task.step(np.array(high) + 1.0)
    finally:
        del gymnasium.registry["worldgate-test/Other-v0"]


def test_what_it_cannot_do_is_said(dial):
    task = open_task(dial, {"size": 0})
    row = task.reset(seed=0)[TRUTH]
    with pytest.raises(CapabilityMissing, match="cannot be put") as refused:
        task.begin(row, seed=0)
    assert "worldgate list tasks" in str(refused.value)
    with pytest.raises(CapabilityMissing, match="no goal"):
        task.goal()
    with pytest.raises(NotFound, match="nobody"):
        open_actor("scripted", dial)
    with pytest.raises(NotFound, match="no such Gymnasium"):
        open_task("gym:Nothing-v0")
    with pytest.raises(ConfigError, match="too small"):
        open_task(dial, {"size": 3})
    with pytest.raises(NotFound):
        open_task("gym:")
    assert actors_of(dial) == ("random",)
    assert config_of(dial).id == "worldgate-test/Dial-v0"
    gymnasium.register("worldgate-test/Wild-v0", entry_point=Dial, kwargs={"space": spaces.Box(-np.inf, np.inf, (1,))})
    try:
        with pytest.raises(UsageError, match="without bounds"):
            open_task("gym:worldgate-test/Wild-v0", {"size": 0})
    finally:
        del gymnasium.registry["worldgate-test/Wild-v0"]
