"""What is picked up is held by contact, and the scripted actors of pick_place, insert and instructed do their tasks."""

from __future__ import annotations

import numpy as np
import pytest

from worldgate.core.errors import ConfigError, UsageError
from worldgate.core.tasks import TRUTH
from worldgate.sim.tasks import instructed, open_actor, open_task
from worldgate.sim.watch import collect

STATE, AROUND, FORCE = "observation.state", "observation.environment_state", "observation.force"
HOLD = 12


def run(task, policy, seed):
    """Every observation and transition of a run."""
    policy.reset(seed=seed)
    seen = [task.reset(seed=seed)]
    while True:
        transition = task.step(policy.act(seen[-1]))
        seen.append(transition.observation)
        if transition.done:
            return seen, transition


@pytest.mark.parametrize(
    ("name", "options"),
    [("pick_place", {}), ("insert", {}), ("insert", {"clearance_m": 0.001}), ("instructed", {"bins": 3})],
)
def test_the_scripted_actor_succeeds_and_an_aimless_one_does_not(name, options):
    options = {**options, "size": 0}
    task, policy = open_task(name, options), open_actor("scripted", name, options)
    assert all(run(task, policy, seed)[1].facts["success"] == 1.0 for seed in range(4))
    assert run(task, open_actor("random", name, options), 0)[1].facts["success"] == 0.0


@pytest.mark.parametrize("name", ["pick_place", "insert", "instructed"])
def test_the_noisy_actor_succeeds_more_slowly(name):
    task = open_task(name, {"size": 0})
    lengths = {}
    for who in ("scripted", "noisy"):
        runs = [run(task, open_actor(who, name, {"size": 0}), seed) for seed in range(3)]
        assert sum(last.facts["success"] for _, last in runs) >= 2
        lengths[who] = sum(len(seen) for seen, _ in runs)
    assert lengths["noisy"] > lengths["scripted"]


def test_a_block_is_lifted_by_friction_alone_and_falls_when_it_is_let_go():
    task, policy = open_task("pick_place", {"size": 0}), open_actor("scripted", "pick_place")
    seen, _ = run(task, policy, 2)
    heights = np.array([row[AROUND][2] for row in seen])
    grips = np.array([row[FORCE][3] for row in seen])
    top = int(np.argmax(heights))
    assert heights[top] > 0.08
    assert grips[top] > 1.0
    assert (grips[heights < 0.024][0], grips[-1]) == (0.0, 0.0)
    held = task.begin(seen[top][TRUTH], seed=0)[STATE][10:13]
    for _ in range(HOLD):
        row = task.step(np.array([*held, 0.08])).observation
    assert row[AROUND][2] < 0.025


def test_a_run_at_a_held_block_goes_on_where_it_stood():
    task, policy = open_task("pick_place", {"size": 0}), open_actor("scripted", "pick_place")
    seen, _ = run(task, policy, 2)
    top = int(np.argmax([row[AROUND][2] for row in seen]))
    again = task.begin(seen[top][TRUTH], seed=0)
    hold = np.array([*again[STATE][10:13], 0.0])
    for _ in range(HOLD):
        again = task.step(hold).observation
    assert again[AROUND][2] > 0.07


def test_a_goal_with_the_block_in_the_air_is_reached_by_holding_it_there():
    task, policy = open_task("pick_place", {"size": 0}), open_actor("scripted", "pick_place")
    seen, _ = run(task, policy, 1)
    for row in (int(np.argmax([row[AROUND][2] for row in seen])), len(seen) - 1):
        now = task.begin(seen[0][TRUTH], seen[row][TRUTH], seed=0)
        policy.reset(seed=0)
        policy.aim(task.goal(), steps=100)
        for _ in range(80):
            transition = task.step(policy.act(now))
            now = transition.observation
            if transition.done:
                break
        assert transition.facts["success"] == 1.0
        assert transition.facts["distance"] < 0.03


def test_one_who_plays_moves_the_block_to_place_after_place():
    task, policy = open_task("pick_place", {"size": 0}), open_actor("play", "pick_place")
    policy.reset(seed=4)
    seen, resting = task.reset(seed=4), []
    for _ in range(118):
        seen = task.step(policy.act(seen)).observation
        if seen[AROUND][2] < 0.025 and seen[FORCE][3] == 0.0:
            resting.append(seen[AROUND][:2])
    apart = np.linalg.norm(np.array(resting)[:, None] - np.array(resting)[None], axis=-1)
    assert len({tuple(row > 0.04) for row in apart}) >= 3


def test_the_tool_goes_where_it_is_sent_with_the_fingers_along_y():
    task = open_task("pick_place", {"size": 0})
    task.reset(seed=0)
    for target in ((0.2, 0.2, 0.2, 0.06), (-0.1, -0.2, 0.1, 0.02)):
        for _ in range(25):
            seen = task.step(np.array(target)).observation
        np.testing.assert_allclose(seen[STATE][10:], target, atol=3e-3)
        left, right = (task.data.geom(side).xpos for side in ("left", "right"))
        np.testing.assert_allclose((left - right)[[0, 2]], 0.0, atol=2e-3)


def test_a_peg_cannot_pass_a_hole_that_is_elsewhere():
    task, policy = open_task("insert", {"size": 0}), open_actor("scripted", "insert")
    policy.reset(seed=0)
    seen = dict(task.reset(seed=0))
    for _ in range(60):
        around = seen[AROUND].copy()
        around[4] += 0.012
        seen = dict(task.step(policy.act({**seen, AROUND: around})).observation)
    assert task.step(policy.act(seen)).facts["success"] == 0.0


def test_a_run_asks_for_what_is_not_held_out_and_says_so_in_words():
    texts = set()
    task = open_task("instructed", {"size": 0, "without": ["red:left", "blue:right"]})
    for seed in range(40):
        row = task.reset(seed=seed)[TRUTH]
        texts.add(task.text)
    assert texts == {instructed.sentence(c) for c in ("red:right", "green:left", "green:right", "blue:left")}
    said = task.text
    task.reset(seed=123)
    task.begin(row, seed=0)
    assert task.text == said
    other = open_task("instructed", {"size": 0, "only": ["red:left"]})
    other.reset(seed=0)
    assert other.text == "put the red block into the left bin"
    assert other.spec.text


def test_the_wrong_block_in_the_bin_is_no_success_nor_is_the_right_one_beside_another():
    options = {"size": 0, "only": ["red:left"]}
    task, policy = open_task("instructed", options), open_actor("scripted", "instructed", options)
    policy.reset(seed=0)
    seen = task.reset(seed=0)
    policy.tell("put the blue block into the left bin")
    for _ in range(60):
        transition = task.step(policy.act(seen))
        seen = transition.observation
    assert np.abs(seen[AROUND][8:10] - instructed.BINS["left"]).max() < instructed.BIN_M
    assert transition.facts["success"] == 0.0
    policy.reset(seed=0)
    policy.tell("put the red block into the left bin")
    for _ in range(50):
        transition = task.step(policy.act(seen))
        seen = transition.observation
    assert np.abs(seen[AROUND][:2] - instructed.BINS["left"]).max() < instructed.BIN_M
    assert transition.facts["success"] == 0.0


def test_nothing_that_is_seen_tells_what_is_wanted():
    task = open_task("instructed", {"size": 16})
    red = np.array(task.reset(seed=0)[TRUTH])
    red[-2:], blue = (0.0, 0.0), red.copy()
    blue[-2:] = 2.0, 1.0
    seen, texts = [], []
    for row in (red, blue):
        first = task.begin(row, seed=0)
        texts.append(task.text)
        seen.append(
            {**first, **{f"then {k}": v for k, v in task.step(np.array([0, 0, 0.1, 0.05])).observation.items()}}
        )
    assert texts[0] != texts[1]
    assert all(np.array_equal(seen[0][name], seen[1][name]) == (TRUTH not in name) for name in seen[0])


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(ConfigError, match="no such combination"):
        open_task("instructed", {"only": ["pink:left"]})
    with pytest.raises(ConfigError, match="no such combination"):
        open_task("instructed", {"only": ["red:middle"]})
    with pytest.raises(ConfigError, match="nothing is left"):
        open_task("instructed", {"only": ["red:left"], "without": ["red:left"]})
    with pytest.raises(ConfigError, match="number of bins"):
        open_task("instructed", {"bins": 4})
    with pytest.raises(ConfigError, match="clearance"):
        open_task("insert", {"clearance_m": 0.0})
    with pytest.raises(UsageError, match="no such camera"):
        open_task("pick_place", {"cameras": ["wrist"]})
    with pytest.raises(UsageError, match="cannot follow"):
        open_actor("scripted", "instructed").tell("dance")
    with pytest.raises(UsageError, match="looks at"):
        open_actor("scripted", "pick_place").aim({STATE: np.zeros(14)}, steps=5)
    three = open_task("instructed", {"size": 0, "bins": 3, "only": ["red:middle"]}).reset(seed=0)[TRUTH]
    with pytest.raises(UsageError, match="not here"):
        open_task("instructed", {"size": 0}).begin(three, seed=0)


def test_who_takes_words_is_told_and_the_episode_keeps_them():
    options = {"size": 0, "only": ["green:right"]}

    class Heard(type(open_actor("scripted", "instructed", options))):
        def tell(self, text):
            super().tell(text)
            self.heard = text

    actor = Heard("scripted")
    episode = collect(open_task("instructed", options), actor, seed=2)
    assert episode.facts["task"] == actor.heard == "put the green block into the right bin"
    assert episode.facts["success"] is True


def test_a_peg_s_goal_is_of_the_same_hole():
    task, policy = open_task("insert", {"size": 16}), open_actor("scripted", "insert")
    seen, _ = run(task, policy, 0)
    now = task.begin(seen[0][TRUTH], seen[-1][TRUTH], seed=0)
    assert np.array_equal(task.goal()["observation.images.front"], seen[-1]["observation.images.front"])
    assert np.array_equal(now[TRUTH], seen[0][TRUTH])
    assert task.measure()["distance"] > 0.05
    task.begin(seen[-1][TRUTH], seen[-1][TRUTH], seed=0)
    assert task.measure()["success"] == 1.0
    with pytest.raises(UsageError, match="stands elsewhere"):
        task.begin(seen[0][TRUTH], task.reset(seed=1)[TRUTH], seed=0)
