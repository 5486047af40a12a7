"""Crops that tokenizers learn from: around what moves, as the picture shows it, not where a core needs all of it."""

from __future__ import annotations

import torch

from worldgate.worlds.nn.autoencoders import ConvConfig, ConvCore, MaskedConfig, MaskedCore
from worldgate.worlds.tokenizers._crops import busy, corners, cut


def moving(count=200, size=64, at=(40, 8)):
    """Fields of two frames, in the second of which one place of 8 x 8 differs from the empty scene."""
    scene = torch.rand(count, 3, size, size) - 0.5
    clip = scene.unsqueeze(1).repeat(1, 2, 1, 1, 1)
    clip[:, 1, :, at[0] : at[0] + 8, at[1] : at[1] + 8] += 0.4
    return clip, scene


def test_what_differs_in_any_frame_is_busy_and_grain_is_not():
    clip, scene = moving(count=3)
    found = busy(clip + 0.02 * torch.randn_like(clip), scene)
    assert found.nonzero().tolist() == [[n, 5, 1] for n in range(3)]


def test_most_crops_hold_what_moves_at_every_place_of_theirs_and_some_are_from_anywhere():
    found = busy(*moving())
    at = corners(found, 4, torch.Generator().manual_seed(0))
    assert bool(((at >= 0) & (at <= 4)).all()), "crops stay within the picture"
    holds = (at[:, 0] <= 5) & (at[:, 0] + 4 > 5) & (at[:, 1] <= 1) & (at[:, 1] + 4 > 1)
    assert 0.75 < float(holds.float().mean()) < 1.0
    assert set(at[holds, 0].tolist()) == {2, 3, 4}, "not always in the middle"
    still = corners(torch.zeros(200, 8, 8, dtype=torch.bool), 4, torch.Generator().manual_seed(0))
    assert len(still.unique(dim=0)) > 15, "where nothing moves, crops come from anywhere"


def test_a_crop_is_what_the_picture_shows_there():
    pictures = torch.arange(2 * 3 * 64 * 64 * 3).reshape(2, 3, 64, 64, 3)
    out = cut(pictures, torch.tensor([[0, 4], [3, 1]]), 4, rows=2)
    assert torch.equal(out[0], pictures[0, :, :32, 32:])
    assert torch.equal(out[1], pictures[1, :, 24:56, 8:40])
    scenes = pictures[:, 0]
    assert torch.equal(cut(scenes, torch.tensor([[0, 4], [3, 1]]), 4, rows=1), out[:, 0])


def test_convolutions_say_of_a_crop_what_they_say_of_the_whole_and_a_masked_transformer_says_it_cannot():
    torch.manual_seed(0)
    core = ConvCore(ConvConfig(coarse=8, fine=8), enters=3, leaves=3, views=1, size=128)
    picture, view = torch.randn(1, 3, 128, 128), torch.zeros(1, dtype=torch.long)
    whole = torch.unflatten(core.encode(picture, view), 1, (16, 16))
    part = torch.unflatten(core.encode(picture[..., 16:112, 16:112], view), 1, (12, 12))
    assert core.crops
    assert torch.allclose(part[:, 2:-2, 2:-2], whole[:, 4:-4, 4:-4], atol=1e-5), "away from its edges"
    assert not MaskedCore(MaskedConfig(), enters=3, leaves=3, views=1, size=64).crops
