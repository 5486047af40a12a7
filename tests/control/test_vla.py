"""The policy that follows sentences: what it learns, what it refuses, and what its release says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.control.test_chunks import CAMERA, STATE, registered, rows
from tests.control.test_chunks import episode as drawn

from worldgate.control import evaluating, policies
from worldgate.control.policies import vla
from worldgate.core.errors import DataRefused, UsageError, WeightsRefused
from worldgate.evidence.action_error import ActionErrorConfig, action_errors
from worldgate.evidence.closed_loop import try_in_task
from worldgate.evidence.regression import Actor
from worldgate.sim.tasks import open_task
from worldgate.worlds import checkpoint
from worldgate.worlds.train import loop
from worldgate.worlds.train.config import LoopConfig, PhaseConfig

WAYS = {"left": np.array([-1.0, 0.0]), "right": np.array([1.0, 0.0]), "up": np.array([0.0, 1.0])}


def episode(seed=0, *, word="left", picture=False):
    """A point that goes where the sentence says, from anywhere."""
    held = drawn(seed, 30, picture=picture)
    start = np.random.default_rng(seed).uniform(-1, 1, 2)
    places = start + 0.1 * np.arange(30)[:, None] * WAYS[word]
    state = np.concatenate([places, np.zeros((30, 2))], axis=1)
    streams = dict(held.streams)
    streams[STATE] = dataclasses.replace(streams[STATE], values=state)
    streams["action"] = dataclasses.replace(streams["action"], values=places + 0.1 * WAYS[word])
    return dataclasses.replace(held, streams=streams, facts={"task": f"Go {word}, please!"})


def learned(tmp_path, episodes, name="run", **changes):
    config = dataclasses.replace(vla.debug(), **{"relative_to": STATE, **changes})
    return checkpoint.restore(loop.train("policies/vla", episodes, [], config, tmp_path / name))[1].fitted()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    phase = PhaseConfig(steps=100, batch=32, rate=4e-3, warmup=10, ema=0.9)
    episodes = [episode(k, word=word) for k in range(8) for word in WAYS]
    return learned(tmp_path_factory.mktemp("vla"), episodes, phase=phase, loop=LoopConfig(threads=1))


@pytest.fixture
def policy(workspace, fitted):
    return registered(workspace, fitted)[1]


def test_the_same_place_and_another_word_lead_elsewhere(policy):
    seen = rows(episode(77))[3]
    for word, way in WAYS.items():
        policy.reset(seed=0)
        policy.tell(f"go {word} please")
        np.testing.assert_allclose(policy.act(seen) - seen[STATE][:2], 0.1 * way, atol=0.03)


def test_a_new_sentence_ends_the_plan_of_the_old_one(policy):
    seen = rows(episode(77))[3]
    policy.tell("go left please")
    policy.act(seen)
    policy.tell("go right please")
    assert policy.act(seen)[0] > seen[STATE][0]


@pytest.mark.parametrize(
    ("text", "what"),
    [("go down please", "down"), ("", "words"), ("?!", "words"), ("go left left please", "longer")],
)
def test_words_that_it_cannot_follow_are_refused(policy, text, what):
    with pytest.raises(UsageError, match=what):
        policy.tell(text)


def test_without_an_instruction_it_does_nothing(policy):
    seen = rows(episode())[0]
    for _ in range(2):
        with pytest.raises(UsageError, match="not told"):
            policy.act(seen)
        policy.tell("go left please")
        policy.act(seen)
        policy.reset(seed=0)


def test_words_and_bins_are_part_of_the_identity(workspace, fitted):
    release, _ = registered(workspace, fitted)
    assert release.pre["words"] == "go left please right up"
    assert release.pre["text"] == "task"
    other = dataclasses.replace(release, pre={**release.pre, "vocabulary": "0" * 64})
    with pytest.raises(WeightsRefused, match="bins"):
        policies.load(other, workspace.store)


def test_the_same_training_gives_the_same_weights(tmp_path):
    runs = [learned(tmp_path, [episode()], name, phase=PhaseConfig(steps=3, batch=8)) for name in ("a", "b")]
    assert runs[0].pre == runs[1].pre
    for name, held in runs[0].tensors.items():
        np.testing.assert_array_equal(held, runs[1].tensors[name])


def test_episodes_without_sentences_teach_only_who_is_told_nothing(tmp_path, workspace):
    mute = dataclasses.replace(episode(), facts={})
    with pytest.raises(DataRefused, match="instruction"):
        learned(tmp_path, [episode(1), mute])
    inputs = dataclasses.replace(vla.debug().inputs, text=())
    made = learned(tmp_path, [mute], "blind", inputs=inputs, phase=PhaseConfig(steps=2, batch=8))
    _, blind = registered(workspace, made)
    assert not policies.follows(blind)
    assert blind.act(rows(mute)[0]).shape == (2,)


def test_held_out_sentences_with_other_words_are_left_out_of_the_figures(tmp_path):
    config = dataclasses.replace(vla.debug(), relative_to=STATE, phase=PhaseConfig(steps=2, batch=8))
    loop.train("policies/vla", [episode()], [episode(1, word="up")], config, tmp_path / "run")
    assert '"action_error": null' in (tmp_path / "run" / "metrics.jsonl").read_text()


@pytest.mark.parametrize(
    ("changes", "what"), [({"words": 2}, "more words"), ({"goal": (STATE,)}, "words where"), ({"bins": 1}, "bins")]
)
def test_configurations_that_cannot_be_are_refused(tmp_path, changes, what):
    with pytest.raises((UsageError, DataRefused), match=what):
        learned(tmp_path, [episode()], **changes)


def test_it_looks_at_pictures_and_refuses_to_act_without_them(tmp_path, workspace):
    inputs = dataclasses.replace(vla.debug().inputs, cameras=(CAMERA,), size=16)
    made = learned(tmp_path, [episode(picture=True)], inputs=inputs, shift=1, phase=PhaseConfig(steps=2, batch=8))
    _, policy = registered(workspace, made)
    policy.tell("go left please")
    seen = rows(episode(picture=True))[0]
    assert policy.act(seen).shape == (2,)
    with pytest.raises(DataRefused, match="picture"):
        policy.act({name: held for name, held in seen.items() if name != CAMERA})


def test_recorded_instructions_are_told_where_actions_are_compared(workspace, fitted):
    release, policy = registered(workspace, fitted)
    acting = Actor(
        digest=release.digest, policy=policy, observation=release.observation, action=release.action, rate_hz=10.0
    )
    held = [episode(90, word="left"), episode(91, word="up")]
    found = action_errors(held, acting, config=ActionErrorConfig(rows=4, horizon=2), told=True)
    assert all(channel.policy < 0.05 for channel in found.channels)


def test_a_task_tells_its_sentence(policy):
    task = open_task("instructed", {"size": 0})
    heard = []

    class Listening:
        digest = "d" * 64

        def reset(self, *, seed):
            heard.append(seed)

        def tell(self, text):
            heard.append(text)

        def act(self, observation):
            return np.asarray(task.spec.low)

    task.spec = dataclasses.replace(task.spec, steps=1)
    try_in_task(task, Listening(), who="l", runs=1, seed=4, aimed=False, told=True)
    assert heard == [4, task.text]
    assert policies.follows(Listening())


def test_a_release_that_follows_sentences_needs_a_task_that_gives_some(workspace, fitted, monkeypatch):
    ref = fitted.publish(workspace, name="p")
    monkeypatch.setattr(evaluating, "fits", lambda release, place: None)
    with pytest.raises(DataRefused, match="none are given"):
        evaluating.in_task(workspace, ref, "two_room", runs=1)
