"""From one camera's picture to a vector: a strided convolution for CPUs, a transformer over patches for GPUs.

Source: strided trunk after EB-JEPA's small encoders (arXiv 2602.03604), patches as in ViT (arXiv 2010.11929), the
projector with batch normalisation inside as in LeWM (arXiv 2603.19312). Notable choices: the first convolution strides
by four and nothing in the trunk is normalised, which on a CPU is several times faster than a stride of two with group
norms; the projector's hidden layer is batch normalised, because a latent that is normalised by its own length cannot
become an isotropic Gaussian.

Shape legend: N pictures, S pixels a side, C channels, F features, D latent.
"""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor, nn

from worldgate.worlds.nn.attention import SpaceTime, grid_positions

_STEM = 4
_PATCH = 8
_HEADS = 4


class Trunk(StrEnum):
    """How a picture is looked at."""

    STRIDED = "strided"
    """Strided convolutions; the fastest on a CPU."""
    PATCHES = "patches"
    """Attention over patches of 8 x 8 pixels; for GPUs."""


def make_trunk(kind: Trunk, size: int, width: int) -> tuple[nn.Module, int]:
    """A trunk for pictures of ``size`` pixels a side, and how many features it gives."""
    return _patches(size, width) if kind is Trunk.PATCHES else _strided(size, width)


def _strided(size: int, width: int) -> tuple[nn.Module, int]:
    layers: list[nn.Module] = [nn.Conv2d(3, width, _STEM, stride=_STEM), nn.SiLU()]
    side, channels = size // _STEM, width
    while side > _STEM:
        layers += [nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1), nn.SiLU()]
        side, channels = (side + 1) // 2, 2 * channels
    return nn.Sequential(*layers, nn.Flatten()), channels * side * side


class _Patches(nn.Module):
    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, width, _PATCH, stride=_PATCH)
        self.mix = SpaceTime(width, 6, _HEADS, time_every=0)
        self.register_buffer("places_P2", grid_positions(size // _PATCH, size // _PATCH).float(), persistent=False)

    places_P2: Tensor

    def forward(self, pictures_N3SS: Tensor) -> Tensor:
        """(N, F): the mean over patches."""
        tokens_NPF = self.enter(pictures_N3SS).flatten(2).transpose(1, 2)
        mixed: Tensor = self.mix(tokens_NPF.unsqueeze(1), self.places_P2)
        return mixed.squeeze(1).mean(dim=1)


def _patches(size: int, width: int) -> tuple[nn.Module, int]:
    return _Patches(size, width), width


class Projector(nn.Module):
    """Features to a latent; batch normalisation in between, whose statistics are measured, not averaged on the way."""

    def __init__(self, features: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(features, hidden), nn.Linear(hidden, latent)
        self.norm = nn.BatchNorm1d(hidden, momentum=None)

    def forward(self, features_NF: Tensor) -> Tensor:
        """(N, D)."""
        hidden: Tensor = self.norm(self.enter(features_NF))
        out: Tensor = self.leave(nn.functional.silu(hidden))
        return out

    @torch.no_grad()
    def forget(self) -> None:
        """Measure the statistics anew from what comes next in training mode."""
        self.norm.reset_running_stats()
