"""Bottlenecks: what passes from an encoder to a decoder, as bounded vectors, as draws, or as codes.

Source: finite scalar quantisation arXiv 2309.15505; tanh arXiv 2509.24527; the KL of a diagonal Gaussian arXiv
1312.6114. Every one gives values of about unit size, so that one dynamics can follow any of them.

Shape legend: X any leading axes, C channels of a place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from worldgate.core.errors import UsageError


class Fsq(nn.Module):
    """Rounds every channel to one of a few levels; a code is the number that these digits make."""

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        if not levels or min(levels) < 2 or math.prod(levels) >= 2**31:
            raise UsageError("levels are two or more each, with fewer than 2^31 codes", got=tuple(levels))
        self.inputs = self.channels = len(levels)
        self.size = math.prod(levels)
        held = torch.tensor(levels)
        self.register_buffer("levels_C", held, persistent=False)
        self.register_buffer("basis_C", torch.cat([held.new_ones(1), held[:-1]]).cumprod(0), persistent=False)

    levels_C: Tensor
    basis_C: Tensor

    @property
    def bits(self) -> float:
        """Of one place."""
        return math.log2(self.size)

    def forward(self, raw_XC: Tensor) -> tuple[Tensor, Tensor]:
        """Digits between -1 and 1, with the gradient of their bounded input, and no loss."""
        half = (self.levels_C - 1) * (1 + 1e-3) / 2
        offset = (self.levels_C % 2 == 0) * 0.5
        bounded = torch.tanh(raw_XC.float() + torch.atanh(offset / half)) * half - offset
        rounded = bounded + (bounded.round() - bounded).detach()
        return (rounded / (self.levels_C // 2)).to(raw_XC.dtype), raw_XC.new_zeros(())

    def codes(self, values_XC: Tensor) -> Tensor:
        """Values to codes (X), int64."""
        return (self.digits(values_XC) * self.basis_C).sum(dim=-1)

    def digits(self, values_XC: Tensor) -> Tensor:
        """Values to the level of every channel (X, C), from 0, int64."""
        return (values_XC.float() * (self.levels_C // 2)).round().long() + self.levels_C // 2

    def of_digits(self, digits_XC: Tensor) -> Tensor:
        """The way back."""
        return (digits_XC - self.levels_C // 2) / (self.levels_C // 2)

    def values(self, codes_X: Tensor) -> Tensor:
        """Codes to values (X, C).

        Raises:
            UsageError: a code outside the codebook.
        """
        if codes_X.numel() and not 0 <= int(codes_X.min()) <= int(codes_X.max()) < self.size:
            got = f"{int(codes_X.min())} to {int(codes_X.max())}"
            raise UsageError("a code outside the codebook", got=got, hint=f"0 to {self.size - 1}")
        return self.of_digits(codes_X.unsqueeze(-1) // self.basis_C % self.levels_C)


class Tanh(nn.Module):
    """Squashes every channel into -1 to 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inputs = self.channels = channels

    def forward(self, raw_XC: Tensor) -> tuple[Tensor, Tensor]:
        """Values, and no loss."""
        return torch.tanh(raw_XC), raw_XC.new_zeros(())


class Gaussian(nn.Module):
    """A draw from a diagonal Gaussian while training, its mean otherwise; the loss holds it near the standard one."""

    def __init__(self, channels: int, weight: float) -> None:
        super().__init__()
        self.inputs, self.channels, self.weight = 2 * channels, channels, weight

    def forward(self, raw_X2C: Tensor) -> tuple[Tensor, Tensor]:
        """Values (X, C), and ``weight`` times the mean divergence of a channel in nats."""
        mean, log_variance = raw_X2C.float().chunk(2, dim=-1)
        log_variance = log_variance.clamp(-20, 10)
        apart = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
        drawn = mean + torch.randn_like(mean) * (0.5 * log_variance).exp() if self.training else mean
        return drawn.to(raw_X2C.dtype), self.weight * apart.mean()


def rounded(values_X: Tensor, levels: int, reach: float = 1.0) -> Tensor:
    """Values moved to the middle of ``levels`` equal steps from -reach to reach, so that they have a rate in bits."""
    step = 2 * reach / levels
    return (((values_X + reach) / step).floor().clamp(0, levels - 1) + 0.5) * step - reach
