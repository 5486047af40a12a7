"""Crops around what differs from the empty scene: most of a picture stands still, and teaches the same thing again.

Shape legend: N clips, T frames, S pixels a side, L = S / 8 places a side, I channels of a field.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from worldgate.worlds.nn.autoencoders import STRIDE

LEAST: Final = 4
"""Places a side of the smallest crop, which still shows convolutions what is beside a thing."""
_ANYWHERE: Final = 0.25
"""Share of crops from anywhere."""
_DIFFERS: Final = 0.12
"""Of a field that reaches from -1 to 1: fifteen grey levels."""


def busy(field_NTISS: Tensor, scene_NISS: Tensor) -> Tensor:
    """(N, L, L) where anything differs from the empty scene."""
    apart_NSS = (field_NTISS - scene_NISS.unsqueeze(1)).abs().amax(dim=(1, 2)) > _DIFFERS
    return functional.max_pool2d(apart_NSS.float().unsqueeze(1), STRIDE).squeeze(1) > 0


def corners(busy_NLL: Tensor, side: int, rng: torch.Generator) -> Tensor:
    """(N, 2) upper left places of crops of ``side`` places, around what is busy or anywhere."""
    count, grid = busy_NLL.shape[:2]
    weights = busy_NLL.flatten(1).float()
    still = (weights.sum(dim=1, keepdim=True) == 0) | (torch.rand(count, 1, generator=rng) < _ANYWHERE)
    place_N = torch.multinomial(torch.where(still, 1.0, weights), 1, generator=rng).squeeze(1)
    at_N2 = torch.stack([place_N // grid, place_N % grid], dim=1)
    return (at_N2 - torch.randint(side, (count, 2), generator=rng)).clamp(0, grid - side)


def cut(pictures: Tensor, corner_N2: Tensor, side: int, *, rows: int) -> Tensor:
    """Crops of raw pictures, whose rows are this dimension and columns the next."""
    pixels = side * STRIDE
    each = zip(pictures, (corner_N2 * STRIDE).tolist(), strict=True)
    return torch.stack([one.narrow(rows - 1, top, pixels).narrow(rows, left, pixels) for one, (top, left) in each])
