"""Positions, causality and the cache of the space-time transformer."""

from __future__ import annotations

import pytest
import torch

from worldgate.worlds.nn.attention import SpaceTime, grid_positions, rotate, rotations
from worldgate.worlds.nn.causal import Shrink, Stretch


def layers(**options):
    """A stack whose residual branches do something, unlike those of a fresh one."""
    torch.manual_seed(0)
    made = SpaceTime(32, 4, 4, **options)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made.train(False)


def tokens(frames=6, places=5, width=32):
    return torch.randn(2, frames, places, width, generator=torch.Generator().manual_seed(1))


WHERE = torch.arange(5)[:, None]


def test_rotary_products_depend_on_distance_alone():
    query, key = torch.randn(2, 1, 1, 1, 16).unbind(0)
    turned = [
        (rotate(query, rotations(torch.tensor([[a]]), 16)) * rotate(key, rotations(torch.tensor([[b]]), 16))).sum()
        for a, b in ((0, 3), (500, 503), (7, 10))
    ]
    assert torch.allclose(torch.stack(turned), turned[0].expand(3), atol=1e-4)


def test_two_axes_turn_their_own_pairs():
    turned = rotations(grid_positions(3, 4), 12)
    assert turned.shape == (2, 12, 6)
    assert torch.equal(turned[:, 0, :3], turned[:, 3, :3]), "one row"
    assert torch.equal(turned[:, 0, 3:], turned[:, 4, 3:]), "one column"


@torch.no_grad()
def test_no_frame_sees_a_later_one():
    stack, x = layers(), tokens()
    changed = x.clone()
    changed[:, 4:] += 1
    one, two = stack(x, WHERE), stack(changed, WHERE)
    assert torch.allclose(one[:, :4], two[:, :4], atol=1e-6)
    assert not torch.allclose(one[:, 4:], two[:, 4:], atol=1e-2)


@torch.no_grad()
def test_frame_by_frame_from_the_cache_equals_all_at_once():
    stack, x = layers(), tokens()
    past = stack.pasts(window=6)
    parts = [stack(x[:, t : t + 1], WHERE, times_T=torch.tensor([t]), past=past) for t in range(6)]
    assert torch.allclose(torch.cat(parts, dim=1), stack(x, WHERE), atol=1e-5)
    again = stack.pasts(window=6)
    two = [stack(x[:, a:b], WHERE, times_T=torch.arange(a, b), past=again) for a, b in ((0, 3), (3, 6))]
    assert torch.allclose(torch.cat(two, dim=1), stack(x, WHERE), atol=1e-5)


@torch.no_grad()
def test_a_frame_that_is_still_being_made_leaves_nothing_in_the_cache():
    stack, x = layers(), tokens()
    past = stack.pasts(window=6)
    stack(x[:, :3], WHERE, past=past)
    held = [(p.keys.clone(), p.values.clone()) for p in past]
    for p in past:
        p.keep = False
    stack(x[:, 3:4], WHERE, times_T=torch.tensor([3]), past=past)
    assert all(torch.equal(p.keys, k) and torch.equal(p.values, v) for p, (k, v) in zip(past, held, strict=True))


@torch.no_grad()
def test_a_window_forgets_its_oldest_frames_and_stays_as_long():
    stack, x = layers(), tokens(frames=12)
    past = stack.pasts(window=3)
    for t in range(12):
        stack(x[:, t : t + 1], WHERE, times_T=torch.tensor([t]), past=past)
    assert {p.keys.shape[2] for p in past} == {3}


@torch.no_grad()
def test_a_condition_moves_the_result_of_its_frame_and_of_later_ones_only():
    stack = layers(conditioned=True)
    x, plain = tokens(), torch.zeros(2, 6, 3, 32)
    moved = plain.clone()
    moved[:, 2] = 1
    one, two = (stack(x, WHERE, condition_NT3D=c) for c in (plain, moved))
    assert torch.allclose(one[:, :2], two[:, :2], atol=1e-6)
    assert not torch.allclose(one[:, 2], two[:, 2], atol=1e-2)


def test_layers_that_look_along_time_are_spread_and_end_the_stack():
    assert [b.time for b in layers(time_every=2).blocks] == [False, True, False, True]
    assert not any(b.time for b in layers(time_every=0).blocks)


@pytest.mark.parametrize("ratio", [1, 4])
def test_time_shrinks_and_stretches_back_without_a_look_ahead(ratio):
    torch.manual_seed(0)
    shrink, stretch = Shrink(8, ratio), Stretch(8, ratio)
    for module in (shrink, stretch):
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 9, 3, 8)
    changed = x.clone()
    changed[:, 5:] += 1
    one, two = shrink(x), shrink(changed)
    kept = 5 if ratio == 1 else 2
    assert stretch(one).shape == x.shape
    assert torch.equal(one[:, :kept], two[:, :kept])
    assert torch.equal(stretch(one)[:, :5], stretch(two)[:, :5])
