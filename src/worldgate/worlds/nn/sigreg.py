"""SIGReg: pulls latents towards an isotropic Gaussian, so that predicting them cannot be made easy by collapsing them.

Source: LeJEPA (arXiv 2511.08544), as LeWM uses it (arXiv 2603.19312): random directions, and along each the distance of
the empirical characteristic function from a Gaussian's (Epps and Pulley 1983). Notable choice: processes that train
together compare the function of all their samples, not each its own.

Shape legend: T times, N samples, D latent, J directions, K knots.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional

_LAST, _KNOTS = 3.0, 17


def sigreg(latents_TND: Tensor, directions_DJ: Tensor) -> Tensor:
    """Mean over times and directions of the Epps-Pulley statistic, the larger the less Gaussian.

    Args:
        latents_TND: the batch of each time, best 64 or more: rows of one clip are no independent samples.
        directions_DJ: random directions of length one.
    """
    knots_K = torch.linspace(0, _LAST, _KNOTS, device=latents_TND.device)
    weight_K = torch.full_like(knots_K, 2 * _LAST / (_KNOTS - 1))
    weight_K[[0, -1]] /= 2
    gauss_K = (-knots_K.square() / 2).exp()
    angles_TNJK = (latents_TND.float() @ directions_DJ)[..., None] * knots_K
    both_2TJK = torch.stack([angles_TNJK.cos().mean(dim=1), angles_TNJK.sin().mean(dim=1)])
    count = float(latents_TND.shape[1])
    if _together():
        ranks = torch.distributed.get_world_size()
        both_2TJK, count = all_reduce(both_2TJK) / ranks, count * ranks  # type: ignore[no-untyped-call]  # torch's
    apart_TJK = (both_2TJK[0] - gauss_K).square() + both_2TJK[1].square()
    return count * (apart_TJK @ (weight_K * gauss_K)).mean()


def directions(latent: int, count: int, device: torch.device) -> Tensor:
    """(D, J) random directions of length one, the same in all processes that train together."""
    drawn_DJ = functional.normalize(torch.randn(latent, count), dim=0).to(device)
    if _together():
        torch.distributed.broadcast(drawn_DJ, 0)
    return drawn_DJ


def _together() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
