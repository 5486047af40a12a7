"""Reading a latent out as numbers: the states of the robot and of whatever else the recordings told.

Shape legend: X any leading axes, D latent, E entries of all targets, C channels of a stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from worldgate.core.errors import CapabilityMissing
from worldgate.core.normalisers import Normaliser
from worldgate.worlds.heads.targets import Target
from worldgate.worlds.tracks import Layout


class Probe(nn.Module):
    """A small network from a latent to every stream, each with a deviation of its own.

    Raises:
        CapabilityMissing: a force is to be read out, which would be told as contact.
    """

    def __init__(self, layout: Layout, normaliser: Normaliser, latent: int, width: int) -> None:
        super().__init__()
        if layout.force:
            hint = "the families flow and masked tell contact"
            raise CapabilityMissing("this family reads no force out", got=layout.force, hint=hint)
        signals = (*layout.states, *layout.reads)
        self.targets = nn.ModuleList(Target(s, normaliser.statistics(s.name)) for s in signals)
        gives = sum(target.entries + target.width for target in self.of)
        self.net = nn.Sequential(nn.Linear(latent, width), nn.SiLU(), nn.Linear(width, gives))

    @property
    def of(self) -> list[Target]:
        """Every stream."""
        return [cast(Target, held) for held in self.targets]

    def _said(self, latent_XD: Tensor) -> list[Tensor]:
        sizes = [size for target in self.of for size in (target.entries, target.width)]
        return list(self.net(latent_XD).split(sizes, dim=-1))

    def loss(self, latent_XD: Tensor, truths: Mapping[str, Tensor]) -> Tensor:
        """Beta-NLL of all streams; NaN in the truth is not learned from."""
        said = self._said(latent_XD)
        parts = [t.loss(said[2 * i], said[2 * i + 1], truths[t.name]) for i, t in enumerate(self.of)]
        return torch.stack(parts).sum()

    def read(self, latent_XD: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Values and deviations by stream, (X, C) in its unit."""
        said = self._said(latent_XD)
        values = {t.name: t.value(said[2 * i]) for i, t in enumerate(self.of)}
        return values, {t.name: t.deviation(said[2 * i + 1]) for i, t in enumerate(self.of)}
