"""What makes partial prompts work: frames ahead speak to each place as in training; actions without frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.worlds.models.test_prior import tape_of

from worldgate.worlds.models.flow import FlowNet, NoiseConfig
from worldgate.worlds.nn.streams import Backbone, Guidance, NetConfig, StreamShape

SHAPES = (StreamShape(name="camera", side=2), StreamShape(name="state", side=1))


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    made = Backbone(NetConfig(width=16, depth=2, heads=2, patch=1), SHAPES, 2, 0)
    for held in made.parameters():
        torch.nn.init.normal_(held, std=0.2)
    return made.eval()


def guidance(frames, first=0):
    rng = torch.Generator().manual_seed(9)
    actions = torch.randn(2, 8, 2, generator=rng)[:, first : first + frames]
    acted = torch.ones(2, frames, dtype=torch.bool)
    return Guidance(
        actions_NTA=actions, acted_NT=acted, text_NE=torch.zeros(2, 0), told_N=torch.zeros(2, dtype=torch.bool)
    )


def clip(frames, seed=1):
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(2, frames, shape.tokens, 16, generator=rng) for shape in SHAPES]


@torch.no_grad()
def in_use(backbone, tokens, times, pinned):
    """Frame by frame, the first ``pinned`` of them known ahead."""
    past, out = backbone.pasts(8), []
    for t, time in enumerate(times):
        for held in past:
            held.pinning = time if t < pinned else None
        one = [s[:, t : t + 1] for s in tokens]
        out.append(backbone(one, backbone.told(guidance(1, t)), times_T=torch.tensor([time]), past=past))
        for held in past:
            held.pinned, held.pinning = held.pinned + (t < pinned), None
    return [torch.cat(stream, dim=1) for stream in zip(*out, strict=True)]


@torch.no_grad()
def test_a_frame_ahead_says_the_same_in_training_and_from_the_cache(backbone):
    tokens, times = clip(5), [3, 0, 1, 2, 3]
    trained = backbone(tokens, backbone.told(guidance(5)), times_T=torch.tensor(times))
    used = in_use(backbone, tokens, times, pinned=1)
    for one, two in zip(trained, used, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_nearest_frame_ahead_speaks_until_its_time_has_come(backbone):
    tokens = clip(6)
    base = in_use(backbone, tokens, [2, 4, 0, 1, 2, 3], pinned=2)[0]
    for block in backbone.stack.blocks:  # attention along time aside, which sees both all the while
        for part in block.parts[1:2]:
            torch.nn.init.zeros_(part.leave.weight)
    base = in_use(backbone, tokens, [2, 4, 0, 1, 2, 3], pinned=2)[0]
    later = [torch.cat([s[:, :1], s[:, 1:2] + 1, s[:, 2:]], dim=1) for s in tokens]
    moved = in_use(backbone, later, [2, 4, 0, 1, 2, 3], pinned=2)[0]
    changed = [not torch.allclose(base[:, t], moved[:, t]) for t in (2, 3, 4, 5)]
    assert changed == [False, False, True, True]


def test_an_action_is_known_before_a_window_that_is_not_its_track_s_first():
    states, actions = [torch.zeros(6, 2)] * 2, [torch.ones(6, 2)] * 2
    tape = tape_of(states, actions)
    tape.tracks[1].valid_T[2] = False
    assert tape.led(np.array([0, 1, 6, 7, 9])).tolist() == [False, True, False, True, False]
    assert not tape_of(states, actions, acts=False).led(np.array([1, 7])).any()


def test_numbers_are_also_read_off_pictures_that_are_known():
    net = FlowNet.__new__(FlowNet)
    torch.nn.Module.__init__(net)
    net.noise, net.entries, net.plain = NoiseConfig(), (4, 3), [False, True]
    sure = 1 - net.noise.memory
    net.register_buffer("sure_S", torch.tensor([sure, 1 - net.noise.exact]))
    net.register_buffer("plain_S", torch.tensor(net.plain))
    torch.manual_seed(0)
    level, _, moves, _ = net._levels(512, 6, torch.device("cpu"))
    pictures = level[..., 0][moves[..., 1]]
    assert 0.15 < float((pictures == sure).float().mean()) < 0.45
    assert bool(((pictures == 0) | (pictures == sure)).all())
    assert not bool((moves[..., 0] & moves[..., 1]).any())
