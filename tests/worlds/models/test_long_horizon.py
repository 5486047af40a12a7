"""A rollout may go on for as long as somebody asks: what it holds does not grow with the horizon."""

from __future__ import annotations

import gc
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.worlds.synthetic import debug_config, episodes

from worldgate.core.worlds import ModelSpec
from worldgate.worlds.family import load_family
from worldgate.worlds.imagine import prompt_at
from worldgate.worlds.tracks import fit_normaliser, make_tracks, resolve_layout

FAMILIES = ("state", "conv", "flow", "masked")


def untrained(family):
    """A model whose weights mean nothing, and a prompt for it."""
    torch.manual_seed(0)
    held, config = episodes(2), debug_config(family)
    layout = resolve_layout(held, config.inputs)
    made = load_family(family).create(config, layout, fit_normaliser(make_tracks(held, layout), layout))
    made.train(False)
    context = getattr(made, "context", None) or config.window
    spec = ModelSpec(
        family=family, digest="", normaliser="", rate_hz=layout.rate_hz, context=context,
        states=layout.states, cameras=layout.cameras, action=layout.action,
    )  # fmt: skip
    world = made.world(spec)
    return world, prompt_at(world, held[0], 20)


def held_bytes():
    """Of every tensor that anything still points at."""
    gc.collect()
    return sum(held.nbytes for held in gc.get_objects() if type(held) is torch.Tensor)


def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def advance(unrolling, steps, chunk=50):
    for _ in range(steps // chunk):
        frame = unrolling.step(np.zeros((1, chunk, 2), np.float32))
    return frame


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unrolling_holds_as_much_after_long_as_after_short(family):
    world, prompt = untrained(family)
    unrolling = world.open(prompt, seed=0)
    frame = advance(unrolling, 50, chunk=10)  # kept: its arrays look into tensors
    before = held_bytes()
    frame = advance(unrolling, 100, chunk=10)
    assert held_bytes() == before
    assert all(values.shape[:2] == (1, 10) for values in {**frame.states, **frame.frames}.values())


def test_numbers_of_flow_stay_where_training_has_seen_them():
    world, prompt = untrained("flow")
    with torch.no_grad():
        for weights in world.family.parameters():
            weights.mul_(8.0)  # a network whose numbers would leave within a few frames
    frame = advance(world.open(prompt, seed=0), 100, chunk=20)
    for name, values in frame.states.items():
        seen = world.family.codec.normaliser.statistics(name)
        low, high = np.asarray(seen.min), np.asarray(seen.max)
        beyond = 0.1 * (high - low)
        assert (values >= low - beyond - 1e-3).all()
        assert (values <= high + beyond + 1e-3).all()
        assert values.std() > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
@pytest.mark.parametrize("family", FAMILIES)
def test_ten_thousand_steps_stream_in_flat_memory(family):
    world, prompt = untrained(family)
    unrolling = world.open(prompt, seed=0)
    frame = advance(unrolling, 500)
    tensors, resident = held_bytes(), resident_mb()
    frame = advance(unrolling, 9_500)
    assert frame.states
    assert held_bytes() == tensors
    assert resident_mb() - resident < 32.0
