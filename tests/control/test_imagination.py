"""Actor and critic in imagination: formulas against slow loops, numpy against torch, and learning itself."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from tests.control.tiny import ACTION, STATE, Line

from worldgate.control.imagination.actor_critic import ActorCritic, BehaviourConfig
from worldgate.control.imagination.online import Online, OnlineConfig, acting_of, layout_of
from worldgate.control.imagination.returns import Spread, lambda_returns
from worldgate.control.policies import actor
from worldgate.core.errors import DataRefused, UsageError, WeightsRefused
from worldgate.core.normalisers import Normaliser, Statistics
from worldgate.worlds.nn.rssm import RssmConfig, State, likeliest
from worldgate.worlds.nn.rssm_net import NetConfig, RssmNet

SMALL = NetConfig(rssm=RssmConfig(deter=16, hidden=16, variables=4, classes=4, blocks=2), units=24, layers=2, bins=63)
CONFIG = OnlineConfig(
    steps=2000, random=200, ratio=32, batch=16, window=8, every=400, runs=4, net=SMALL,
    model_rate=3e-3, behaviour_rate=1e-3, behaviour=BehaviourConfig(starts=64, units=24, layers=2, horizon=8),
)  # fmt: skip


def test_lambda_returns_are_those_of_the_definition():
    rng = np.random.default_rng(0)
    reward, discount, value = rng.normal(size=(5, 3)), rng.uniform(0, 1, (5, 3)), rng.normal(size=(5, 3))
    mix, expected = 0.8, np.zeros((5, 3))

    def n_step(k, n, i):
        total, worth = 0.0, 1.0
        for j in range(k, k + n):
            total, worth = total + worth * reward[j, i], worth * discount[j, i]
        return total + worth * value[k + n - 1, i]

    for k in range(5):
        for i in range(3):
            longest = 5 - k
            parts = [(1 - mix) * mix ** (n - 1) * n_step(k, n, i) for n in range(1, longest)]
            expected[k, i] = sum(parts) + mix ** (longest - 1) * n_step(k, longest, i)
    got = lambda_returns(*(torch.as_tensor(v) for v in (reward, discount, value)), mix)
    assert np.allclose(got.numpy(), expected)


def test_small_returns_are_not_blown_up_and_large_ones_are_followed_slowly():
    spread = Spread(0.5)
    assert spread.watch(torch.linspace(0, 0.5, 101)) == 1
    spread = Spread(0.5)
    assert spread.watch(torch.linspace(0, 100, 101)).item() == pytest.approx(45)
    assert spread.watch(torch.linspace(0, 100, 101)).item() == pytest.approx(67.5)


def made(turning=False):
    torch.manual_seed(0)
    statistics = Statistics(mean=(0.0,), std=(0.5,), circular=(turning,))
    normaliser = Normaliser(streams={STATE.name: statistics, ACTION.name: Statistics(mean=(0.0,), std=(1.0,))})
    net = RssmNet(SMALL, layout_of(Line()), normaliser, "reward")
    return net, ActorCritic(CONFIG.behaviour, net.rssm.features, 1, SMALL.bins), normaliser


@pytest.mark.parametrize("turning", [False, True])
def test_numpy_acts_as_torch_does(turning):
    net, behaviour, normaliser = made(turning)
    acting = acting_of(net, behaviour)
    state, action = net.rssm.initial(1), torch.zeros(1, 1)
    for x in (0.3, -0.9, 0.1, 2.0):
        with torch.no_grad():
            embedding = net.embed(torch.tensor([[[x]]]), None)[:, 0]
            state = net.rssm.observe(state, action, embedding, likeliest)
            action = behaviour.actor(state.features).mean
        got = acting.act(normaliser.apply(STATE.name, np.array([x])), np.array([x]), explore=False)
        assert got == pytest.approx(action[0].numpy(), abs=1e-5)


def test_the_actor_turns_to_what_is_imagined_to_pay():
    net, behaviour, _ = made()
    learner = torch.optim.AdamW(behaviour.learners(), 3e-3)

    class Paying(torch.nn.Module):
        """A world whose reward is the action that was just taken."""

        reward, reads = "reward", ("reward",)

        class rssm:
            @staticmethod
            def imagine(state, action_NA, choose):
                return State(torch.cat([action_NA, state.deter_ND[:, 1:]], dim=1), state.stoch_NX)

        def read(self, name, features):
            return features[..., 0]

    start = State(*(part.clone() for part in net.rssm.initial(32)))
    before = behaviour.actor(start.features).mean.mean()
    for _ in range(60):
        loss, facts = behaviour.loss(Paying(), start)
        learner.zero_grad()
        loss.backward()
        learner.step()
        behaviour.follow()
    assert before.abs() < 0.1
    assert behaviour.actor(start.features).mean.mean() > 0.5
    assert facts["imagined_reward"] > 0.3


SHORT = dataclasses.replace(CONFIG, steps=400, every=100, ratio=4, runs=1)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs") / "line"
    run = Online(Line(), {"name": "line"}, SHORT, folder)
    run.go()
    return run, folder


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_an_actor_improves_in_the_task_itself(tmp_path):
    run = Online(Line(), {}, CONFIG, tmp_path)
    before = run.judge()["return"]
    run.go()
    told = lines(tmp_path)
    assert [line["step"] for line in told] == list(range(400, 2001, 400))
    assert told[-1]["return"] > before + 6
    assert len(told[-1]["returns"]) == CONFIG.runs


def test_a_run_that_was_cut_goes_on_as_if_it_had_not_been(learned, tmp_path):
    Online(Line(), {"name": "line"}, SHORT, tmp_path).go(until=320)
    kept = lines(tmp_path)[-1]["step"]
    again = Online(Line(), {"name": "line"}, SHORT, tmp_path)
    assert again.steps == kept < 400
    again.go()
    whole, cut = lines(learned[1]), lines(tmp_path)
    for line in (*whole, *cut):
        del line["seconds"]
    assert cut == whole


def test_a_folder_of_another_run_is_refused(learned):
    with pytest.raises(UsageError, match="another run"):
        Online(Line(), {"name": "line"}, dataclasses.replace(SHORT, seed=1), learned[1])


def test_an_actor_becomes_a_release_that_acts_as_it_did_and_refuses_other_rates(learned, workspace):
    from worldgate.control import policies
    from worldgate.fleet import releases

    run = learned[0]
    ref = actor.fitted(run, "joint_velocity").publish(workspace, name="line")
    policy = policies.load(releases.load(workspace, ref.digest), workspace.store)
    policy.reset(seed=0)
    act, seen = run._acting(seed=0, explore=False), {STATE.name: np.array([0.4])}
    for _ in range(3):
        assert policy.act(seen) == pytest.approx(act(seen), abs=1e-6)
    policies.admit(releases.load(workspace, ref.digest), rate_hz=10.0)
    with pytest.raises(DataRefused, match="another control rate"):
        policies.admit(releases.load(workspace, ref.digest), rate_hz=20.0)


def test_weights_that_are_not_an_actors_are_refused(learned, workspace):
    run = learned[0]
    made = actor.fitted(run, "joint_velocity")
    release = made.release({"policy.safetensors": "0" * 64})
    import safetensors.numpy

    def packed(tensors):
        return {"policy.safetensors": safetensors.numpy.save({k: np.ascontiguousarray(v) for k, v in tensors.items()})}

    fewer = {k: v for k, v in made.tensors.items() if k != "rssm.seen.weight"}
    with pytest.raises(WeightsRefused, match="missing"):
        actor.build(release, packed(fewer)).act({STATE.name: np.zeros(1)})
    with pytest.raises(WeightsRefused, match="how its state is read"):
        actor.build(dataclasses.replace(release, pre={}), packed(made.tensors))
    wider = dataclasses.replace(STATE, shape=(2,))
    with pytest.raises(WeightsRefused, match="other widths"):
        actor.build(dataclasses.replace(release, observation=(wider,)), packed(made.tensors))
