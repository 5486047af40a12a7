"""What the families flow and masked share: tokens and back, guesses, caches, and what prompts do."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.worlds.synthetic import CAMERA, debug_config, episode, episodes

from worldgate.core.episodes import Episode
from worldgate.core.errors import CapabilityMissing, DataRefused, UsageError
from worldgate.core.normalisers import Statistics
from worldgate.core.worlds import Capability, Prompt
from worldgate.worlds import checkpoint
from worldgate.worlds.imagine import prompt_at, recorded_actions
from worldgate.worlds.models import flow, masked
from worldgate.worlds.models._codec import Numbers
from worldgate.worlds.models._prior import posterior
from worldgate.worlds.nn.streams import StreamShape, Words, patched, unpatched
from worldgate.worlds.tracks import make_tracks, resolve_layout
from worldgate.worlds.train.config import PhaseConfig
from worldgate.worlds.train.loop import _create, train

STATE = "observation.state"


def numbers(**changes):
    made = Statistics(
        mean=(1.0, 0.0, -2.0),
        std=(0.5, 1.0, 2.0),
        min=(0.0, -3.1, -5.0),
        max=(2.0, 3.1, 1.0),
        circular=(False, True, False),
    )
    return Numbers(dataclasses.replace(made, **changes))


@given(st.sampled_from([1, 2, 4]), st.integers(1, 3), st.integers(1, 3))
def test_places_join_tokens_and_part_again(patch, many, channels):
    shape = StreamShape(name="camera", side=patch * many, patch=patch)
    values = torch.arange(2 * 3 * shape.side**2 * channels).reshape(2, 3, -1, channels)
    tokens = patched(values, shape)
    assert tokens.shape == (2, 3, shape.tokens, patch**2 * channels)
    assert torch.equal(unpatched(tokens, shape), values)


def test_a_token_holds_neighbours():
    shape = StreamShape(name="camera", side=4, patch=2)
    first = patched(torch.arange(16).reshape(1, 1, 16, 1), shape)[0, 0, 0]
    assert first.tolist() == [0, 1, 4, 5]


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(-3.1, 3.1), st.floats(-5, 1)), min_size=1, max_size=5))
def test_numbers_come_back_from_vectors_and_from_bins(rows):
    held, raw = numbers(), torch.tensor(rows, dtype=torch.float32)
    assert torch.allclose(held.of_vectors(held.vectors(raw)), raw, atol=1e-4)
    back = held.of_codes(held.codes(raw, 256), 256)
    half = (held.high_D - held.low_D) / 512
    assert bool(((back - raw).abs() <= half + 1e-4).all())


def test_numbers_beyond_their_range_fall_into_the_outermost_bin():
    held = numbers()
    assert held.codes(torch.tensor([[99.0, 0.0, -99.0]]), 16)[0, [0, 2]].tolist() == [15, 0]


def test_a_guess_and_a_noisy_look_meet_where_two_gaussians_do():
    mean, variance = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 0.5)
    rng = torch.Generator().manual_seed(0)
    clean = mean + variance.sqrt() * torch.randn(200_000, generator=rng)
    x = 0.7 * clean + 0.3 * torch.randn(200_000, generator=rng)
    near = (x - 1.5).abs() < 0.01
    got, spread = posterior((mean, variance), torch.full((1, 1, 1, 1), 1.5), torch.full((1, 1), 0.7))
    assert float(got) == pytest.approx(float(clean.flatten()[near.flatten()].mean()), abs=0.02)
    assert float(spread) == pytest.approx(float(clean.flatten()[near.flatten()].std()), abs=0.02)
    sure, none = posterior((mean, variance), mean, torch.ones(1, 1))
    assert torch.equal(sure, mean) and float(none) == 0


def test_words_are_read_in_any_case_and_an_empty_text_says_nothing():
    words = Words(16)
    one, two, other, empty = words(Words.inputs(["Push the BLOCK", "push the block!", "lift the cup", ""]))
    assert torch.equal(one, two)
    assert not torch.allclose(one, other)
    assert not bool(empty.any())


@pytest.fixture(scope="module", params=["flow", "masked"])
def family(request):
    torch.set_num_threads(1)
    return request.param


def without(held: Episode, *names: str) -> Episode:
    return dataclasses.replace(held, streams={n: r for n, r in held.streams.items() if n not in names})


def config_of(family, **changes):
    made = debug_config(family)
    inputs = dataclasses.replace(made.inputs, **changes.pop("inputs", {}))
    return dataclasses.replace(made, inputs=inputs, **changes)


BRIEF = PhaseConfig(steps=3, batch=4, warmup=1)


@pytest.fixture(scope="module")
def mixed(family, tmp_path_factory):
    """Trained on episodes of which one lacks its camera and one its actions."""
    held = episodes(4)
    held[1], held[2] = without(held[1], CAMERA), without(held[2], "action")
    config = config_of(family, inputs={"optional": (CAMERA, "action")}, phase=BRIEF)
    folder = tmp_path_factory.mktemp("runs") / family
    return checkpoint.load(train(family, held, episodes(1, first=50), config, folder))


def test_episodes_may_lack_a_camera_or_their_actions(mixed):
    frame = mixed.open(Prompt(), samples=2, seed=0).step(None)
    assert frame.frames[CAMERA].shape == (2, 1, 32, 32, 3)


def test_runs_shorter_than_a_window_are_learned_from_as_long_as_they_are(family):
    held = [episode(0, gap=np.arange(48) == 4), episode(1, length=3), episode(2, length=1)]
    config = config_of(family, phase=dataclasses.replace(BRIEF, batch=2))
    layout = resolve_layout(held, config.inputs)
    made, tracks = _create(family, config, layout, held), make_tracks(held, layout)
    *_, phase = made.phases(tracks, [])
    phase.prepare()
    rng, drawn = np.random.default_rng(0), {4: 0, 3: 0, config.window: 0}
    for _ in range(300):
        batch = phase.draw(rng)
        drawn[batch["acted_NT"].shape[1]] += 1
        if batch.numbers["ahead"] >= 0:
            assert batch.numbers["ahead"] < batch["acted_NT"].shape[1]
    starts = 43 - config.window + 1
    expected = [300 * n / (starts + 4 + 3) for n in (4, 3, starts)]
    assert list(drawn.values()) == pytest.approx(expected, abs=20)
    assert all(drawn.values())
    assert bool(torch.isfinite(phase.loss(batch)))


def test_a_dataset_of_short_episodes_alone_can_be_learned_and_one_of_single_rows_cannot(family, tmp_path):
    config = config_of(family, phase=BRIEF, context=2)
    train(family, [episode(seed, length=4) for seed in range(4)], [], config, tmp_path / "short")
    with pytest.raises(DataRefused, match="too short"):
        train(family, [episode(seed, length=1) for seed in range(4)], [], config, tmp_path / "single")


def test_a_stream_that_is_not_optional_must_be_there(family, tmp_path):
    held = episodes(3)
    with pytest.raises(Exception, match="lacks a stream"):
        train(family, [held[0], without(held[1], "action")], [], config_of(family), tmp_path / "run")


def test_a_model_without_cameras_rolls_states_alone(family, tmp_path):
    config = config_of(family, inputs={"cameras": ()}, phase=BRIEF)
    model = checkpoint.load(train(family, episodes(3), [], config, tmp_path / "run"))
    frame = model.open(prompt_at(model, episode(93), 14), seed=0).step(np.zeros((1, 2, 2), np.float32))
    assert not frame.frames and frame.states[STATE].shape == (1, 2, 3)
    assert Capability.FRAMES not in model.capabilities
    with pytest.raises(CapabilityMissing, match="takes no frames"):
        model.open(Prompt(frames={CAMERA: np.zeros((1, 32, 32, 3), np.uint8)}), seed=0)


def test_a_model_of_pictures_alone_rolls_pictures(family, tmp_path):
    config = config_of(family, inputs={"states": (), "action": ""}, phase=BRIEF)
    model = checkpoint.load(train(family, episodes(3), episodes(1, first=50), config, tmp_path / "run"))
    frame = model.open(Prompt(frames={CAMERA: np.zeros((2, 32, 32, 3), np.uint8)}), seed=0).step(None)
    assert not frame.states and frame.frames[CAMERA].shape == (1, 1, 32, 32, 3)
    with pytest.raises(CapabilityMissing, match="takes no actions"):
        model.open(Prompt(actions=np.zeros((1, 2))), seed=0)


def test_known_frames_ahead_are_shown_when_their_time_comes(mixed):
    cut = prompt_at(mixed, episode(93), 14)
    last = np.asarray(prompt_at(mixed, episode(93), 20).frames[CAMERA][-1:])
    frame = mixed.open(dataclasses.replace(cut, ahead={CAMERA: last}, ahead_steps=(6,)), seed=0)
    pictures = frame.step(recorded_actions(mixed, episode(93), 14, 7)[None]).frames[CAMERA][0]
    known = mixed.family.codec
    against = {c: held.unsqueeze(0) for c, held in known.against(cut.frames).items()}
    tokens = known.tokens({CAMERA: torch.tensor(last)[None]}, against, {})
    shown = known.frames([tokens[0]], against)[CAMERA].numpy()[0, 0]
    assert np.array_equal(pictures[5], shown)


@pytest.mark.parametrize(
    ("ahead", "steps"), [(1, ()), (0, (3,)), (2, (3,)), (1, (0,)), (1, (-2,))], ids=lambda v: str(v)
)
def test_frames_ahead_without_their_steps_are_refused(mixed, ahead, steps):
    frames = {CAMERA: np.zeros((ahead, 32, 32, 3), np.uint8)}
    with pytest.raises(UsageError):
        mixed.open(Prompt(ahead=frames, ahead_steps=steps), seed=0)


def test_a_text_for_a_model_that_learned_none_is_refused(mixed):
    with pytest.raises(CapabilityMissing, match="takes no text"):
        mixed.open(Prompt(text="push"), seed=0)


def test_seeds_give_other_futures_and_samples_differ(mixed):
    prompt = prompt_at(mixed, episode(93), 14)
    drive = np.broadcast_to(recorded_actions(mixed, episode(93), 14, 3), (2, 3, 2))
    one = mixed.open(prompt, samples=2, seed=0).step(drive).states[STATE]
    two = mixed.open(prompt, samples=2, seed=1).step(drive).states[STATE]
    assert not np.array_equal(one[0], one[1])
    assert not np.array_equal(one, two)


def test_a_long_rollout_holds_no_more_than_its_window(mixed):
    opened = mixed.open(prompt_at(mixed, episode(93), 14), seed=0)
    for _ in range(30):
        frame = opened.step(None)
    assert all(past.keys.shape[2] <= mixed.family.config.window for past in opened.dream.past)
    assert all(np.isfinite(v).all() for v in frame.states.values())


def test_known_ahead_survives_a_long_rollout_in_the_cache(mixed):
    frames = {CAMERA: np.zeros((1, 32, 32, 3), np.uint8)}
    opened = mixed.open(Prompt(ahead=frames, ahead_steps=(40,)), seed=0)
    first = opened.dream.past[0].keys[:, :, :1].clone()
    for _ in range(12):
        opened.step(None)
    assert torch.equal(opened.dream.past[0].keys[:, :, :1], first)


def test_a_raster_order_fills_one_code_after_the_other(tmp_path):
    made = config_of("masked", phase=BRIEF)
    made = dataclasses.replace(made, mask=dataclasses.replace(made.mask, order=masked.Order.RASTER, temperature=0.0))
    model = checkpoint.load(train("masked", episodes(3), [], made, tmp_path / "run"))
    calls = []
    net = model.family.net
    forward = type(net).forward

    def counted(self, codes, *rest, **named):
        calls.append([int((c == s.hidden).sum()) for c, s in zip(codes, self.streams, strict=True)])
        return forward(self, codes, *rest, **named)

    type(net).forward = counted
    try:
        model.open(Prompt(), seed=0).step(None)
    finally:
        type(net).forward = forward
    numbers = sum(c[1] > 0 for c in calls)
    assert [c[1] for c in calls[:numbers]] == list(range(calls[0][1], 0, -1)), "numbers come first, one after the other"
    hidden = [c[0] for c in calls[numbers:-1]]
    assert hidden == list(range(32, 0, -1)), "two digits of 4 x 4 places of one camera, one less at each step"


def test_a_mean_future_has_no_noise(tmp_path):
    made = config_of("flow", phase=BRIEF)
    made = dataclasses.replace(made, noise=dataclasses.replace(made.noise, temperature=0.0, memory=0.0, exact=0.0))
    model = checkpoint.load(train("flow", episodes(3), [], made, tmp_path / "run"))
    one, two = (model.open(prompt_at(model, episode(93), 14), seed=s).step(None).states[STATE] for s in (0, 1))
    assert np.allclose(one, two, atol=1e-5)


def test_step_sizes_are_powers_of_two():
    with pytest.raises(UsageError, match="power of two"):
        flow.NoiseConfig(levels=12)
    with pytest.raises(UsageError, match="power of two"):
        flow.NoiseConfig(steps=16, levels=8)
