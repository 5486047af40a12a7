"""Every file of the models and tokenizers seams keeps the same contract."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
import torch
from tests.worlds.synthetic import CAMERA, debug_config, episode, episodes

from worldgate.core import seams
from worldgate.core.config import decode
from worldgate.core.errors import CapabilityMissing, UsageError
from worldgate.core.worlds import Capability, Prompt, WorldModel, rollout
from worldgate.worlds import checkpoint
from worldgate.worlds.family import load_family
from worldgate.worlds.imagine import prompt_at, recorded_actions
from worldgate.worlds.train.loop import train

HELD = episode(93)


@pytest.fixture(scope="module", params=sorted(seams.cards("models")))
def family(request):
    torch.set_num_threads(1)
    return request.param


@pytest.fixture(scope="module")
def model(family, tmp_path_factory):
    begun = time.monotonic()
    folder = tmp_path_factory.mktemp("runs") / family
    loaded = checkpoint.load(train(family, episodes(5), [], debug_config(family), folder))
    assert time.monotonic() - begun < 30, "a debug configuration trains in seconds"
    return loaded


@pytest.fixture(scope="module")
def prompt(model):
    return prompt_at(model, HELD, 14)


def same(one, two):
    return all(
        np.array_equal(getattr(one, part)[name], getattr(two, part)[name])
        for part in ("states", "frames", "uncertainty")
        for name in getattr(one, part)
    )


def drive(model, steps, samples=1):
    actions = recorded_actions(model, HELD, 14, steps)
    return np.broadcast_to(actions, (samples, *actions.shape))


def test_every_card_is_whole():
    for seam in ("models", "tokenizers"):
        for name, card in seams.cards(seam).items():
            assert card.line, (seam, name)
            assert card.needs in {"models", "tokens"}, (seam, name)
            assert card.source, (seam, name)


def test_a_configuration_survives_a_trip_through_a_plain_tree(family):
    module = load_family(family)
    made = module.debug()
    assert decode(module.Config, dataclasses.asdict(made), where="test") == made


def test_predictions_have_the_promised_shapes_and_are_finite(model, prompt):
    spec, frame = model.spec, model.open(prompt, samples=3, seed=0).step(drive(model, 4, 3))
    assert set(frame.states) == {s.name for s in spec.states}
    for signal in spec.states:
        assert frame.states[signal.name].shape == (3, 4, *signal.shape)
        assert np.isfinite(frame.states[signal.name]).all()
    drawn = spec.cameras if Capability.FRAMES in model.capabilities else ()
    assert set(frame.frames) == {c.name for c in drawn}
    for camera in drawn:
        assert frame.frames[camera.name].shape == (3, 4, *camera.shape)
        assert frame.frames[camera.name].dtype == np.uint8
    assert bool(frame.uncertainty) == (Capability.UNCERTAINTY in model.capabilities)


def test_what_a_model_gives_is_what_its_capabilities_say(model, prompt):
    frame = model.open(prompt, seed=0).step(drive(model, 1))
    assert bool(frame.frames) == (Capability.FRAMES in model.capabilities)
    assert bool(frame.states) == (Capability.STATE in model.capabilities)
    assert isinstance(model.capabilities, frozenset)
    opened: WorldModel = model
    assert opened.spec.family


def test_the_same_seed_gives_the_same_futures(model, prompt):
    one, two = (model.open(prompt, samples=3, seed=4).step(drive(model, 5, 3)) for _ in range(2))
    assert same(one, two)


def test_streaming_a_horizon_equals_asking_for_it_at_once(model, prompt):
    whole = model.open(prompt, samples=2, seed=4).step(drive(model, 6, 2))
    opened, actions = model.open(prompt, samples=2, seed=4), drive(model, 6, 2)
    parts = [opened.step(actions[:, a:b]) for a, b in ((0, 1), (1, 4), (4, 6))]
    for name, values in whole.states.items():
        assert np.array_equal(np.concatenate([p.states[name] for p in parts], axis=1), values)
    for name, values in whole.frames.items():
        assert np.array_equal(np.concatenate([p.frames[name] for p in parts], axis=1), values)


def test_two_unrollings_do_not_disturb_each_other(model, prompt):
    alone = model.open(prompt, seed=1).step(drive(model, 4))
    first, second = model.open(prompt, seed=1), model.open(prompt, seed=2)
    second.step(-drive(model, 3))
    assert same(first.step(drive(model, 4)), alone)


def test_a_rollout_is_marked_and_repeats(model, prompt):
    actions = drive(model, 4)[0]
    one, two = (rollout(model, prompt, actions, seed=3) for _ in range(2))
    assert one.origin.value == "imagined"
    assert (one.model, one.prompt) == (model.spec.digest, prompt.digest())
    assert same(one.frame, two.frame)


def test_actions_change_the_future(model, prompt):
    one, two = (
        model.open(prompt, seed=0).step(np.full((1, 6, 2), v, np.float32)).states["observation.state"]
        for v in (-0.8, 0.8)
    )
    assert (two[0, -1, :2] > one[0, -1, :2] + 0.2).all()


def test_what_a_model_lacks_is_refused_not_ignored(model, prompt):
    with pytest.raises(CapabilityMissing, match="no text"):
        model.open(dataclasses.replace(prompt, text="pick up the bottle"), seed=0)
    if Capability.AHEAD not in model.capabilities:
        with pytest.raises(CapabilityMissing, match="no frames ahead"):
            ahead = {CAMERA: np.zeros((1, 32, 32, 3), np.uint8)}
            model.open(dataclasses.replace(prompt, ahead=ahead, ahead_steps=(3,)), seed=0)
    if Capability.PARTIAL not in model.capabilities:
        with pytest.raises(CapabilityMissing):
            model.open(prompt, seed=0).step(None)
    if not model.spec.cameras:
        frames = {CAMERA: np.zeros((4, 32, 32, 3), np.uint8)}
        with pytest.raises(CapabilityMissing, match="no frames"):
            model.open(dataclasses.replace(prompt, frames=frames), seed=0)


def test_prompts_that_do_not_fit_are_refused(model, prompt):
    states = dict(prompt.states)
    broken = {
        "unknown": dataclasses.replace(prompt, states=states | {"observation.extra": np.zeros((4, 1))}),
        "another shape": dataclasses.replace(prompt, states={k: v[:, :-1] for k, v in states.items()}),
        "not finite": dataclasses.replace(prompt, states={k: v * np.nan for k, v in states.items()}),
    }
    for word, bad in broken.items():
        with pytest.raises(UsageError, match=word):
            model.open(bad, seed=0)


def test_a_prompt_may_be_partial_only_where_the_model_says_so(model, prompt):
    if Capability.PARTIAL in model.capabilities:
        empty = Prompt()
        only_pictures = Prompt(frames={c: f[-1:] for c, f in prompt.frames.items()})
        for partial in (empty, only_pictures):
            frame = model.open(partial, samples=2, seed=0).step(None)
            assert all(np.isfinite(v).all() and v.shape[:2] == (2, 1) for v in frame.states.values())
        return
    for word, bad in {
        "missing": dataclasses.replace(prompt, states={}),
        "needs the actions": dataclasses.replace(prompt, actions=None),
    }.items():
        with pytest.raises(UsageError, match=word):
            model.open(bad, seed=0)
    short = {k: v[-1:] for k, v in prompt.states.items()}
    with pytest.raises(UsageError, match="another shape"):
        model.open(dataclasses.replace(prompt, states=short), seed=0)


@pytest.mark.parametrize("shape", [(1, 3, 5), (2, 3, 2), (3, 2), (1, 0, 2)])
def test_actions_of_another_shape_are_refused(model, prompt, shape):
    with pytest.raises(UsageError, match="actions of another shape"):
        model.open(prompt, seed=0).step(np.zeros(shape, np.float32))
