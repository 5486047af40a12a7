"""Numbers of streams as a network takes them: standardised by their statistics, angles as sine and cosine.

Shape legend: X any leading axes, D channels, E entries: one for each channel, and then the cosine of each angle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.core.normalisers import Statistics

_FAR = 10.0
"""Numbers further than so many deviations from what training held are held there: a network would go anywhere."""


class Standard(nn.Module):
    """All channels of some streams, joined.

    Args:
        streams: statistics of each.
    """

    def __init__(self, streams: Sequence[Statistics]) -> None:
        super().__init__()
        mean = np.array([value for held in streams for value in held.mean], np.float32)
        std = np.array([value for held in streams for value in held.std], np.float32)
        turns = [turn for held in streams for turn in (held.circular or (False,) * len(held.mean))]
        self.register_buffer("mean_D", torch.as_tensor(mean), persistent=False)
        self.register_buffer("std_D", torch.as_tensor(std), persistent=False)
        self.register_buffer("turns_D", torch.as_tensor(np.array(turns, bool)), persistent=False)
        self.register_buffer("angles_A", torch.as_tensor(np.flatnonzero(turns)), persistent=False)
        self.width = len(mean) + sum(turns)

    mean_D: Tensor
    std_D: Tensor
    turns_D: Tensor
    angles_A: Tensor

    def forward(self, values_XD: Tensor) -> Tensor:
        """(X, E)."""
        plain = ((values_XD - self.mean_D) / self.std_D).clamp(-_FAR, _FAR)
        if not len(self.angles_A):
            return plain
        plain = torch.where(self.turns_D, values_XD.sin(), plain)
        return torch.cat([plain, values_XD[..., self.angles_A].cos()], dim=-1)

    def invert(self, standard_XD: Tensor) -> Tensor:
        """(X, D) in the streams' units; for numbers without angles, such as actions."""
        return standard_XD * self.std_D + self.mean_D
