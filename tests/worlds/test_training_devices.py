"""Losses on a device that is not there: torch's fake tensors refuse what lies on two devices, and compute nothing.

So they also refuse whatever would have to wait for a GPU: a value that decides a branch or a shape.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tests.worlds.synthetic import CAMERA, SIZE, episodes
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from worldgate.worlds.family import Fed, load_trainable
from worldgate.worlds.feed import Share
from worldgate.worlds.tracks import Inputs, make_tracks, resolve_layout
from worldgate.worlds.train import parallel
from worldgate.worlds.train.loop import _create
from worldgate.worlds.train.steps import Learner

PICTURES = Inputs(states=(), action="", cameras=(CAMERA,), size=SIZE)
SEEING = Inputs(cameras=(CAMERA,), size=SIZE)
FED = {"state": Inputs(), "conv": SEEING, "flow": SEEING, "fsq": PICTURES, "kl": PICTURES}


@pytest.mark.parametrize("name", sorted(FED))
@pytest.mark.filterwarnings("ignore:Converting a tensor")
def test_every_phase_has_its_loss_on_a_gpu(name):
    config, logs = dataclasses.replace(load_trainable(name).debug(), inputs=FED[name]), episodes(4)
    layout = resolve_layout(logs, config.inputs)
    model = _create(name, config, layout, logs)
    learner = Learner(model, config.loop, torch.device("cpu"), parallel.Ranks())
    for phase in model.phases(make_tracks(logs, layout), make_tracks(logs[:1], layout)):
        phase.prepare()
        if isinstance(phase, Fed):
            phase.feed.open(Share())
        batch, learner.phase = phase.draw(np.random.default_rng(0)), phase
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            held = [*learner.named_parameters(), *learner.named_buffers()]
            away = {n: mode.from_tensor(t.detach()).to("cuda").requires_grad_(t.requires_grad) for n, t in held}
            fake = {n: mode.from_tensor(t) for n, t in batch.tensors.items()}
            loss = functional_call(learner, away, (dataclasses.replace(batch, tensors=fake).to(torch.device("cuda")),))
        assert (loss.device.type, loss.shape) == ("cuda", ())
        assert loss.requires_grad
        phase.finish()
