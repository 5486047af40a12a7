"""One dial of sizes: each size up is larger, learns slower, and the dial says where a family has none."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tests.worlds.synthetic import CAMERA, episodes

from worldgate.core import seams
from worldgate.core.errors import CapabilityMissing
from worldgate.core.normalisers import Normaliser
from worldgate.worlds.family import load_trainable
from worldgate.worlds.sizes import Size, Sized, config_of, slower
from worldgate.worlds.tracks import Inputs, fit_normaliser, make_tracks, resolve_layout
from worldgate.worlds.train.config import PhaseConfig

NAMES = sorted(set(seams.cards("models")) | set(seams.cards("tokenizers")) - {"background"})
SIZED = [name for name in NAMES if isinstance(load_trainable(name), Sized)]
LOGS = episodes(1)


def weights(config, name):
    layout = resolve_layout(LOGS, config.inputs)
    plain = fit_normaliser(make_tracks(LOGS, layout), layout) if layout.states else Normaliser(streams={})
    torch.manual_seed(0)
    made = load_trainable(name).create(config, layout, plain)
    return sum(p.numel() for p in made.parameters())


def test_the_families_that_come_in_sizes_are_known():
    assert {"state", "conv", "flow", "masked", "fsq", "kl", "mae"} <= set(SIZED)


@pytest.mark.parametrize("name", SIZED)
def test_each_size_up_has_more_weights_and_small_is_the_default(name):
    module = load_trainable(name)
    counts = []
    for size in (Size.NANO, Size.SMALL, Size.BASE):
        config = config_of(name, module, size)
        cameras = (CAMERA,) if config.inputs.cameras else ()
        config = dataclasses.replace(
            config, inputs=dataclasses.replace(config.inputs, cameras=cameras, size=64, read=())
        )
        counts.append(weights(config, name))
    assert counts[0] * 1.5 < counts[1] < counts[2] / 1.5
    assert config_of(name, module, Size.SMALL) == module.Config()
    assert config_of(name, module, Size.DEBUG) == module.debug()


def test_learning_rates_go_as_one_over_the_width():
    phase = PhaseConfig(steps=1, rate=4e-3)
    assert [slower(phase, size).rate for size in (Size.NANO, Size.SMALL, Size.BASE, Size.LARGE)] == [
        8e-3,
        4e-3,
        2e-3,
        1e-3,
    ]


def test_a_family_of_one_size_says_so():
    class Plain:
        Config = Inputs

        def debug(self):
            return Inputs(size=8)

    assert config_of("plain", Plain(), Size.DEBUG) == Inputs(size=8)
    assert config_of("plain", Plain(), Size.SMALL) == Inputs()
    with pytest.raises(CapabilityMissing, match="comes in one size"):
        config_of("plain", Plain(), Size.LARGE)
