"""The convolutions around the transformer."""

from __future__ import annotations

import pytest
import torch

from worldgate.worlds.nn.local import Local, Plain, around
from worldgate.worlds.nn.streams import NetConfig, StreamShape

NET = NetConfig(width=16, near=8)
CAMERA = StreamShape(name="camera", side=4, patch=2)
NUMBERS = StreamShape(name="state", side=1)


def made(shape, numbers=3):
    torch.manual_seed(0)
    return around(shape, NET, enter=24, leave=12, numbers=numbers)


def told(numbers=3, frames=5):
    return torch.randn(2, frames, numbers), torch.randn(2, frames, NET.width)


@pytest.mark.parametrize(("shape", "kind"), [(CAMERA, Local), (NUMBERS, Plain)])
@pytest.mark.parametrize("numbers", [0, 3])
def test_shapes_and_silence_at_first(shape, kind, numbers):
    way = made(shape, numbers)
    maps = [torch.randn(2, 5, shape.tokens, 12) for _ in range(2)]
    near, tokens = way.stem(maps, *told(numbers))
    assert isinstance(way, kind)
    assert tokens.shape == (2, 5, shape.tokens, 16)
    out = way.head(near, tokens, *told(numbers))
    assert out.shape == (2, 5, shape.tokens, 12)
    assert not bool(out.any())


def spoken(way):
    for held in way.parameters():
        torch.nn.init.normal_(held, std=0.3)
    return way


@torch.no_grad()
def test_a_place_speaks_to_its_neighbours_and_not_to_other_frames():
    way, (numbers, every) = spoken(made(CAMERA)), told()
    maps = [torch.randn(2, 5, 4, 12) for _ in range(2)]

    def answer(maps):
        near, tokens = way.stem(maps, numbers, every)
        return way.head(near, torch.zeros_like(tokens), numbers, every)

    moved = [maps[0].clone(), maps[1]]
    moved[0][0, 2, 0] += 1  # the upper left token of one frame of one sequence
    changed = (answer(maps) != answer(moved)).any(dim=-1)
    assert changed[0, 2].all(), "its convolutions reach across the whole picture"
    changed[0, 2] = False
    assert not bool(changed.any())


@torch.no_grad()
def test_numbers_are_painted_onto_places():
    way, (numbers, every) = spoken(made(CAMERA)), told()
    maps = [torch.zeros(2, 5, 4, 12) for _ in range(2)]
    other = numbers.clone()
    other[1, 3] += 1
    one, two = (way.stem(maps, held, every)[1] for held in (numbers, other))
    assert not torch.equal(one[1, 3], two[1, 3])
    assert torch.equal(one[0], two[0])
