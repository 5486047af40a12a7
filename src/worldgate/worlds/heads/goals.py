"""Heads that know of goals: which action leads towards one, and whether it is reached in the time that is left.

Source: goal-conditioned inverse dynamics on frozen latents (GC-IDM, 130 times faster than search in its own table) and
the reachability head of RC-aux; both learn from hindsight goals, later rows of the same episode. Notable choice: a goal
of another episode counts as not reached.

Shape legend: N samples, D latent, K rows of an action chunk, A action channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def time_left(rows_N: Tensor, span: int) -> Tensor:
    """(N, 1) rows that are left, as heads are told: logarithmic, 1 at the longest that was learned from."""
    return torch.log1p(rows_N.float().clamp(min=0)).unsqueeze(-1) / torch.log1p(torch.tensor(float(span)))


class InverseDynamics(nn.Module):
    """The next actions towards a goal, normalised."""

    def __init__(self, latent: int, actions: int, chunk: int, width: int, span: int) -> None:
        super().__init__()
        self.chunk, self.span = chunk, span
        self.net = nn.Sequential(
            nn.Linear(3 * latent + 1, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, chunk * actions),
        )

    def forward(self, now_ND: Tensor, goal_ND: Tensor, left_N: Tensor) -> Tensor:
        """(N, K, A) actions from now on, with so many rows left."""
        told = torch.cat([now_ND, goal_ND, goal_ND - now_ND, time_left(left_N, self.span)], dim=-1)
        return torch.unflatten(self.net(told), -1, (self.chunk, -1))

    def loss(self, said_NKA: Tensor, truth_NKA: Tensor, left_N: Tensor) -> Tensor:
        """Huber, over the actions before the goal."""
        counts_NK1 = (torch.arange(self.chunk, device=left_N.device) < left_N[:, None]).unsqueeze(-1).float()
        error = functional.smooth_l1_loss(said_NKA, truth_NKA, reduction="none") * counts_NK1
        return error.sum() / (counts_NK1.sum() * truth_NKA.shape[-1]).clamp(min=1)


class Reach(nn.Module):
    """Whether a goal is reached within some rows: a logit."""

    def __init__(self, latent: int, width: int, span: int) -> None:
        super().__init__()
        self.span = span
        self.net = nn.Sequential(
            nn.Linear(3 * latent + 1, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)
        )

    def forward(self, now_ND: Tensor, goal_ND: Tensor, left_N: Tensor) -> Tensor:
        """(N,)."""
        told = torch.cat([now_ND, goal_ND, (goal_ND - now_ND).abs(), time_left(left_N, self.span)], dim=-1)
        out: Tensor = self.net(told).squeeze(-1)
        return out
