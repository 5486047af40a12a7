"""The recurrent state-space model: its parts against plain formulas, and that it learns."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from tests.worlds.synthetic import episode, episodes, make_rows
from torch.distributions import Categorical, kl_divergence

from worldgate.core.errors import CapabilityMissing, DataRefused
from worldgate.core.streams import Kind
from worldgate.core.worlds import Capability
from worldgate.worlds import checkpoint
from worldgate.worlds.imagine import prompt_at, recorded_actions
from worldgate.worlds.models import rssm as family
from worldgate.worlds.nn.rssm import Rssm, RssmConfig, State, by_chance, likeliest
from worldgate.worlds.nn.rssm_net import Sequences
from worldgate.worlds.nn.twohot import TwoHot, symexp, symlog
from worldgate.worlds.recurrent import Sequencer, sequences
from worldgate.worlds.tracks import Inputs, make_tracks, resolve_layout
from worldgate.worlds.train.loop import train

SMALL = RssmConfig(deter=16, hidden=8, variables=3, classes=4, blocks=2)
READS = Inputs(read=("reward", "success"))


def rewarded(seed, **options):
    """The dot's episode; a row's reward is how near to the middle its step leads, success that this is 0.3 m."""
    made = episode(seed, **options)
    far = np.linalg.norm(made.array("observation.state")[:, :2], axis=1, keepdims=True)
    far = np.concatenate([far[1:], far[-1:]])
    more = {"reward": 10 * np.exp(-far), "success": (far < 0.3).astype(float)}
    streams = {name: make_rows(name, Kind.VECTOR, values, "1") for name, values in more.items()}
    return dataclasses.replace(made, streams={**made.streams, **streams})


def test_symexp_undoes_symlog():
    numbers = torch.tensor([-1e4, -3.0, 0.0, 1e-3, 7e6])
    assert torch.allclose(symexp(symlog(numbers)), numbers, rtol=1e-4)


def test_a_number_of_any_size_comes_back_from_its_two_bins():
    two_hot = TwoHot()
    numbers = torch.tensor([-3e5, -7.0, -0.01, 0.0, 0.3, 1.0, 41.7, 9e6])
    target = two_hot.target(numbers)
    assert ((target > 0).sum(dim=-1) <= 2).all()
    assert torch.allclose(target.sum(dim=-1), torch.ones(len(numbers)))
    assert torch.allclose(two_hot.mean(torch.log(target + 1e-30)), numbers, rtol=1e-4, atol=1e-5)


def test_a_head_that_knows_nothing_says_exactly_zero():
    assert TwoHot().mean(torch.zeros(3, 255)).tolist() == [0, 0, 0]


def test_the_divergence_is_that_of_mixed_categorical_distributions():
    torch.manual_seed(0)
    net, a, b = Rssm(SMALL, 2, 5), torch.randn(6, 12), torch.randn(6, 12)
    mixed = [0.99 * torch.softmax(x.view(6, 3, 4), -1) + 0.01 / 4 for x in (a, b)]
    expected = kl_divergence(Categorical(probs=mixed[0]), Categorical(probs=mixed[1])).sum(dim=-1)
    assert torch.allclose(net.divergence(a, b), expected, atol=1e-5)


def test_gradients_pass_a_draw_straight_through():
    torch.manual_seed(0)
    net, logits = Rssm(SMALL, 2, 5), torch.randn(4, 12, requires_grad=True)
    weights = torch.randn(12)
    drawn = net.draw(logits, by_chance)
    assert set(drawn.detach().round(decimals=4).unique().tolist()) == {0.0, 1.0}
    (drawn * weights).sum().backward()
    straight = logits.grad.clone()
    logits.grad = None
    (net.chances(logits).flatten(-2) * weights).sum().backward()
    assert torch.allclose(straight, logits.grad, atol=1e-6)


def test_filtering_a_sequence_is_observing_its_rows_one_by_one_and_forgets_at_a_first_row():
    torch.manual_seed(0)
    net, embedding, actions = Rssm(SMALL, 2, 5), torch.randn(3, 6, 5), torch.randn(3, 6, 2)
    first = torch.zeros(3, 6)
    first[:, 0] = first[1, 4] = 1
    along, _, _ = net.filtered(embedding, actions, first, likeliest)
    state = net.initial(3)
    for t in range(6):
        keep = 1 - first[:, t, None]
        state = State(state.deter_ND * keep, state.stoch_NX * keep)
        state = net.observe(state, actions[:, t] * keep, embedding[:, t], likeliest)
        assert torch.allclose(along.deter_ND[:, t], state.deter_ND, atol=1e-6)
    fresh = net.observe(net.initial(1), torch.zeros(1, 2), embedding[1:2, 4], likeliest)
    assert torch.allclose(along.deter_ND[1, 4], fresh.deter_ND[0], atol=1e-6)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    torch.set_num_threads(1)
    config = dataclasses.replace(family.debug(), inputs=READS)
    config = dataclasses.replace(config, phase=dataclasses.replace(config.phase, steps=240, batch=12))
    folder = tmp_path_factory.mktemp("runs") / "rssm"
    model = train("rssm", [rewarded(i) for i in range(24)], [rewarded(i) for i in range(90, 96)], config, folder)
    return checkpoint.load(model), folder


def test_it_beats_copying_the_last_row_and_its_actions_matter(learned):
    facts = json.loads((learned[1] / "metrics.jsonl").read_text().splitlines()[-1])
    assert facts["skill_over_hold_last_0.5s"] > 0.3
    assert facts["action_sensitivity_0.5s"] > 1.3
    assert facts["reward_explained"] > 0.3


def test_a_step_tells_states_reward_and_the_chance_of_success(learned):
    world, held = learned[0], rewarded(97)
    assert Capability.REWARD in world.capabilities
    assert Capability.FRAMES not in world.capabilities
    frame = world.open(prompt_at(world, held, 12), seed=0).step(recorded_actions(world, held, 12, 8)[None])
    assert set(frame.states) == {"observation.state", "reward", "success"}
    near = frame.states["reward"][0, :, 0] - held.array("reward")[12:20, 0]
    assert np.abs(near).mean() < np.abs(held.array("reward") - 5).mean()
    assert ((frame.states["success"] >= 0) & (frame.states["success"] <= 1)).all()


def test_rows_that_only_fill_a_sequence_up_teach_nothing():
    short = [rewarded(1, length=12), rewarded(2, length=40)]
    layout = resolve_layout(short, READS)
    held = Sequencer(make_tracks(short, layout), layout, 20, 5)
    drawn = held.take(np.array([0, 15]), np.array([12, 52]))
    assert drawn["there"].sum(dim=1).tolist() == [12, 20]
    torch.manual_seed(0)
    from worldgate.worlds.tracks import fit_normaliser

    net = family.create(
        dataclasses.replace(family.debug(), inputs=READS), layout, fit_normaliser(make_tracks(short, layout), layout)
    ).net
    with torch.no_grad():
        before = net.loss(sequences(drawn), likeliest)[0]
        other = drawn["states"].clone()
        other[0, 12:] += 7
        after = net.loss(sequences(drawn | {"states": other}), likeliest)[0]
        other[0, 11] += 7
        changed = net.loss(sequences(drawn | {"states": other}), likeliest)[0]
    assert before == after
    assert changed != before


def test_a_reward_that_is_not_known_is_no_reward_of_zero():
    layout = resolve_layout([rewarded(1)], READS)
    tracks = make_tracks([rewarded(1)], layout)
    from worldgate.worlds.tracks import fit_normaliser

    net = family.create(dataclasses.replace(family.debug(), inputs=READS), layout, fit_normaliser(tracks, layout)).net
    drawn = Sequencer(tracks, layout, 20, 5).take(np.array([0]))
    unknown = drawn | {"reads": torch.full_like(drawn["reads"], torch.nan)}
    _, parts, _ = net.loss(sequences(unknown), likeliest)
    assert parts["reward"] == 0
    assert parts["success"] == 0


def test_what_it_cannot_read_out_or_learn_from_is_refused():
    layout = resolve_layout(episodes(2), Inputs())
    with pytest.raises(CapabilityMissing, match="reads nothing else out"):
        made = [
            dataclasses.replace(e, streams={**e.streams, "pose": e.streams["observation.state"]}) for e in episodes(2)
        ]
        odd = resolve_layout(made, Inputs(read=("pose",)))
        family.create(family.debug(), odd, None)
    with pytest.raises(DataRefused, match="too short"):
        Sequencer(make_tracks(episodes(2), layout), layout, 100, 49)


def test_a_frame_must_be_of_a_size_that_halves_to_four():
    from worldgate.worlds.nn.rssm_net import Looking

    with pytest.raises(AssertionError, match="pixels a side"):
        Looking(1, 48, 4)


def test_sequences_hold_the_action_that_led_to_each_row():
    layout = resolve_layout(episodes(1), Inputs())
    tracks = make_tracks(episodes(1), layout)
    made: Sequences = sequences(Sequencer(tracks, layout, 10, 5).take(np.array([7])))
    assert np.array_equal(made.actions_NTA[0, 1:].numpy(), tracks[0].actions_TA[7:16])


def test_a_row_is_told_the_reward_of_the_step_that_led_to_it_and_the_first_of_a_run_none():
    gap = np.zeros(48, bool)
    gap[20] = True
    held = [rewarded(1, gap=gap)]
    layout = resolve_layout(held, READS)
    reward = held[0].array("reward")[:, 0].astype(np.float32)
    drawn = Sequencer(make_tracks(held, layout), layout, 10, 5).take(np.array([4, 21]))["reads"][..., 0].numpy()
    assert np.array_equal(drawn[0], reward[3:13])
    assert np.isnan(drawn[1, 0])
    assert np.array_equal(drawn[1, 1:], reward[21:30])
