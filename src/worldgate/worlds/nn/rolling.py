"""A telemetry ensemble at work: the windows of all members, advanced one step at a time.

Shape legend: M members, N columns (sequences), C context rows, P past commands, D state channels, A action channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from worldgate.worlds.nn.ensemble import Ensemble
from worldgate.worlds.nn.window import Window


class Rolling:
    """Every member's open-loop path for N sequences.

    Args:
        ensemble: the trained members.
        known: the last C rows of states, (N, C, D) where all were measured on an even grid.
        past_NTA: the C - 1 actions before now.
    """

    def __init__(self, ensemble: Ensemble, known: Tensor | Window, past_NTA: Tensor) -> None:
        self.ensemble = ensemble
        seen = known if isinstance(known, Window) else Window.even(known)
        self.start_ND = seen.now_XD
        window = seen.expand(ensemble.members)
        past_MNTA = ensemble.every(past_NTA)
        self.held = ensemble.begin(window, past_MNTA)
        self.window = window.last(ensemble.reach)
        self.past_MNTA = past_MNTA[:, :, past_MNTA.shape[2] - (ensemble.past - 1) :]
        self.variance_MND = torch.zeros_like(self.window.now_XD)
        self.steps = 0

    def step(self, action_NA: Tensor) -> tuple[Tensor, Tensor]:
        """Advance under one action: anchored states of all members, and their noise variance, each (M, N, D)."""
        ensemble = self.ensemble
        action_MN1A = ensemble.every(action_NA.unsqueeze(1))
        drive_MNPA = torch.cat([self.past_MNTA, action_MN1A], dim=2)
        mean_MND, log_std_MND, self.held = ensemble.change(self.window, drive_MNPA, self.held)
        next_MND = ensemble.advance(self.window.now_XD, mean_MND)
        self.window = self.window.push(next_MND)
        self.past_MNTA = drive_MNPA[:, :, 1:]
        self.variance_MND = self.variance_MND + torch.exp(2 * log_std_MND)
        self.steps += 1
        noise_MND = ensemble.noise(self.variance_MND, self.steps)
        return ensemble.anchored(self.start_ND, next_MND, self.steps), noise_MND

    def mean_step(self, action_NA: Tensor) -> tuple[Tensor, Tensor]:
        """Advance: the mean over members and the standard deviation, each (N, D).

        Noise was calibrated on the errors of single members, so it holds what they usually disagree by; they count
        where they disagree more.
        """
        states_MND, noise_MND = self.step(action_NA)
        mean_ND = self.ensemble.mean(states_MND)
        return mean_ND, torch.maximum(self.spread(states_MND), noise_MND.mean(dim=0)).sqrt()

    def left(self, states_MND: Tensor, noise_MND: Tensor) -> Tensor:
        """(M, N, D) standard deviation of the noise that is not in the members' disagreement already."""
        return (noise_MND - self.spread(states_MND)).clamp(min=0).sqrt()

    def spread(self, states_MND: Tensor) -> Tensor:
        """(N, D) variance over members."""
        return self.ensemble.difference(states_MND, states_MND[:1]).var(dim=0, unbiased=False)
