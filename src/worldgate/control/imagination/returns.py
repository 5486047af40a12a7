"""What an imagined future is worth, and how widely such worths spread.

Source: DreamerV3 (Hafner et al. 2025, arXiv 2301.04104).

Shape legend: K steps, N futures.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def lambda_returns(reward_KN: Tensor, discount_KN: Tensor, value_KN: Tensor, mix: float) -> Tensor:
    """(K, N) discounted returns from before each step, mixed over all lengths by powers of ``mix``.

    Args:
        reward_KN: what each step gives.
        discount_KN: worth of what comes after each step, against the step itself; 0 where it ends the run.
        value_KN: the critic's guess after each step.
        mix: 0 trusts the critic after one step, 1 only after the last.
    """
    ahead, out = value_KN[-1], []
    for reward, discount, value in zip(
        reward_KN.flip(0).unbind(0), discount_KN.flip(0).unbind(0), value_KN.flip(0).unbind(0), strict=True
    ):
        ahead = reward + discount * ((1 - mix) * value + mix * ahead)
        out.append(ahead)
    return torch.stack(out).flip(0)


class Spread(nn.Module):
    """A slow average of the distance from the 5th to the 95th percentile of returns; never divides by less than 1."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("low_high_2", torch.zeros(2))

    low_high_2: Tensor

    @torch.no_grad()
    def watch(self, returns_N: Tensor) -> Tensor:
        """Take note of returns, and say by how much to divide advantages."""
        ends = torch.quantile(returns_N.float().flatten(), torch.tensor([0.05, 0.95], device=returns_N.device))
        self.low_high_2.lerp_(ends, self.rate)
        return (self.low_high_2[1] - self.low_high_2[0]).clamp(min=1.0)
