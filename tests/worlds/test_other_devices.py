"""What imagines and trains goes where the weights are, and stays there: on a device that refuses what a GPU would.

None of this runs on a GPU; :mod:`tests.worlds.far` says what it can show and what not.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.worlds import far
from tests.worlds.synthetic import CAMERA, SIZE, episode, episodes
from torch.nn.attention import SDPBackend, sdpa_kernel

from worldgate.core.worlds import ModelSpec, Prompt
from worldgate.worlds.devices import Draws, device_of, sent
from worldgate.worlds.family import Fed, load_trainable
from worldgate.worlds.feed import Share
from worldgate.worlds.heads.net import HeadsConfig
from worldgate.worlds.tracks import Inputs, make_tracks, resolve_layout
from worldgate.worlds.train import parallel
from worldgate.worlds.train.loop import _create
from worldgate.worlds.train.steps import Learner, Steps

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]
SEEING = Inputs(cameras=(CAMERA,), size=SIZE)
WORLDS = {"state": Inputs(), "conv": SEEING, "flow": SEEING, "masked": SEEING}
PICTURES = Inputs(states=(), action="", cameras=(CAMERA,), size=SIZE)
FED = WORLDS | {"fsq": PICTURES, "kl": PICTURES}
LOGS = episodes(3)


def made(name):
    """A model with its phases, each prepared; its weights say something."""
    config = dataclasses.replace(load_trainable(name).debug(), inputs=FED[name])
    layout = resolve_layout(LOGS, config.inputs)
    model = _create(name, config, layout, LOGS)
    phases = model.phases(make_tracks(LOGS, layout), make_tracks(LOGS[:1], layout))
    for phase in phases:
        phase.prepare()
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return model.train(False), phases, config


def world_of(model, name):
    layout = model.layout
    return model.world(
        ModelSpec(
            family=name,
            digest="0" * 64,
            normaliser="",
            rate_hz=layout.rate_hz,
            context=model.context,
            states=layout.states,
            cameras=layout.cameras,
            action=layout.action,
            dataset="",
            text=layout.text,
            reads=layout.told,
        )
    )


def imagined(model, name, *, ahead):
    """Two futures of four steps."""
    log, now = episode(7), model.context
    streams = log.streams
    frames = {} if name == "state" else {CAMERA: streams[CAMERA].values[:now]}
    more = {"ahead": {CAMERA: streams[CAMERA].values[now + 2 : now + 3]}, "ahead_steps": (3,)} if ahead else {}
    prompt = Prompt(
        states={"observation.state": streams["observation.state"].values[:now].astype(np.float32)},
        actions=streams["action"].values[:now].astype(np.float32),
        frames=frames,
        **more,
    )
    drive = np.stack([streams["action"].values[now : now + 4]] * 2).astype(np.float32)
    frame = world_of(model, name).open(prompt, samples=2, seed=5).step(drive)
    return {**frame.states, **frame.frames, **{f"deviation of {n}": x for n, x in frame.uncertainty.items()}}


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_a_seed_means_the_same_future_on_another_device(name):
    model, _, _ = made(name)
    ahead = name in {"flow", "masked"}
    with sdpa_kernel(SDPBackend.MATH):  # as the other device computes it
        here = imagined(model, name, ahead=ahead)
        with far.travelling() as waits:
            model.to(far.device())
            assert device_of(model).type == far.FAR
            there = imagined(model, name, ahead=ahead)
    assert sorted(here) == sorted(there)
    for key, value in here.items():
        np.testing.assert_array_equal(value, there[key], err_msg=key)
    assert set(+waits) <= {"home", "_local_scalar_dense", "sent"}, waits


@pytest.mark.parametrize("name", sorted(FED))
def test_a_phase_has_the_same_loss_on_another_device(name):
    model, phases, config = made(name)
    learner = Learner(model, config.loop, CPU, parallel.Ranks())
    for phase in phases:
        learner.phase = phase
        if isinstance(phase, Fed):
            phase.feed.open(Share())
        batch = phase.draw(np.random.default_rng(0))
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            torch.manual_seed(2)
            here = learner(batch)
            with far.travelling() as waits:
                learner.to(far.device())
                waits.clear()
                torch.manual_seed(2)
                there = learner(batch.to(far.device()))
                assert not +waits, waits
                assert torch.equal(there.cpu(), here)
                learner.to(CPU)
        phase.finish()


@pytest.mark.parametrize("name", ["flow", "masked"])
def test_state_heads_prepare_learn_and_are_judged_on_another_device(name):
    logs = episodes(4)
    made = load_trainable(name).debug()
    heads = HeadsConfig(width=16, points=4, history=5, horizon=6, rollouts=8)
    inputs = dataclasses.replace(SEEING, states=(), read=("observation.state",))
    config = dataclasses.replace(made, inputs=inputs, heads=heads)
    layout = resolve_layout(logs, inputs)

    def told(device):
        torch.manual_seed(0)
        model = _create(name, config, layout, logs)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
        model.train(False).to(device)
        *_, phase = model.phases(make_tracks(logs, layout), make_tracks(logs[:1], layout))
        phase.prepare()
        loss = phase.loss(phase.draw(np.random.default_rng(0)).to(device))
        facts = phase.evaluate()
        phase.finish()
        return float(loss), facts, {key: held.cpu() for key, held in model.heads.calibration.named_buffers()}

    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        loss, facts, held = told(CPU)
        with far.travelling():
            there = told(far.device())
    assert facts
    assert there[0] == pytest.approx(loss, rel=1e-4)
    assert there[1] == pytest.approx(facts, abs=1e-3)
    for key, value in held.items():
        torch.testing.assert_close(there[2][key], value, rtol=1e-2, atol=1e-3)
    assert any(bool((value != 1).any()) for key, value in held.items() if key.startswith("scale"))


def waits_of_training(name):
    """How often a step of training waited for its device, three steps."""
    model, phases, config = made(name)
    phase = phases[-1]
    learner = Learner(model, config.loop, far.device(), parallel.Ranks())
    batches = [phase.draw(np.random.default_rng(seed)) for seed in range(3)]
    with far.travelling() as waits:
        learner.leave_home()
        model.load_state_dict(model.state_dict())
        steps = Steps(phase, learner)
        waits.clear()
        for batch in batches:
            loss, norm = steps.step(lambda batch=batch: batch, 1, 0.0)
            assert np.isfinite([loss, norm]).all()
    return dict(+waits)


def test_a_step_of_training_waits_for_its_device_once():
    # In a process of its own: autograd counts the devices there are when it first runs in a process.
    asked = "from tests.worlds import far, test_other_devices as t; far.device(); import json; "
    asked += "print(json.dumps([t.waits_of_training(n) for n in ('flow', 'masked')]))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    for waits in json.loads(done.stdout.splitlines()[-1]):
        assert sum(waits.values()) == 3, waits


def test_what_lies_elsewhere_is_refused_and_what_waits_is_noticed():
    with far.travelling() as waits:
        there = torch.ones(3, device=far.device())
        with pytest.raises(RuntimeError, match="two devices"):
            there + torch.ones(3)
        assert not +waits
        assert bool((there > 0).all())
        there[there > 0].sum()
        there.cpu()
        torch.ones(3).to(far.device())
    assert set(+waits) == {"_local_scalar_dense", "index", "home", "sent"}


def test_one_entry_of_each_row_is_drawn_as_torch_draws_it():
    chances = torch.rand(400, 9, generator=torch.Generator().manual_seed(0))
    theirs = torch.multinomial(chances, 1, generator=torch.Generator().manual_seed(3))
    assert torch.equal(Draws(3, CPU).one_of(chances), theirs)


def test_an_array_that_is_sent_is_no_longer_the_caller_s():
    held = np.zeros(3, np.float32)
    there = sent(held, CPU)
    held[:] = 1
    assert not there.any()
