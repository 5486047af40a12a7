"""Flow matching: chunks of actions carried from noise along straight paths.

Source: flow matching, arXiv 2210.02747; as an action head, pi0, arXiv 2410.24164. Notable choices: levels of noise are
drawn as in pi0, more of them where there is much noise; what is seen is encoded once a chunk; Euler steps.

Shape legend: B batch, K actions of a chunk, A action channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from worldgate.control.policies import _chunks
from worldgate.control.policies._acting import ChunkPolicy, built
from worldgate.control.policies._chunks import ChunkConfig, Cloned, masked, sight_of
from worldgate.control.policies._nets import Denoiser, NetConfig, Sight
from worldgate.core.normalisers import Normaliser
from worldgate.fleet.releases import Release
from worldgate.worlds.sizes import Size
from worldgate.worlds.tracks import Layout

CARD = {
    "line": "action chunks by flow matching: noise is carried to actions along straight paths",
    "inputs": "states, colour cameras; goals of the same streams where asked",
    "needs": "models",
    "source": "flow matching, arXiv 2210.02747; pi0, arXiv 2410.24164",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(ChunkConfig):
    """Configuration of ``flow``."""

    steps: int = 8
    """Steps in which a chunk is drawn."""


class Flow(nn.Module):
    """Fulfils :class:`worldgate.control.policies._chunks.Head`."""

    def __init__(self, sight: Sight, net: NetConfig, steps: int) -> None:
        super().__init__()
        self.steps, self.shape = steps, (sight.chunk, sight.action)
        self.net = Denoiser(sight, net)

    def loss(self, chunk_BKA: Tensor, there_BK: Tensor, seen: dict[str, Tensor]) -> Tensor:
        """Mean squared error of the direction from noise to the chunk; level 1 is noise."""
        # u^(2/3) has the density Beta(1.5, 1): it leans towards noise.
        level_B = torch.rand(len(chunk_BKA), device=chunk_BKA.device) ** (2 / 3)
        noise_BKA, level_B11 = torch.randn_like(chunk_BKA), level_B[:, None, None]
        told = self.net(level_B11 * noise_BKA + (1 - level_B11) * chunk_BKA, level_B, self.net.seeing(seen))
        return masked((told - (chunk_BKA - noise_BKA)).square(), there_BK)

    def sample(self, seen: dict[str, Tensor], random: torch.Generator) -> Tensor:
        """(B, K, A) by Euler steps."""
        memory = self.net.seeing(seen)
        x = torch.randn(len(memory), *self.shape, generator=random)
        for step in range(self.steps):
            level = torch.full((len(x),), 1 - step / self.steps)
            x = x + self.net(x, level, memory) / self.steps
        return x


def debug() -> Config:
    """Trains in seconds."""
    return _chunks.tiny(Config(steps=4))


def sized(size: Size) -> Config:
    """The configuration of a size."""
    return _chunks.sized(Config(), size)


def create(config: Config, layout: Layout, normaliser: Normaliser) -> Cloned:
    """An untrained policy."""
    head = Flow(sight_of(config, layout), config.net, config.steps)
    return Cloned("flow", config, layout, normaliser, head, about={}, post={"steps": float(config.steps)})


def build(release: Release, weights: Mapping[str, bytes]) -> ChunkPolicy:
    """See :class:`worldgate.control.policies.PolicyModule`."""
    return built(release, weights, _make)


def _make(sight: Sight, net: NetConfig, about: Mapping[str, Any], release: Release) -> Flow:
    return Flow(sight, net, int(release.post["steps"]))
