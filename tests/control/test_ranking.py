"""Ranking on both sides: starts are the same, success is judged by one rule, and what does not fit is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from worldgate.control import grounds, ranking
from worldgate.core.errors import CapabilityMissing, DataRefused, NotFound, UsageError
from worldgate.core.streams import Origin
from worldgate.core.worlds import Capability, Frame, ModelSpec, Signal, Transition
from worldgate.sim import sensing
from worldgate.sim.environment import CellEnvironment

SPEC = ModelSpec(
    family="fake", digest="d" * 64, normaliser="", rate_hz=10.0, context=3,
    states=(Signal(name="x", shape=(1,)),), action=Signal(name="action", shape=(1,)),
)  # fmt: skip


class Line:
    """A point on a line that moves by the action; done is what lies at 0."""

    origin, rate_hz = Origin.SIMULATED, 10.0

    def __init__(self):
        self.seen = []

    def reset(self, *, seed):
        self.x = 1.0 + seed
        return {"x": np.array([self.x])}

    def step(self, action):
        self.x += float(action[0])
        self.seen.append(float(action[0]))
        return Transition(observation={"x": np.array([self.x])}, done=False, facts=judge({"x": np.array([self.x])}))


def judge(observation):
    x = abs(float(observation["x"][0]))
    return {"success": float(x < 0.1), "near": -x}


class Model:
    """The same line, which answers an action ``gain`` times."""

    capabilities = frozenset({Capability.ACTIONS, Capability.STATE})

    def __init__(self, gain=1.0):
        self.spec, self.gain, self.prompts = SPEC, gain, []

    def open(self, prompt, *, samples=1, seed):
        self.prompts.append(prompt)
        self.x = float(prompt.states["x"][-1, 0])
        return self

    def step(self, actions_BKA):
        self.x += self.gain * float(actions_BKA[0, 0, 0])
        return Frame(states={"x": np.array([[[self.x]]])})


class Towards:
    """Goes to 0 by at most ``speed`` a step."""

    def __init__(self, speed):
        self.speed = speed

    @property
    def digest(self):
        return f"{self.speed:g}".ljust(64, "0")

    def reset(self, *, seed):
        self.seed = seed

    def act(self, observation):
        return np.clip(-observation["x"], -self.speed, self.speed)


def ground(**changes):
    told = {"task": "line", "make": Line, "starter": Towards(0.05), "judge": judge, "steps": 20, "hold": 2}
    return ranking.Ground(**(told | changes))


def test_both_sides_begin_with_the_same_rows_and_the_order_is_kept():
    begun = ranking.starts(ground(), SPEC, [0, 1])
    assert [s.prompt.states["x"][:, 0].tolist() for s in begun] == [
        pytest.approx([1.0, 0.95, 0.9]), pytest.approx([2.0, 1.95, 1.9]),
    ]  # fmt: skip
    assert begun[0].prompt.actions.shape == (3, 1)
    policies = {"fast": Towards(0.5), "slow": Towards(0.06), "still": Towards(0.0)}
    model = Model()
    runs = ranking.compare(ground(), model, policies, begun)
    assert [(r.name, r.true, r.imagined) for r in runs] == [
        ("fast", (1.0, 1.0), (1.0, 1.0)), ("slow", (1.0, 0.0), (1.0, 0.0)), ("still", (0.0, 0.0), (0.0, 0.0)),
    ]  # fmt: skip
    assert {prompt.digest() for prompt in model.prompts} == {start.prompt.digest() for start in begun}
    deaf = ranking.compare(ground(), Model(gain=0.0), policies, begun)
    assert {r.imagined for r in deaf} == {(0.0, 0.0)}


def test_a_run_ends_when_success_holds_and_counts_as_it_stands_at_the_end():
    world, begun = Line(), ranking.starts(ground(), SPEC, [0])
    assert ranking.run(ground(), world, Towards(0.5), begun[0], imagined=False) == 1.0
    assert len(world.seen) == 2 + 2 + 1, "the prompt's actions, the way, and one more step in which it holds"

    class Through(Towards):
        def act(self, observation):
            return np.array([-0.45])

    assert ranking.run(ground(), Line(), Through(1.0), begun[0], imagined=False) == 0.0, "it was there, and left"
    nearest = ground(outcome="near")
    assert ranking.run(nearest, Line(), Through(1.0), begun[0], imagined=False) == pytest.approx(0.0, abs=1e-9)


def test_true_outcomes_that_are_known_are_not_run_again():
    begun = ranking.starts(ground(), SPEC, [0])
    runs = ranking.compare(ground(), Model(), {"a": Towards(0.5)}, begun, known={"a": [0.25]})
    assert (runs[0].true, runs[0].imagined) == ((0.25,), (1.0,))


def test_actions_are_held_to_the_ground_s_bounds_on_both_sides():
    bounded = ground(low=(-0.1,), high=(0.1,))
    world = Line()
    begun = ranking.starts(bounded, SPEC, [0])
    ranking.run(bounded, world, Towards(0.5), begun[0], imagined=False)
    assert min(world.seen) == -0.1


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(UsageError, match="takes no actions"):
        ranking.starts(ground(), dataclasses.replace(SPEC, action=None), [0])
    with pytest.raises(UsageError, match="each once"):
        ranking.starts(ground(), SPEC, [0, 0])
    with pytest.raises(UsageError, match="policies and starts"):
        ranking.compare(ground(), Model(), {}, ranking.starts(ground(), SPEC, [0]))
    other = dataclasses.replace(SPEC, states=(Signal(name="y", shape=(1,)),))
    with pytest.raises(DataRefused, match="does not observe what the model needs"):
        ranking.starts(ground(), other, [0])
    wide = dataclasses.replace(SPEC, states=(Signal(name="x", shape=(2,)),))
    with pytest.raises(DataRefused, match="another size"):
        ranking.starts(ground(), wide, [0])
    with pytest.raises(DataRefused, match="nothing tells the fact"):
        ranking.compare(ground(outcome="lap"), Model(), {"a": Towards(1)}, ranking.starts(ground(), SPEC, [0]))


def test_the_cell_s_judge_says_what_the_cell_says():
    judged = grounds.cell_judge("south")
    said = []
    for seed in range(3):
        world = CellEnvironment("south")
        observation, done = world.reset(seed=seed), False
        expert = grounds.Expert(grounds.EXPERTS["scripted"], "south")
        while not done:
            moved = world.step(expert.act(observation))
            observation, done = moved.observation, moved.done
            exact = {sensing.AROUND.name: world.cell.environment_state()}
            said.append((judged(exact)["success"], moved.facts["success"]))
    assert all(a == b for a, b in said)
    assert {a for a, _ in said} == {0.0, 1.0}


@pytest.mark.parametrize("name", ["push", "pusht"])
def test_a_task_s_judge_says_of_an_observation_what_the_task_measured(name):
    found = grounds.of_task(name, SPEC)
    world = found.make()
    observation = world.reset(seed=3)
    actor = grounds.open_actor("scripted", name)
    actor.reset(seed=3)
    for _ in range(25):
        moved = world.step(found.held(actor.act(observation)))
        observation = moved.observation
        judged = found.judge(observation)
        assert judged == {key: pytest.approx(moved.facts[key], abs=1e-9) for key in judged}
    assert "success" in judged
    assert found.low == world.spec.low


def test_a_task_is_named_and_judged_or_refused():
    assert grounds.ground("cell", SPEC, site="south", seconds=3.0).steps == 30
    with pytest.raises(NotFound):
        grounds.ground("no such task", SPEC)


def test_a_task_without_a_judge_is_refused(monkeypatch):
    monkeypatch.setattr(grounds.seams, "load", lambda seam, name: object())
    with pytest.raises(CapabilityMissing, match="reads this task's facts"):
        grounds.ground("some", SPEC)
