"""ACT: a transformer that predicts a chunk of actions at once, with a latent for the ways in which experts differ.

Source: Zhao et al. 2023, arXiv 2304.13705. Notable choices: small convolutions instead of a ResNet, layers that
normalise first; the latent is a switch (``latent = 0``), and its posterior serves training alone and is no part of a
release. With ``ensemble`` the policy looks at every row and averages what all chunks so far say of it, with weights
exp(-m i) from the oldest on.

Shape legend: B batch, K actions of a chunk, A action channels, W width, Z latent.
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
from worldgate.control.policies._nets import NetConfig, Placing, Seeing, Sight
from worldgate.core.normalisers import Normaliser
from worldgate.fleet.releases import Release, Setting
from worldgate.worlds.sizes import Size
from worldgate.worlds.tracks import Layout

CARD = {
    "line": "action chunks by a transformer with a latent, averaged over time where asked",
    "inputs": "states, colour cameras; goals of the same streams where asked",
    "needs": "models",
    "source": "ACT, arXiv 2304.13705",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(ChunkConfig):
    """Configuration of ``act``."""

    latent: int = 16
    """Numbers that tell apart how one thing can be done; 0: none."""
    divergence: float = 1.0
    """Weight of the latent's divergence from a standard normal."""
    ensemble: float | None = None
    """Averaging over time: m of exp(-m i), 0.01 in the paper; unset: n of K actions are executed."""


class Posterior(nn.Module):
    """The latent that a recorded chunk stands for; serves training alone."""

    def __init__(self, sight: Sight, net: NetConfig, latent: int) -> None:
        super().__init__()
        self.enter = nn.Linear(sight.action, net.width)
        self.first_W = nn.Parameter(0.02 * torch.randn(net.width))
        self.place_KW = nn.Parameter(0.02 * torch.randn(sight.chunk, net.width))
        self.join = nn.TransformerEncoderLayer(
            net.width, net.heads, 2 * net.width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.leave = nn.Linear(net.width, 2 * latent)

    def forward(self, chunk_BKA: Tensor, there_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of variances, each (B, Z)."""
        tokens = self.enter(chunk_BKA) + self.place_KW
        tokens = torch.cat([self.first_W.expand(len(tokens), 1, -1), tokens], dim=1)
        away = torch.cat([there_BK.new_zeros(len(there_BK), 1), 1 - there_BK], dim=1).bool()
        told_BY: Tensor = self.leave(self.join(tokens, src_key_padding_mask=away)[:, 0])
        return told_BY[:, : told_BY.shape[1] // 2], told_BY[:, told_BY.shape[1] // 2 :]


class Act(nn.Module):
    """Fulfils :class:`worldgate.control.policies._chunks.Head`."""

    def __init__(self, sight: Sight, net: NetConfig, latent: int, divergence: float = 0.0) -> None:
        super().__init__()
        self.latent, self.divergence = latent, divergence
        self.seeing, self.placing = Seeing(sight, net), Placing(sight, net)
        if latent:
            self.posterior = Posterior(sight, net, latent)
            self.style = nn.Linear(latent, net.width)

    def loss(self, chunk_BKA: Tensor, there_BK: Tensor, seen: dict[str, Tensor]) -> Tensor:
        """Mean absolute error, and the latent's divergence."""
        if not self.latent:
            return masked((self._place(seen, None) - chunk_BKA).abs(), there_BK)
        mean, spread = self.posterior(chunk_BKA, there_BK)
        told = self._place(seen, mean + (spread / 2).exp() * torch.randn_like(mean))
        divergence: Tensor = 0.5 * (mean.square() + spread.exp() - 1 - spread).sum(1).mean()
        return masked((told - chunk_BKA).abs(), there_BK) + self.divergence * divergence

    def sample(self, seen: dict[str, Tensor], random: torch.Generator) -> Tensor:
        """The chunk of the latent's mean; chance is not asked."""
        rows = len(next(iter(seen.values())))
        return self._place(seen, torch.zeros(rows, self.latent) if self.latent else None)

    def _place(self, seen: dict[str, Tensor], latent_BZ: Tensor | None) -> Tensor:
        placed: Tensor = self.placing(self.seeing(seen, [] if latent_BZ is None else [self.style(latent_BZ)]))
        return placed


def debug() -> Config:
    """Trains in seconds."""
    return _chunks.tiny(Config(latent=4))


def sized(size: Size) -> Config:
    """The configuration of a size."""
    return _chunks.sized(Config(), size)


def create(config: Config, layout: Layout, normaliser: Normaliser) -> Cloned:
    """An untrained policy."""
    head = Act(sight_of(config, layout), config.net, config.latent, config.divergence)
    post: dict[str, Setting] = {} if config.ensemble is None else {"ensemble": config.ensemble}
    return Cloned("act", config, layout, normaliser, head, about={"latent": config.latent}, post=post)


def build(release: Release, weights: Mapping[str, bytes]) -> ChunkPolicy:
    """See :class:`worldgate.control.policies.PolicyModule`."""
    return built(release, weights, _make)


def _make(sight: Sight, net: NetConfig, about: Mapping[str, Any], release: Release) -> Act:
    return Act(sight, net, int(about["latent"]))
