"""Nothing in a family of pictures is made for one size: a few steps at 128 x 128, and what is imagined."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.worlds.synthetic import CAMERA, debug_config, episodes

from worldgate.core.worlds import Prompt
from worldgate.data import clips
from worldgate.worlds import checkpoint
from worldgate.worlds.tracks import Inputs
from worldgate.worlds.train.loop import train

SIZE = 128


def brief(config):
    """Two steps of every phase."""
    few = {
        field.name: dataclasses.replace(held, steps=2, batch=2)
        for field in dataclasses.fields(config)
        if hasattr(held := getattr(config, field.name), "warmup")
    }
    if hasattr(config, "tokenizer") and hasattr(config.tokenizer, "phase"):
        phase = dataclasses.replace(config.tokenizer.phase, steps=2, batch=2)
        few["tokenizer"] = dataclasses.replace(config.tokenizer, phase=phase)
    return dataclasses.replace(config, inputs=Inputs(cameras=(CAMERA,), size=SIZE), **few)


@pytest.mark.parametrize("name", ["flow"])
def test_a_family_learns_and_imagines_larger_pictures(name, tmp_path):
    logs = episodes(3, length=24)
    world = checkpoint.load(train(name, logs[:2], logs[2:], brief(debug_config(name)), tmp_path / "run"))
    now, log = world.spec.context, logs[2]
    prompt = Prompt(
        states={"observation.state": log.streams["observation.state"].values[:now].astype(np.float32)},
        actions=log.streams["action"].values[:now].astype(np.float32),
        frames={CAMERA: clips.frames(log, CAMERA, SIZE)[:now]},
    )
    drive = log.streams["action"].values[None, now : now + 3].astype(np.float32)
    frame = world.open(prompt, seed=0).step(drive)
    assert frame.frames[CAMERA].shape == (1, 3, SIZE, SIZE, 3)
    assert frame.frames[CAMERA].dtype == np.uint8
    assert all(np.isfinite(held).all() for held in frame.states.values())
