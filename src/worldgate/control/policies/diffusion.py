"""Diffusion: chunks of actions drawn by taking noise away, in a few steps.

Source: Diffusion Policy, arXiv 2303.04137, in its transformer form; DDIM, arXiv 2010.02502; cosine schedule, arXiv
2102.09672; velocity as the target, arXiv 2202.00512. Notable choices: what is seen is encoded once a chunk, not once a
step; estimates are held to the range of the actions it learned from.

Shape legend: B batch, K actions of a chunk, A action channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from worldgate.control.policies import _chunks
from worldgate.control.policies._acting import ChunkPolicy, built
from worldgate.control.policies._chunks import ChunkConfig, Cloned, masked, sight_of
from worldgate.control.policies._nets import Denoiser, NetConfig, Sight
from worldgate.core.normalisers import Normaliser, Statistics
from worldgate.fleet.releases import Release
from worldgate.worlds.sizes import Size
from worldgate.worlds.tracks import Layout

CARD = {
    "line": "action chunks by diffusion: a transformer takes noise away in a few deterministic steps",
    "inputs": "states, colour cameras; goals of the same streams where asked",
    "needs": "models",
    "source": "Diffusion Policy, arXiv 2303.04137; DDIM, arXiv 2010.02502",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(ChunkConfig):
    """Configuration of ``diffusion``."""

    steps: int = 10
    """Steps in which a chunk is drawn."""


class Diffusion(nn.Module):
    """Fulfils :class:`worldgate.control.policies._chunks.Head`."""

    def __init__(self, sight: Sight, net: NetConfig, steps: int) -> None:
        super().__init__()
        self.steps, self.shape = steps, (sight.chunk, sight.action)
        self.net = Denoiser(sight, net)
        self.low, self.high = torch.full((sight.action,), -math.inf), torch.full((sight.action,), math.inf)

    def bound(self, statistics: Statistics) -> None:
        """Hold estimates to the range that was measured."""
        if statistics.min:
            low, high = (statistics.apply(torch.tensor(v, dtype=torch.float64).numpy()) for v in
                         (statistics.min, statistics.max))  # fmt: skip
            self.low, self.high = torch.from_numpy(low).float(), torch.from_numpy(high).float()

    def loss(self, chunk_BKA: Tensor, there_BK: Tensor, seen: dict[str, Tensor]) -> Tensor:
        """Mean squared error of the velocity at a random level of noise."""
        level_B, noise_BKA = torch.rand(len(chunk_BKA), device=chunk_BKA.device), torch.randn_like(chunk_BKA)
        signal_B11, spread_B11 = (part[:, None, None] for part in _parts(level_B))
        told = self.net(signal_B11 * chunk_BKA + spread_B11 * noise_BKA, level_B, self.net.seeing(seen))
        return masked((told - (signal_B11 * noise_BKA - spread_B11 * chunk_BKA)).square(), there_BK)

    def sample(self, seen: dict[str, Tensor], random: torch.Generator) -> Tensor:
        """(B, K, A) by DDIM."""
        memory = self.net.seeing(seen)
        x = torch.randn(len(memory), *self.shape, generator=random)
        levels = torch.linspace(1, 0, self.steps + 1)
        clean = x
        for level, after in pairwise(levels):
            (signal, spread), (next_signal, next_spread) = _parts(level), _parts(after)
            velocity = self.net(x, level.expand(len(x)), memory)
            clean = (signal * x - spread * velocity).clamp(self.low, self.high)
            noise = (x - signal * clean) / spread
            x = next_signal * clean + next_spread * noise
        return clean


def _parts(level: Tensor) -> tuple[Tensor, Tensor]:
    """How much of the signal and how much noise there is at a level: cosine and sine; never none of the signal."""
    angle = (math.pi / 2) * (0.002 + 0.996 * level)
    return angle.cos(), angle.sin()


def debug() -> Config:
    """Trains in seconds."""
    return _chunks.tiny(Config(steps=4))


def sized(size: Size) -> Config:
    """The configuration of a size."""
    return _chunks.sized(Config(), size)


def create(config: Config, layout: Layout, normaliser: Normaliser) -> Cloned:
    """An untrained policy."""
    head = Diffusion(sight_of(config, layout), config.net, config.steps)
    return Cloned("diffusion", config, layout, normaliser, head, about={}, post={"steps": float(config.steps)})


def build(release: Release, weights: Mapping[str, bytes]) -> ChunkPolicy:
    """See :class:`worldgate.control.policies.PolicyModule`."""
    return built(release, weights, _make)


def _make(sight: Sight, net: NetConfig, about: Mapping[str, Any], release: Release) -> Diffusion:
    head = Diffusion(sight, net, int(release.post["steps"]))
    head.bound(release.normaliser.statistics(release.action.name))
    return head
