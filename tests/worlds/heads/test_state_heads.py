"""State heads: angles and rotations, calibration, memory of what is hidden, and what trained worlds tell."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.worlds.synthetic import CAMERA, debug_config, episode, episodes, make_rows

from worldgate.core.errors import CapabilityMissing, NotFound
from worldgate.core.normalisers import Normaliser, Statistics
from worldgate.core.streams import Kind
from worldgate.core.worlds import CONTACT, Capability, Prompt, Signal
from worldgate.worlds import checkpoint
from worldgate.worlds.heads.calibration import Calibration
from worldgate.worlds.heads.net import Heads, HeadsConfig, Look
from worldgate.worlds.heads.targets import Target, bounded
from worldgate.worlds.imagine import prompt_at, recorded_actions
from worldgate.worlds.models._reading import parted
from worldgate.worlds.tracks import Layout, make_tracks, resolve_layout
from worldgate.worlds.train.config import PhaseConfig
from worldgate.worlds.train.loop import train

STATE, FORCE, POSE = "observation.state", "observation.force", "observation.pose"


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def statistics(**changes):
    made = {
        "mean": (1.0, 0.0, 5.0),
        "std": (0.5, 1.2, 1.0),
        "circular": (False, True, False),
        "constant": (False, False, True),
    }
    return Statistics(**{**made, **changes})


def target():
    return Target(Signal(name="s", unit="m,rad,m", shape=(3,)), statistics())


def pose():
    flat = {"mean": (0.0,) * 7, "std": (2.0,) * 7, "circular": (False,) * 7, "constant": (False,) * 7}
    return Target(Signal(name=POSE, shape=(7,), kind=Kind.POSE), Statistics(**flat))


# ------------------------------------------------------------------ one stream


def test_what_is_said_in_half_precision_is_a_value_in_full():
    said = torch.tensor([[0.2, 0.3, 0.1, 0.4]])
    halved = target().value(said.bfloat16())
    assert halved.dtype == torch.float32
    torch.testing.assert_close(halved, target().value(said.bfloat16().float()))


def test_what_never_moved_stays_where_it_was():
    held = target()
    said = torch.randn(10, held.entries)
    assert bool((held.value(said)[:, 2] == 5.0).all())
    assert bool((held.deviation(torch.randn(10, 3))[:, 2] < 1e-5).all())


@given(st.floats(-math.pi, math.pi), st.floats(-math.pi, math.pi))
def test_an_angle_is_at_most_half_a_turn_off(said, true):
    held = target()
    given_ = torch.tensor([0.0, math.sin(said), 0.0, math.cos(said) - 1])
    value = held.value(given_)
    apart = float(held.apart(value, torch.tensor([1.0, true, 5.0]))[1])
    assert abs(apart) <= math.pi + 1e-5
    assert math.isclose(math.cos(apart), math.cos(true - said), abs_tol=1e-4)


def test_a_rotation_is_of_length_one_and_the_same_with_either_sign():
    held = pose()
    value = held.value(torch.randn(50, 7))
    assert torch.allclose(value[:, 3:].norm(dim=1), torch.ones(50), atol=1e-5)
    turned = torch.cat([value[:, :3], -value[:, 3:]], dim=1)
    assert torch.allclose(held.apart(value, turned), torch.zeros(50, 7), atol=1e-5)
    assert torch.equal(held.value(torch.zeros(7))[3:], torch.tensor([0.0, 0.0, 0.0, 1.0]))


def test_the_loss_learns_nothing_from_what_is_not_known_and_begins_with_finite_gradients():
    held = target()
    mean, log = torch.zeros(4, 5, held.entries, requires_grad=True), torch.zeros(4, 5, 3, requires_grad=True)
    truth = torch.full((4, 5, 3), torch.nan)
    truth[0, 0] = torch.tensor([2.0, 1.0, 9.0])
    loss = held.loss(mean, log, truth)
    loss.backward()
    assert bool(torch.isfinite(mean.grad).all())
    assert bool((mean.grad[1:] == 0).all()) and bool((mean.grad[0, 0, :2] != 0).all())
    assert float(held.loss(mean, log, torch.full_like(truth, torch.nan)).detach()) == 0.0


@given(st.floats(-1e6, 1e6))
def test_a_deviation_stays_within_its_bounds(log):
    assert -7.01 <= float(bounded(torch.tensor(log))) <= 1.51


# ------------------------------------------------------------------ calibration


def test_errors_twice_as_large_as_claimed_double_the_deviation_where_they_are():
    calibration = Calibration([target()], horizon=8)
    since = torch.arange(9).repeat(500)
    rng = torch.Generator().manual_seed(0)
    odd = torch.randn(len(since), 3, generator=rng) * torch.where(since == 0, 0.5, 2.0).unsqueeze(1)
    calibration.fit(0, odd, since)
    scale = calibration.get_buffer("scale_0")
    assert torch.allclose(scale[0], torch.full((3,), 0.5), atol=0.06)
    assert torch.allclose(scale[1:], torch.full((8, 3), 2.0), atol=0.25)


def test_few_rows_leave_a_deviation_as_it_is():
    calibration = Calibration([target()], horizon=4)
    calibration.fit(0, torch.full((5, 3), 9.0), torch.ones(5, dtype=torch.long))
    assert bool((calibration.get_buffer("scale_0") == 1).all())


def test_beyond_the_last_step_a_deviation_grows_up_to_the_spread_of_its_channel():
    calibration = Calibration([target()], horizon=4)
    said = torch.tensor([0.1, 0.1, 0.1]).expand(3, 3)
    grown = calibration.deviation(0, said, torch.tensor([4, 16, 4000]))
    assert torch.allclose(grown[0], said[0])
    assert torch.allclose(grown[1], 2 * said[1])
    assert torch.allclose(grown[2], torch.tensor([0.5, 1.2, 1.0]))


def test_boasting_probabilities_are_softened_and_rare_ones_left_alone():
    calibration = Calibration([target()], horizon=6)
    rng = torch.Generator().manual_seed(0)
    truth = (torch.rand(4000, generator=rng) < 0.7).float()
    boast = torch.where(torch.rand(4000, generator=rng) < 0.5, 6.0, 5.0)
    calibration.fit_contact(boast, truth, torch.zeros(4000, dtype=torch.long))
    assert float(calibration.probability(boast, torch.zeros(4000, dtype=torch.long)).mean()) == pytest.approx(
        0.7, abs=0.02
    )
    later = calibration.probability(torch.tensor([2.0]), torch.tensor([3]))
    assert float(later) == pytest.approx(float(torch.sigmoid(torch.tensor(2.0))))


# ------------------------------------------------------------------ memory


def look(seen, number):
    """One state stream of one number and no camera."""
    count, frames = seen.shape
    return Look(
        views=(number.reshape(count, 1, 1, 1).expand(-1, frames, -1, -1) * 1.0,),
        seen_NTS=seen.unsqueeze(-1),
        actions_NTA=torch.zeros(count, frames, 0),
        acted_NT=torch.zeros(count, frames, dtype=torch.bool),
        since_NT=torch.zeros(count, frames, dtype=torch.long),
    )


def test_what_was_seen_once_is_known_while_it_is_hidden_and_never_before():
    one = Statistics(mean=(0.0,), std=(1.0,), circular=(False,), constant=(False,))
    signal = Signal(name="place", shape=(1,))
    shown = Signal(name="shown", shape=(1,))
    layout = Layout(rate_hz=10.0, states=(shown,), action=Signal(name="", shape=(0,)), reads=(signal,))
    torch.manual_seed(0)
    heads = Heads(HeadsConfig(width=24), layout, Normaliser(streams={"place": one}), [(0, 1)])
    search = torch.optim.Adam(heads.parameters(), lr=1e-2)
    seen = torch.zeros(64, 8, dtype=torch.bool)
    seen[:, 2] = True
    for _ in range(250):
        number = torch.randn(64)
        said, _ = heads(look(seen, number), heads.blank(64))
        loss = heads.loss(said, [number.reshape(64, 1, 1).expand(-1, 8, -1)], torch.full((64, 8), torch.nan))
        search.zero_grad()
        loss.backward()
        search.step()
    number = torch.randn(64)
    with torch.no_grad():
        said, _ = heads(look(seen, number), heads.blank(64))
    error = (said.means[0][..., 0] - number.unsqueeze(1)).abs().mean(dim=0)
    deviation = bounded(said.logs[0][..., 0]).exp().mean(dim=0)
    assert bool((error[3:] < 0.25).all()) and float(error[1]) > 0.5
    assert bool((deviation[3:] < 0.4).all()) and float(deviation[1]) > 0.6


# ------------------------------------------------------------------ tracks


def with_force(held, *, pose=False):
    """The synthetic dot touches where it is to the right."""
    x = held.array(STATE)[:, 0]
    force = np.column_stack([np.where(x > 0, 2.0, 0.0), 0 * x, 0 * x])
    streams = {**held.streams, FORCE: make_rows(FORCE, Kind.VECTOR, force, "N")}
    if pose:
        turn = np.column_stack([x, x, x, np.sin(x / 2), 0 * x, 0 * x, np.cos(x / 2)])
        streams[POSE] = make_rows(POSE, Kind.POSE, turn, "m,m,m,1,1,1,1")
    return dataclasses.replace(held, streams=streams)


def config_of(family, *read, states=(), **changes):
    made = debug_config(family)
    brief = PhaseConfig(steps=3, batch=4, warmup=1)
    inputs = dataclasses.replace(made.inputs, states=states, read=read)
    heads = HeadsConfig(width=16, points=4, history=5, horizon=6, rollouts=8, phase=brief)
    tokenizer = dataclasses.replace(made.tokenizer, phase=dataclasses.replace(made.tokenizer.phase, steps=3))
    return dataclasses.replace(made, inputs=inputs, phase=brief, heads=heads, tokenizer=tokenizer, **changes)


def test_read_outs_are_nan_where_alignment_marked_a_gap_and_absent_where_an_episode_lacks_them():
    gap = np.arange(48) < 3
    one, two = episode(1, gap=gap), with_force(episode(2))
    inputs = config_of("flow", STATE, FORCE).inputs
    layout = resolve_layout([one, two], inputs)
    tracks = make_tracks([one, two], layout)
    assert np.isnan(tracks[0].reads[STATE][:3]).all() and np.isfinite(tracks[0].reads[STATE][3:]).all()
    assert tracks[0].valid_T.all()
    assert set(tracks[0].reads) == {STATE} and set(tracks[1].reads) == {STATE, FORCE}
    assert [s.name for s in layout.told] == [STATE, FORCE, CONTACT]


def test_a_stream_that_no_episode_has_cannot_be_read_out():
    with pytest.raises(NotFound, match="to read out"):
        resolve_layout(episodes(2), config_of("flow", FORCE).inputs)


def test_other_families_refuse_to_read_out(tmp_path):
    made = debug_config("conv")
    config = dataclasses.replace(made, inputs=dataclasses.replace(made.inputs, read=(STATE,)))
    with pytest.raises(CapabilityMissing, match="reads nothing out"):
        train("conv", episodes(3), [], config, tmp_path / "run")


def test_every_fifth_episode_is_left_out_and_two_serve_for_both(caplog):
    tracks = [known(i) for i in range(11)]
    learn, left = parted(tracks, HeadsConfig())
    assert numbers(left) == [4, 9] and numbers(learn) == [0, 1, 2, 3, 5, 6, 7, 8, 10]
    assert [*map(numbers, parted(tracks[:3], HeadsConfig()))] == [[0, 1], [2]]
    assert "calibrated on what they learned from" not in caplog.text
    assert [*map(numbers, parted(tracks[:2], HeadsConfig()))] == [[0, 1], [0, 1]]
    assert "calibrated on what they learned from" in caplog.text


def known(number, *, reads=(), nowhere=(), lacks=()):
    """A track that knows some read-outs, knows others at no row, and lacks some streams."""
    values = {name: np.zeros((5, 3)) for name in reads} | {name: np.full((5, 3), np.nan) for name in nowhere}
    return SimpleNamespace(id=number, reads=values, lacks=frozenset(lacks))


def numbers(tracks):
    return [t.id for t in tracks]


def test_what_only_the_left_out_episode_has_is_learned_from_instead(caplog):
    tracks = [known(i, nowhere=[FORCE] if i == 1 else []) for i in range(4)] + [known(4, reads=[FORCE])]
    learn, left = parted(tracks, HeadsConfig())
    assert numbers(left) == [0] and 4 in numbers(learn)
    assert f"has {FORCE}: its deviations are not calibrated" in caplog.text


def test_an_optional_stream_that_only_the_left_out_episode_has_is_learned_from_instead():
    tracks = [*(known(i, lacks=[STATE]) for i in range(4)), known(4)]
    assert numbers(parted(tracks, HeadsConfig())[1]) == [0]


def test_where_every_episode_is_the_only_one_to_know_something_all_serve_for_both(caplog):
    tracks = [known(i, reads=[f"{FORCE}.{i}"]) for i in range(5)]
    assert [*map(numbers, parted(tracks, HeadsConfig()))] == [[0, 1, 2, 3, 4]] * 2
    assert "calibrated on what they learned from" in caplog.text


@settings(deadline=None)
@given(st.lists(st.frozensets(st.sampled_from("abc")), min_size=3, max_size=14))
def test_nothing_is_left_out_whole_and_no_episode_serves_twice_where_it_need_not(streams):
    tracks = [known(i, reads=sorted(names)) for i, names in enumerate(streams)]
    learn, left = parted(tracks, HeadsConfig())
    assert {n for t in learn for n in t.reads} == set().union(*streams)
    assert left and (not set(numbers(learn)) & set(numbers(left)) or len(learn) == len(left) == len(tracks))


# ------------------------------------------------------------------ trained worlds


@pytest.fixture(scope="module", params=["flow", "masked"])
def world(request, tmp_path_factory):
    """Reads out what it is not shown; one episode lacks the force, one the pose."""
    held = [with_force(e, pose=i != 1) for i, e in enumerate(episodes(5))]
    held[0] = dataclasses.replace(held[0], streams={n: r for n, r in held[0].streams.items() if n != FORCE})
    run = tmp_path_factory.mktemp("runs") / request.param
    config = config_of(request.param, STATE, FORCE, POSE)
    return checkpoint.load(train(request.param, held, [with_force(episode(50), pose=True)], config, run))


def test_a_world_says_what_it_reads_out_and_how_sure_it_is(world):
    assert {Capability.CONTACT, Capability.UNCERTAINTY, Capability.STATE} <= world.capabilities
    assert [s.name for s in world.spec.reads] == [STATE, FORCE, POSE, CONTACT] and not world.spec.states
    held = episode(93)
    frame = world.open(prompt_at(world, held, 14), samples=2, seed=0).step(
        np.repeat(recorded_actions(world, held, 14, 4)[None], 2, axis=0)
    )
    assert {n: v.shape for n, v in frame.states.items()} == {
        STATE: (2, 4, 3), FORCE: (2, 4, 3), POSE: (2, 4, 7), CONTACT: (2, 4, 1),
    }  # fmt: skip
    assert set(frame.uncertainty) == {STATE, FORCE, POSE}
    assert all((v > 0).all() for v in frame.uncertainty.values())
    assert ((frame.states[CONTACT] > 0) & (frame.states[CONTACT] < 1)).all()
    assert np.allclose(np.linalg.norm(frame.states[POSE][..., 3:], axis=-1), 1, atol=1e-5)


def test_no_prompt_may_hold_what_is_read_out(world):
    with pytest.raises(Exception, match="unknown"):
        world.open(Prompt(states={STATE: np.zeros((3, 3))}), seed=0)


def test_known_rows_are_read_out_and_each_knows_only_those_before(world):
    frames = np.asarray(episode(93).array(CAMERA))
    whole = world.watch(Prompt(frames={CAMERA: frames[:20]}))
    part = world.watch(Prompt(frames={CAMERA: frames[:9]}))
    assert whole.states[STATE].shape == (1, 20, 3)
    assert np.allclose(whole.states[STATE][:, :9], part.states[STATE], atol=1e-5)
    assert np.allclose(whole.uncertainty[FORCE][:, :9], part.uncertainty[FORCE], atol=1e-5)


def test_rows_older_than_the_window_are_remembered(world):
    frames = np.asarray(episode(93).array(CAMERA))
    window = world.family.config.window
    other = np.concatenate([255 - frames[:4], frames[4 : 4 + window]])
    said = [world.open(Prompt(frames={CAMERA: rows}), seed=0).step(None) for rows in (frames[: 4 + window], other)]
    assert not np.allclose(said[0].states[STATE], said[1].states[STATE], atol=1e-9)


def test_a_world_without_heads_has_nothing_to_read_out(tmp_path):
    config = config_of("flow", states=(STATE,))
    model = checkpoint.load(train("flow", episodes(3), [], config, tmp_path / "run"))
    assert not {Capability.CONTACT, Capability.UNCERTAINTY} & model.capabilities
    with pytest.raises(CapabilityMissing, match="reads no states out"):
        model.watch(Prompt())


def test_a_stream_that_is_shown_and_read_out_is_expected_of_one_future_and_drawn_of_several(tmp_path):
    config = config_of("flow", STATE, states=(STATE,))
    model = checkpoint.load(train("flow", episodes(4), [], config, tmp_path / "run"))
    prompt, actions = prompt_at(model, episode(93), 14), recorded_actions(model, episode(93), 14, 3)
    one = model.open(prompt, samples=1, seed=0).step(actions[None])
    several = model.open(prompt, samples=2, seed=0).step(np.repeat(actions[None], 2, axis=0))
    assert STATE in one.uncertainty and STATE not in several.uncertainty
    assert np.abs(one.states[STATE] - np.asarray(prompt.states[STATE])[-1]).max() < 1.5
