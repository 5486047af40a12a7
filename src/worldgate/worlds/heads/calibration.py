"""From what the heads say to what is true: deviations and probabilities corrected on episodes nobody learned from.

A deviation is scaled, for each channel and step ahead, until four of five errors of left-out episodes lie within the
1.28 deviations that they should; steps nearby lend each other their rows. A probability is sharpened or softened by a
logistic curve for each band of steps (Platt 1999; temperature and bias), pulled towards "as it is" where rows are few.
Beyond the last step that was seen, a deviation grows as a random walk's does, up to the spread of the channel.

Shape legend: R rows, X any leading axes, D channels, H the last step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.worlds.heads.targets import Target

_SHARE, _AT = 0.8, 1.2816
_LEAST_ROWS = 40
_SCALES = (0.1, 10.0)
_BANDS = 4
"""Known rows, and three parts of the steps ahead."""
_PULL = 3.0
_STEPS = 30


class Calibration(nn.Module):
    """Of all targets, and of contact."""

    def __init__(self, targets: Sequence[Target], horizon: int) -> None:
        super().__init__()
        self.horizon = horizon
        for i, target in enumerate(targets):
            self.register_buffer(f"scale_{i}", torch.ones(horizon + 1, target.width))
            self.register_buffer(f"spread_{i}", target.std_D.clone(), persistent=False)
        self.register_buffer("curve_B2", torch.tensor([[1.0, 0.0]]).repeat(_BANDS, 1))

    curve_B2: Tensor

    def deviation(self, target: int, said_XD: Tensor, since_X: Tensor) -> Tensor:
        """(X, D) of what the heads claim, ``since`` so many steps after the last known row."""
        at = since_X.clamp(max=self.horizon)
        held = said_XD * self.get_buffer(f"scale_{target}")[at]
        farther = (since_X / self.horizon).clamp(min=1).sqrt().unsqueeze(-1)
        most = torch.maximum(held, self.get_buffer(f"spread_{target}"))
        return torch.minimum(held * farther, most)

    def probability(self, logit_X: Tensor, since_X: Tensor) -> Tensor:
        """(X,) of contact."""
        curve = self.curve_B2[self._band(since_X)]
        return torch.sigmoid(curve[..., 0] * logit_X + curve[..., 1])

    def _band(self, since_X: Tensor) -> Tensor:
        part = (since_X - 1).clamp(min=0) * (_BANDS - 1) // self.horizon
        return torch.where(since_X == 0, 0, 1 + part.clamp(max=_BANDS - 2))

    @torch.no_grad()
    def fit(self, target: int, odd_RD: Tensor, since_R: Tensor) -> None:
        """Set a target's scales from errors in claimed deviations, NaN where the truth is not known."""
        odd_RD, since_R = odd_RD.cpu(), since_R.cpu()  # a thousand small questions: no device answers them faster
        table = torch.ones_like(self.get_buffer(f"scale_{target}"), device="cpu")
        for step in range(self.horizon + 1):
            near = since_R == 0 if step == 0 else (since_R > 0) & ((since_R - step).abs() <= max(1, step // 4))
            for channel in range(table.shape[1]):
                odd = odd_RD[near, channel].abs()
                odd = odd[torch.isfinite(odd)]
                if len(odd) >= _LEAST_ROWS:
                    table[step, channel] = torch.quantile(odd, _SHARE).div(_AT).clamp(*_SCALES)
        self.get_buffer(f"scale_{target}").copy_(table)

    @torch.no_grad()
    def fit_contact(self, logit_R: Tensor, touch_R: Tensor, since_R: Tensor) -> None:
        """Set the curves from logits and what was true, NaN where it is not known."""
        logit_R, touch_R, band = logit_R.cpu(), touch_R.cpu(), self._band(since_R.cpu())
        known = torch.isfinite(touch_R)
        parts = [known & (band == b) for b in range(_BANDS)]
        self.curve_B2.copy_(torch.stack([_curve(logit_R[mine], touch_R[mine]) for mine in parts]))


def _curve(logit_R: Tensor, touch_R: Tensor) -> Tensor:
    """Slope and bias of most likelihood, pulled towards 1 and 0, by Newton's steps, halved where they go too far."""
    curve = start = torch.tensor([1.0, 0.0], dtype=torch.float64)
    given_R2 = torch.stack([logit_R, torch.ones_like(logit_R)], dim=1).double()
    touch = touch_R.double()

    def cost(at: Tensor) -> Tensor:
        nats = functional.binary_cross_entropy_with_logits(given_R2 @ at, touch, reduction="sum")
        return nats + _PULL * (at - start).square().sum()

    for _ in range(_STEPS):
        chance = torch.sigmoid(given_R2 @ curve)
        slope = given_R2.T @ (chance - touch) + 2 * _PULL * (curve - start)
        bend = given_R2.T @ (given_R2 * (chance * (1 - chance)).unsqueeze(1))
        step = torch.linalg.solve(bend + 2 * _PULL * torch.eye(2, dtype=torch.float64), slope)
        while float(step.norm()) > 1e-9 and bool(cost(curve - step) > cost(curve)):
            step = step / 2
        curve = curve - step
    return curve.float()
