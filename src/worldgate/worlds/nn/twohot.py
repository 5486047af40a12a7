"""Numbers of any size as a distribution over bins that grow exponentially away from zero.

Source: DreamerV3 (Hafner et al. 2025, arXiv 2301.04104): symlog squashes what goes in, symexp two-hot regression gives
what comes out, so that one learning rate serves returns of 0.01 and of 10,000. Notable choice: the mean is summed from
both ends towards zero, so that a head that knows nothing says exactly 0 whatever the rounding.

Shape legend: any leading shape N, B bins.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def symlog(x_N: Tensor) -> Tensor:
    """The sign of a number times the logarithm of one plus its size."""
    return torch.sign(x_N) * torch.log1p(x_N.abs())


def symexp(x_N: Tensor) -> Tensor:
    """The inverse of :func:`symlog`."""
    return torch.sign(x_N) * torch.expm1(x_N.abs())


class TwoHot(nn.Module):
    """Bins from -symexp(20) to symexp(20), closest together at zero.

    Args:
        bins: how many; odd, so that one of them is 0.
    """

    def __init__(self, bins: int = 255) -> None:
        super().__init__()
        assert bins % 2 == 1, "one bin is zero"
        half = symexp(torch.linspace(-20, 0, bins // 2 + 1, dtype=torch.float64))
        places = torch.cat([half, -half[:-1].flip(0)]).float()
        self.register_buffer("places_B", places, persistent=False)

    places_B: Tensor

    def target(self, value_N: Tensor) -> Tensor:
        """(N, B) weights of the two bins around a number, whose mean it is; beyond the last bin, that bin alone."""
        places, last = self.places_B, len(self.places_B) - 1
        value_N = value_N.float().clamp(float(places[0]), float(places[-1]))
        above_N = torch.searchsorted(places, value_N.contiguous()).clamp(1, last)
        low, high = places[above_N - 1], places[above_N]
        share_N1 = ((value_N - low) / (high - low)).unsqueeze(-1)
        out = torch.zeros(*value_N.shape, last + 1, device=value_N.device)
        out.scatter_(-1, above_N.unsqueeze(-1) - 1, 1 - share_N1)
        return out.scatter_(-1, above_N.unsqueeze(-1), share_N1)

    def mean(self, logits_NB: Tensor) -> Tensor:
        """(N,) expected number."""
        weighted = torch.softmax(logits_NB.float(), dim=-1) * self.places_B
        half = len(self.places_B) // 2
        pairs = weighted[..., :half] + weighted[..., half + 1 :].flip(-1)
        return pairs.sum(dim=-1) + weighted[..., half]

    def loss(self, logits_NB: Tensor, value_N: Tensor) -> Tensor:
        """(N,) cross-entropy, nats."""
        return -(self.target(value_N) * torch.log_softmax(logits_NB.float(), dim=-1)).sum(dim=-1)
