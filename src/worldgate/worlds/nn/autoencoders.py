"""Encoders of pictures to places and decoders back: small convolutions, and a masked transformer.

Source: space-to-depth convolutions as in DESIGN §3's trial; masked autoencoding arXiv 2111.06377 with latent tokens as
in arXiv 2509.24527. Both see pictures of any number of channels, beside the context that they are encoded against.

Shape legend: N pictures, I channels that enter, O that leave, S pixels a side, P places, L = S / 8 places a side,
C channels of a place, V cameras.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.worlds.nn.attention import SpaceTime, grid_positions
from worldgate.worlds.nn.blocks import Residual

STRIDE = 8
_PATCH = 4


class Core(Protocol):
    """What a tokenizer is built around; an ``nn.Module``."""

    places: int
    width: int
    """Channels of a place on the inner side, before and after the bottleneck."""
    crops: bool
    """Whether it also works on parts of a picture."""

    def encode(self, x_NISS: Tensor, view_N: Tensor) -> Tensor:
        """(N, P, width)."""
        ...

    def decode(self, x_NPC: Tensor, view_N: Tensor) -> Tensor:
        """(N, O, S, S)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvConfig:
    """Size of the convolutions."""

    coarse: int = 64
    """Channels at 1/8 of the size."""
    fine: int = 32
    """Channels at 1/4 of the size."""


class ConvCore(nn.Module):
    """Residual convolutions at a quarter and an eighth of the size."""

    crops = True

    def __init__(self, config: ConvConfig, *, enters: int, leaves: int, views: int, size: int) -> None:
        super().__init__()
        fine, coarse = config.fine, config.coarse
        self.places, self.width = (size // STRIDE) ** 2, coarse
        self.enter = nn.Conv2d(enters * _PATCH**2, fine, 3, padding=1)
        self.camera_VF = nn.Parameter(torch.zeros(views, fine))
        self.down = nn.Sequential(
            Residual(fine), nn.PixelUnshuffle(2), nn.Conv2d(4 * fine, coarse, 1), Residual(coarse)
        )
        self.camera_VC = nn.Parameter(torch.zeros(views, coarse))
        self.spread = nn.Conv2d(coarse, coarse, 3, padding=1)
        self.up = nn.Sequential(
            Residual(coarse), nn.Conv2d(coarse, 4 * fine, 1), nn.PixelShuffle(2), Residual(fine), nn.SiLU()
        )
        self.leave = nn.Conv2d(fine, leaves * _PATCH**2, 3, padding=1)

    def encode(self, x_NISS: Tensor, view_N: Tensor) -> Tensor:
        """(N, I, S, S) to (N, P, C)."""
        hidden = self.enter(functional.pixel_unshuffle(x_NISS, _PATCH)) + self.camera_VF[view_N][..., None, None]
        return functional.silu(self.down(hidden)).flatten(2).transpose(1, 2)

    def decode(self, x_NPC: Tensor, view_N: Tensor) -> Tensor:
        """(N, P, C) to (N, O, S, S)."""
        side = round(x_NPC.shape[1] ** 0.5)
        hidden = torch.unflatten(x_NPC.transpose(1, 2), 2, (side, side))
        hidden = self.up(self.spread(hidden) + self.camera_VC[view_N][..., None, None])
        return functional.pixel_shuffle(self.leave(hidden), _PATCH)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedConfig:
    """Size of the masked transformer."""

    width: int = 128
    depth: int = 3
    """Layers of the encoder, and of the decoder."""
    heads: int = 4
    latents: int = 64
    """Tokens that a picture becomes."""
    masked: float = 0.75
    """Largest share of patches hidden while training; each picture draws its own, from none to this."""


class MaskedCore(nn.Module):
    """Latent tokens read patches, of which some are hidden while training, and are read by patches again."""

    crops = False

    def __init__(self, config: MaskedConfig, *, enters: int, leaves: int, views: int, size: int) -> None:
        super().__init__()
        self.config, self.side = config, size // STRIDE
        width = self.width = config.width
        self.places, patches = config.latents, self.side**2
        self.enter = nn.Linear(enters * STRIDE**2, width)
        self.leave = nn.Linear(width, leaves * STRIDE**2)
        self.hidden_D = nn.Parameter(0.02 * torch.randn(width))
        self.asking_PD = nn.Parameter(0.02 * torch.randn(patches, width))
        self.latent_PD = nn.Parameter(0.02 * torch.randn(config.latents, width))
        self.camera_VD = nn.Parameter(torch.zeros(views, width))
        self.encoder = SpaceTime(width, config.depth, config.heads, time_every=0)
        self.decoder = SpaceTime(width, config.depth, config.heads, time_every=0)
        side = config.latents**0.5
        spots = grid_positions(round(side), round(side)) * (self.side / side) if side == round(side) else None
        latents = torch.zeros(config.latents, 2) if spots is None else spots
        where = torch.cat([grid_positions(self.side, self.side).float(), latents.float()])
        self.register_buffer("where_PA", where, persistent=False)

    where_PA: Tensor

    def encode(self, x_NISS: Tensor, view_N: Tensor) -> Tensor:
        """(N, I, S, S) to (N, P, D)."""
        patches = self.enter(functional.pixel_unshuffle(x_NISS, STRIDE).flatten(2).transpose(1, 2))
        if self.training and self.config.masked:
            share_N1 = self.config.masked * torch.rand(len(patches), 1, device=patches.device)
            hide = torch.rand(patches.shape[:2], device=patches.device) < share_N1
            patches = torch.where(hide.unsqueeze(-1), self.hidden_D.to(patches.dtype), patches)
        return self._through(self.encoder, patches, self.latent_PD, view_N)[:, self.side**2 :]

    def decode(self, x_NPC: Tensor, view_N: Tensor) -> Tensor:
        """(N, P, D) to (N, O, S, S)."""
        asking = self.asking_PD.expand(len(x_NPC), -1, -1)
        patches = self._through(self.decoder, asking, x_NPC, view_N)[:, : self.side**2]
        flat = self.leave(patches).transpose(1, 2)
        return functional.pixel_shuffle(torch.unflatten(flat, 2, (self.side, self.side)), STRIDE)

    def _through(self, layers: SpaceTime, patches: Tensor, latents: Tensor, view_N: Tensor) -> Tensor:
        tokens = torch.cat([patches, latents.to(patches.dtype).expand(len(patches), -1, -1)], dim=1)
        tokens = tokens + self.camera_VD[view_N].unsqueeze(1).to(tokens.dtype)
        out: Tensor = layers(tokens.unsqueeze(1), self.where_PA).squeeze(1)
        return out
