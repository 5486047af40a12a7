"""What surrounds the transformer: convolutions over the places of a camera, plain layers for numbers.

Source: convolutions around a transformer as in U-ViT (arXiv 2209.12152), FiLM (arXiv 1709.07871). Notable choices: that
things move when they are touched is what a convolution is born with and a small transformer learns last, so places are
mixed before they join tokens and again after; the numbers of a frame are painted onto its places, so that a picture is
drawn where the arm will be.

Shape legend: N sequences, T frames, G tokens, X entries of a token, D width of a token, B frames of all sequences, S
places a side, L channels of a place, I numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from worldgate.worlds.nn.blocks import FilmResidual, PlaceMap
from worldgate.worlds.nn.streams import NetConfig, StreamShape, patched, unpatched

_PAINTED = 16
"""Channels in which the numbers of a frame are painted onto its places."""
_PLACED = 4
"""Channels that say where a place is."""


class Around(Protocol):
    """One stream's way into the transformer and out of it."""

    def stem(self, maps: Sequence[Tensor], numbers_NTI: Tensor, told_NTD: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (N, T, G, X) of one stream to what :meth:`head` needs, and to tokens (N, T, G, D).

        Args:
            maps: of the same frames.
            numbers_NTI: what is known of all numbers of these frames.
            told_NTD: what else is.
        """
        ...

    def head(self, kept: Tensor, tokens_NTGD: Tensor, numbers_NTI: Tensor, told_NTD: Tensor) -> Tensor:
        """What :meth:`stem` kept, and what the transformer made of its tokens, to (N, T, G, X); zero at first."""
        ...


def around(shape: StreamShape, net: NetConfig, *, enter: int, leave: int, numbers: int) -> nn.Module:
    """What surrounds the transformer for a stream, an :class:`Around`.

    Args:
        shape: of the stream.
        net: sizes.
        enter: entries of a token that go in.
        leave: entries of a token that come out.
        numbers: I, may be 0.
    """
    if shape.side == 1:
        return Plain(enter, leave, net.width)
    return Local(shape, net, enter=enter // shape.patch**2, leave=leave // shape.patch**2, numbers=numbers)


class Plain(nn.Module):
    """Numbers, one token a frame."""

    def __init__(self, enter: int, leave: int, width: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(enter, width), nn.Linear(width, leave)
        _silence(self.leave)

    def stem(self, maps: Sequence[Tensor], numbers_NTI: Tensor, told_NTD: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Around`; nothing is kept."""
        return numbers_NTI, self.enter(torch.cat(list(maps), dim=-1))

    def head(self, kept: Tensor, tokens_NTGD: Tensor, numbers_NTI: Tensor, told_NTD: Tensor) -> Tensor:
        """See :class:`Around`."""
        out: Tensor = self.leave(tokens_NTGD)
        return out


class Local(nn.Module):
    """One camera.

    Args:
        shape: of its places.
        net: sizes.
        enter: channels of a place that go in.
        leave: channels of a place that come out.
        numbers: I, may be 0.
    """

    def __init__(self, shape: StreamShape, net: NetConfig, *, enter: int, leave: int, numbers: int) -> None:
        super().__init__()
        self.shape, near = shape, net.near
        self.place_LSS = nn.Parameter(torch.zeros(_PLACED, shape.side, shape.side))
        self.paint = PlaceMap(numbers, _PAINTED, shape.side) if numbers else None
        self.enter = nn.Conv2d(enter + _PLACED + (_PAINTED if numbers else 0), near, 3, padding=1)
        self.before, self.after = (FilmResidual(near, numbers + net.width) for _ in range(2))
        self.up = nn.Linear(near * shape.patch**2, net.width)
        self.down = nn.Linear(net.width, near * shape.patch**2)
        self.leave = nn.Conv2d(near, leave, 3, padding=1)
        _silence(self.down)
        _silence(self.leave)

    def stem(self, maps: Sequence[Tensor], numbers_NTI: Tensor, told_NTD: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Around`; kept is (B, L, S, S)."""
        parts = [self._places(m) for m in maps]
        parts.append(self.place_LSS.expand(len(parts[0]), -1, -1, -1))
        if self.paint is not None:
            parts.append(self.paint(numbers_NTI.flatten(0, 1)))
        near = self.before(self.enter(torch.cat(parts, dim=1)), _joined(numbers_NTI, told_NTD))
        return near, self.up(self._tokens(nn.functional.silu(near), len(told_NTD)))

    def head(self, kept: Tensor, tokens_NTGD: Tensor, numbers_NTI: Tensor, told_NTD: Tensor) -> Tensor:
        """See :class:`Around`."""
        near = self.after(kept + self._places(self.down(tokens_NTGD)), _joined(numbers_NTI, told_NTD))
        return self._tokens(self.leave(nn.functional.silu(near)), len(told_NTD))

    def _places(self, tokens_NTGX: Tensor) -> Tensor:
        """(B, L, S, S)."""
        places_BLP = unpatched(tokens_NTGX, self.shape).transpose(-1, -2).flatten(0, 1)
        return torch.unflatten(places_BLP, -1, (self.shape.side, -1))

    def _tokens(self, places_BLSS: Tensor, sequences: int) -> Tensor:
        """(N, T, G, X)."""
        return patched(torch.unflatten(places_BLSS.flatten(2).transpose(1, 2), 0, (sequences, -1)), self.shape)


def _joined(numbers_NTI: Tensor, told_NTD: Tensor) -> Tensor:
    return torch.cat([numbers_NTI, told_NTD], dim=-1).flatten(0, 1)


def _silence(layer: nn.Linear | nn.Conv2d) -> None:
    """Make a layer say nothing at first."""
    assert layer.bias is not None
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
