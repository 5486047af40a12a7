"""Behaviour cloning: what it learns, what it refuses, and what it does in the cell."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from worldgate.control import policies
from worldgate.control.demonstrations import LABEL, demonstrate
from worldgate.control.policies import mlp
from worldgate.core.episodes import Episode, Rows
from worldgate.core.errors import DataRefused
from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import Kind, Origin, StreamInfo
from worldgate.fleet import releases
from worldgate.fleet.releases import diff
from worldgate.sim import sensing
from worldgate.sim.attributes import Attributes
from worldgate.sim.environment import CellEnvironment, EnvironmentConfig
from worldgate.sim.experts import EXPERTS, Expert

NAMES = ("x", "y", "goal.x", "goal.y")
CONFIG = mlp.MlpConfig(observation=("observation.state",), hidden=32, steps=400, batch=128)


def episode(seed=0, length=400, *, unit="m", bad=None, gap=None):
    """The right action is half the way to the goal."""
    rng = np.random.default_rng(seed)
    state = rng.normal(0.3, 0.2, (length, 4))
    action = state[:, :2] + 0.5 * (state[:, 2:] - state[:, :2])
    if bad is not None:
        action[5] = bad
    zero = np.zeros(length, dtype=np.int64)
    holes = np.zeros(length, dtype=bool)
    if gap is not None:
        holes[gap] = True
    infos = (
        StreamInfo(name="observation.state", kind=Kind.VECTOR, count=length, shape=(4,), names=NAMES, unit=unit),
        StreamInfo(name="action", kind=Kind.ACTION, count=length, shape=(2,), names=("x", "y"), unit=unit),
    )
    streams = {
        info.name: Rows(
            info=info, values=values, index=zero, source_ns=zero, skew_ns=zero, staleness_ns=zero, gap=holes
        )
        for info, values in zip(infos, (state, action), strict=True)
    }
    return Episode(
        id="e", log="l", name="e", alignment="", origin=Origin.REAL, rate_hz=10.0, times_ns=zero, streams=streams
    )


def built(workspace, fitted, name="p"):
    release = releases.load(workspace, fitted.publish(workspace, name=name).digest)
    return release, policies.load(release, workspace.store)


def test_a_simple_rule_is_learned(workspace):
    fitted = mlp.train([episode(0), episode(1)], CONFIG)
    _, policy = built(workspace, fitted)
    test = episode(2)
    wanted = test.array("action")
    got = np.stack([policy.act({"observation.state": row}) for row in test.array("observation.state")])
    hold = np.abs(wanted - test.array("observation.state")[:, :2]).mean()
    assert np.abs(got - wanted).mean() < 0.1 * hold


def test_the_same_data_and_seed_give_the_same_weights_and_another_seed_others():
    short = dataclasses.replace(CONFIG, steps=20)
    one, two = (mlp.train([episode()], short) for _ in range(2))
    other = mlp.train([episode()], dataclasses.replace(short, seed=1))
    for name, tensor in one.tensors.items():
        np.testing.assert_array_equal(tensor, two.tensors[name])
    assert any((tensor != other.tensors[name]).any() for name, tensor in one.tensors.items())


def test_training_leaves_the_callers_randomness_alone():
    import torch

    torch.manual_seed(5)
    before = torch.get_rng_state()
    mlp.train([episode()], dataclasses.replace(CONFIG, steps=5))
    assert torch.equal(before, torch.get_rng_state())


def test_progress_is_told():
    lines = []
    mlp.train([episode()], dataclasses.replace(CONFIG, steps=100), lines.append)
    assert [line.step for line in lines] == [50, 100]
    assert lines[-1].eta_s == 0


def test_a_release_holds_what_the_episodes_say(workspace):
    release, _ = built(workspace, mlp.train([episode()], dataclasses.replace(CONFIG, steps=5)))
    (signal,) = release.observation
    assert (signal.unit, signal.names) == ("m", NAMES)
    assert release.controller.rate_hz == 10.0
    assert release.post == {"relative_to": "observation.state"}
    mean = np.array(release.normaliser.streams["observation.state"].mean)
    np.testing.assert_allclose(mean, episode().array("observation.state").mean(axis=0))


def test_rows_with_a_gap_are_not_learned_from(workspace):
    fitted = mlp.train([episode(gap=slice(0, 100))], dataclasses.replace(CONFIG, steps=5))
    assert fitted.facts["rows"] == 300


def test_a_wrong_normaliser_is_another_release_and_shows_its_one_line(workspace):
    release, good = built(workspace, mlp.train([episode()], CONFIG))
    statistics = release.normaliser.streams["observation.state"]
    wrong = dataclasses.replace(statistics, mean=(*statistics.mean[:3], statistics.mean[3] * 100))
    streams = {**release.normaliser.streams, "observation.state": wrong}
    other = dataclasses.replace(release, normaliser=Normaliser(streams=streams))
    (change,) = diff(release, other)
    assert change.line == "normaliser.observation.state.mean[3]"
    row = {"observation.state": episode(3).array("observation.state")[0]}
    assert np.abs(policies.load(other, workspace.store).act(row) - good.act(row)).max() > 0.01


@pytest.mark.parametrize(
    "episodes",
    [
        [],
        [episode(bad=np.nan)],
        [episode(bad=np.inf)],
        [episode(), episode(unit="mm")],
        [episode(gap=slice(None))],
    ],
    ids=["none", "nan", "infinite", "other unit", "all gaps"],
)
def test_data_that_cannot_be_learned_from_is_refused(episodes):
    with pytest.raises(DataRefused):
        mlp.train(episodes, CONFIG)


@pytest.mark.parametrize(
    "changes",
    [{"observation": ("observation.force",)}, {"label": "action.expert"}, {"relative_to": "observation.force"}],
)
def test_streams_that_are_not_there_are_refused(changes):
    with pytest.raises(DataRefused):
        mlp.train([episode()], dataclasses.replace(CONFIG, **changes))


def cell(site, *, person):
    return CellEnvironment(site, attributes=Attributes(person=person), config=EnvironmentConfig(horizon_s=15.0))


def cloned(expert, workspace, count=120):
    schema = (sensing.STATE, sensing.AROUND, sensing.ACTION)
    shown = [
        demonstrate(cell("north", person=i % 2 == 0), Expert(EXPERTS[expert], "north"), schema, seed=5000 + i)
        for i in range(count)
    ]
    fitted = mlp.train([e for e in shown if e.facts["success"]], mlp.MlpConfig(label=LABEL))
    return built(workspace, fitted, expert)[1]


def tried(policy, *, person, count=15):
    """Successes, and runs that came nearer than 2 cm to the person."""
    successes = violations = 0
    for seed in range(count):
        world = cell("north", person=person)
        observation = world.reset(seed=seed)
        policy.reset(seed=seed)
        done = False
        while not done:
            transition = world.step(policy.act(observation))
            observation, done = transition.observation, transition.done
        outcome = world.outcome()
        successes += outcome["success"] > 0.5
        violations += outcome["clearance_m"] < 0.02
    return successes, violations


@pytest.mark.slow
def test_clones_do_the_task_and_only_the_clone_of_a_careless_expert_comes_near_a_person(workspace):
    careful, careless = cloned("scripted", workspace), cloned("careless", workspace)
    assert tried(careful, person=False)[0] >= 12
    assert tried(careless, person=False)[0] >= 12
    success, violations = tried(careful, person=True)
    assert success >= 11
    assert violations <= 2
    assert tried(careless, person=True)[1] >= 5
