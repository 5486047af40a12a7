"""A diffusion world model of DIAMOND's size, written from its paper: a U-Net on pixels with EDM's preconditioning.

Sources: DIAMOND (arXiv 2405.12399): four past frames stacked as channels, what was done in them by adaptive group
normalisation, 64 channels on four levels of two residual blocks without attention, three Euler steps; EDM (arXiv
2206.00364): preconditioning, noise levels from a normal on their logarithm, steps by rho 7. Data deviation 0.5, ln
sigma ~ N(-0.4, 1.2^2), offset noise 0.3, sigma from 5 to 0.002.

Shape legend: N clips, C channels, S pixels a side, E entries told a step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from video_learning import CONTEXT, Own, PeerWorld, Stage, Taught

from worldgate.core.worlds import ModelSpec
from worldgate.worlds.tracks import Layout

DATA, LOW, HIGH, RHO, OFFSET = 0.5, 0.002, 5.0, 7.0, 0.3
STEPS = 3
CONDITION = 256


@dataclass(frozen=True, kw_only=True)
class Config:
    """One configuration of the peer."""

    width: int = 64
    """Channels at every level."""
    levels: int = 4
    blocks: int = 2
    patch: int = 1
    """Pixels a side that become one place of the top level."""
    batch: int = 8
    rate: float = 5e-4


CONFIGS: Sequence[Config] = (
    Config(),
    Config(levels=3, patch=2, batch=16, rate=1e-3),
    Config(width=32, levels=3, patch=2, batch=32, rate=2e-3),
)
"""The published one, and two that take four and twelve times as many pictures in the same seconds."""


class Block(nn.Module):
    """Two convolutions with adaptive group normalisation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.told = nn.Linear(CONDITION, 2 * (inputs + outputs))
        self.sizes = (inputs, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, told_NE: Tensor) -> Tensor:
        """(N, inputs, S, S) to (N, outputs, S, S)."""
        inputs, outputs = self.sizes
        one, two = self.told(told_NE)[..., None, None].split([2 * inputs, 2 * outputs], dim=1)
        hidden = self.first(functional.silu(_adapted(x, one)))
        return self.skip(x) + self.second(functional.silu(_adapted(hidden, two)))


def _adapted(x: Tensor, told: Tensor) -> Tensor:
    scale, shift = told.chunk(2, dim=1)
    return functional.group_norm(x, max(1, x.shape[1] // 32)) * (1 + scale) + shift


class UNet(nn.Module):
    """From noisy and past pictures to a picture."""

    def __init__(self, config: Config, told: int) -> None:
        super().__init__()
        width, levels, self.patch = config.width, config.levels, config.patch
        self.enter = nn.Conv2d(3 * (CONTEXT + 1) * self.patch**2, width, 3, padding=1)
        self.down = nn.ModuleList(
            nn.ModuleList(Block(width, width) for _ in range(config.blocks)) for _ in range(levels)
        )
        self.shrink = nn.ModuleList(nn.Conv2d(width, width, 3, 2, 1) for _ in range(levels - 1))
        self.middle = nn.ModuleList(Block(width, width) for _ in range(2))
        self.up = nn.ModuleList(
            nn.ModuleList(Block(2 * width, width) for _ in range(config.blocks)) for _ in range(levels)
        )
        self.grow = nn.ModuleList(nn.Conv2d(width, width, 3, 1, 1) for _ in range(levels - 1))
        self.leave = nn.Conv2d(width, 3 * self.patch**2, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        self.register_buffer("waves", torch.randn(CONDITION // 2) * 2 * math.pi)
        self.told = nn.Sequential(nn.Linear(CONTEXT * told, CONDITION), nn.SiLU(), nn.Linear(CONDITION, CONDITION))
        self.join = nn.Sequential(nn.Linear(CONDITION, CONDITION), nn.SiLU(), nn.Linear(CONDITION, CONDITION))

    waves: Tensor

    def forward(self, x: Tensor, level_N: Tensor, past_NC: Tensor, told_NKE: Tensor) -> Tensor:
        """(N, 3, S, S) from noisy pictures, their level, past pictures as channels and what was known in the steps."""
        wave = level_N[:, None] * self.waves
        told = self.join(torch.cat([wave.cos(), wave.sin()], dim=1) + self.told(told_NKE.flatten(1)))
        hidden = self.enter(functional.pixel_unshuffle(torch.cat([x, past_NC], dim=1), self.patch))
        kept = []
        for i, blocks in enumerate(self.down):
            for block in blocks:
                hidden = block(hidden, told)
                kept.append(hidden)
            if i < len(self.shrink):
                hidden = self.shrink[i](hidden)
        for block in self.middle:
            hidden = block(hidden, told)
        for i, blocks in enumerate(self.up):
            for block in blocks:
                hidden = block(torch.cat([hidden, kept.pop()], dim=1), told)
            if i < len(self.grow):
                hidden = self.grow[i](functional.interpolate(hidden, scale_factor=2.0))
        hidden = functional.silu(functional.group_norm(hidden, max(1, hidden.shape[1] // 32)))
        return functional.pixel_shuffle(self.leave(hidden), self.patch)


class Denoiser(nn.Module):
    """The network between EDM's scalings."""

    def __init__(self, config: Config, told: int) -> None:
        super().__init__()
        self.net = UNet(config, told)

    def _scales(self, sigma_N: Tensor) -> tuple[Tensor, ...]:
        sigma = sigma_N[:, None, None, None]
        into = 1 / (DATA**2 + sigma**2).sqrt()
        return into, (DATA * into) ** 2, sigma * DATA * into

    def forward(self, noisy: Tensor, sigma_N: Tensor, past_NC: Tensor, told_NKE: Tensor) -> Tensor:
        """The clean picture."""
        into, skip, out = self._scales(sigma_N)
        return skip * noisy + out * self.net(into * noisy, sigma_N.log() / 4, past_NC / DATA, told_NKE)

    def loss(self, clean: Tensor, past_NC: Tensor, told_NKE: Tensor) -> Tensor:
        """Squared error of what the network itself should say."""
        sigma_N = torch.exp(-0.4 + 1.2 * torch.randn(len(clean)))
        noise = torch.randn_like(clean) + OFFSET * torch.randn(*clean.shape[:2], 1, 1)
        noisy = clean + sigma_N[:, None, None, None] * noise
        into, skip, out = self._scales(sigma_N)
        said = self.net(into * noisy, sigma_N.log() / 4, past_NC / DATA, told_NKE)
        return functional.mse_loss(said, (clean - skip * noisy) / out)


def levels() -> Tensor:
    """(STEPS + 1,) noise levels from the highest to none."""
    ramp = torch.linspace(0, 1, STEPS)
    high, low = HIGH ** (1 / RHO), LOW ** (1 / RHO)
    return torch.cat([(high + ramp * (low - high)) ** RHO, torch.zeros(1)])


class EdmPainter:
    """Three Euler steps a picture."""

    def __init__(self, net: Denoiser, samples: int, rng: torch.Generator) -> None:
        self.net, self.samples, self.rng = net, samples, rng

    def remember(self, frames_NT3SS: Tensor, told_NKE: Tensor) -> None:
        """The last frames, and what was known in the steps between them."""
        self.past, self.told = frames_NT3SS[:, -CONTEXT:], told_NKE[:, 1 - CONTEXT :]

    def next(self, told_NE: Tensor) -> Tensor:
        """One picture."""
        told = torch.cat([self.told, told_NE[:, None]], dim=1)
        sigmas, past = levels(), self.past.flatten(1, 2)
        x = torch.randn(self.samples, *self.past.shape[2:], generator=self.rng) * sigmas[0]
        for now, after in pairwise(sigmas):
            clean = self.net(x, now.expand(self.samples), past, told)
            x = x + (after - now) * (x - clean) / now
        x = x.clamp(-1, 1)
        self.past, self.told = torch.cat([self.past[:, 1:], x[:, None]], dim=1), told[:, 1:]
        return x


class Edm(Taught[Config]):
    """The peer."""

    def __init__(self, config: Config, layout: Layout, *given: Any) -> None:
        super().__init__(config, layout, *given)
        self.net = Denoiser(config, self.teller.width)

    def modules(self) -> nn.Module:
        """Both networks."""
        return nn.ModuleDict({"teller": self.teller, "net": self.net})

    def stages(self) -> list[Stage]:
        """Telemetry, then the U-Net."""
        config = self.config
        main = Own("denoiser", self.net, self._loss, rate=config.rate, frames=config.batch, share=0.9)
        return [self.teller.stage(self.train), main]

    def _loss(self, rng: np.random.Generator, seen: bool) -> Tensor:
        frames, states, actions = self.clips[seen].draw(rng, self.config.batch)
        return self.net.loss(frames[:, -1], frames[:, :-1].flatten(1, 2), self.teller(states, actions))

    def world(self, spec: ModelSpec) -> Any:
        """Behind the protocol."""
        return PeerWorld(spec, self.teller, lambda samples, rng: EdmPainter(self.net, samples, rng))


create = Edm
