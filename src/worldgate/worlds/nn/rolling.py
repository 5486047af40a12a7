"""A telemetry ensemble at work: the windows of all members, advanced one step at a time.

Shape legend: M members, N columns (sequences), C context rows, D state channels, A action channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from worldgate.worlds.nn.ensemble import Ensemble


class Rolling:
    """Every member's open-loop path for N sequences.

    Args:
        ensemble: the trained members.
        states_NCD: the last C rows of states.
        past_NTA: the C - 1 actions before now.
    """

    def __init__(self, ensemble: Ensemble, states_NCD: Tensor, past_NTA: Tensor) -> None:
        members = ensemble.members
        self.ensemble = ensemble
        self.start_ND = states_NCD[:, -1]
        self.window_MNCD = states_NCD.expand(members, *states_NCD.shape)
        self.past_MNTA = past_NTA.expand(members, *past_NTA.shape)
        self.variance_MND = torch.zeros_like(self.window_MNCD[:, :, -1])

    def step(self, action_NA: Tensor, noise: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Advance under one action: anchored states of all members, and their noise variance, each (M, N, D)."""
        ensemble = self.ensemble
        action_MN1A = action_NA.unsqueeze(1).expand(ensemble.members, -1, -1, -1)
        drive_MNCA = torch.cat([self.past_MNTA, action_MN1A], dim=2)
        mean_MND, log_std_MND = ensemble.change(self.window_MNCD, drive_MNCA)
        if noise is not None:
            draw_MND = torch.randn(mean_MND.shape, generator=noise)
            mean_MND = mean_MND + draw_MND * torch.exp(log_std_MND) * ensemble.spread_D
        next_MND = ensemble.advance(self.window_MNCD[:, :, -1], mean_MND)
        self.window_MNCD = torch.cat([self.window_MNCD[:, :, 1:], next_MND.unsqueeze(2)], dim=2)
        self.past_MNTA = drive_MNCA[:, :, 1:]
        self.variance_MND = self.variance_MND + torch.exp(2 * log_std_MND)
        scale_D = (ensemble.state_step_D * ensemble.spread_D) ** 2
        return ensemble.anchored(self.start_ND, next_MND), self.variance_MND * scale_D

    def mean_step(self, action_NA: Tensor) -> tuple[Tensor, Tensor]:
        """Advance without noise: the mean over members and the total standard deviation, each (N, D)."""
        states_MND, noise_MND = self.step(action_NA)
        mean_ND = self.ensemble.mean(states_MND)
        return mean_ND, (self.spread(states_MND) + noise_MND.mean(dim=0)).sqrt()

    def spread(self, states_MND: Tensor) -> Tensor:
        """(N, D) variance over members."""
        return self.ensemble.difference(states_MND, states_MND[:1]).var(dim=0, unbiased=False)
