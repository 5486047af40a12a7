"""Small convolutions shared by tokenizers and video families.

Shape legend: N pictures, C channels, H x W places.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside a skip; starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        assert self.second.bias is not None
        nn.init.zeros_(self.second.bias)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        hidden = self.first(nn.functional.silu(x_NCHW))
        out: Tensor = x_NCHW + self.second(nn.functional.silu(hidden))
        return out


class FilmResidual(nn.Module):
    """A residual block whose hidden channels are scaled and shifted by a condition (FiLM, arXiv 1709.07871)."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(condition, 2 * channels)
        for zero in (self.second.weight, self.second.bias, self.film.weight, self.film.bias):
            assert zero is not None
            nn.init.zeros_(zero)
        nn.init.normal_(self.film.weight, std=0.02)

    def forward(self, x_NCHW: Tensor, condition_NE: Tensor) -> Tensor:
        """(N, C, H, W) under (N, E) to (N, C, H, W)."""
        scale, shift = self.film(condition_NE)[..., None, None].chunk(2, dim=1)
        hidden = self.first(nn.functional.silu(x_NCHW)) * (1 + scale) + shift
        out: Tensor = x_NCHW + self.second(nn.functional.silu(hidden))
        return out


class PlaceMap(nn.Module):
    """Paints a vector onto a grid: what a robot state says about each place of the picture."""

    def __init__(self, inputs: int, channels: int, grid: int, *, width: int = 96) -> None:
        super().__init__()
        self.channels, self.grid = channels, grid
        self.inner = nn.Linear(inputs, width)
        self.hidden = nn.Linear(width, width)
        self.outer = nn.Linear(width, channels * grid * grid)

    def forward(self, vector_NI: Tensor) -> Tensor:
        """(N, I) to (N, C, G, G)."""
        hidden = nn.functional.silu(self.hidden(nn.functional.silu(self.inner(vector_NI))))
        return torch.unflatten(self.outer(hidden), 1, (self.channels, self.grid, self.grid))
