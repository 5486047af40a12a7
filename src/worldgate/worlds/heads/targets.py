"""One stream that is read out: what the network gives for it, as numbers in the stream's unit with their deviation.

Numbers are normal with a mean and a deviation of their own. An angle is the direction of a sine and a cosine, and its
error is wrapped; the quaternion of a pose is brought to length 1, and its error is the one of the nearer of the two
signs, which mean the same. What never moved in training stays where it was. Weighting by the deviation keeps hard rows
from being given up (beta-NLL, arXiv 2203.09168, beta 0.5).

Shape legend: X any leading axes, D channels of the stream, E entries that the network gives: one for each channel, and
then the cosine of each angle.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.core.normalisers import Statistics
from worldgate.core.streams import Kind
from worldgate.core.worlds import Signal

_LOW, _HIGH = -7.0, 1.5
"""Bounds of the logarithm of a deviation, as a share of the channel's spread in training."""
_FIXED = 1e-6
"""Deviation of a channel that never moved."""


class Target(nn.Module):
    """One stream that is read out."""

    def __init__(self, signal: Signal, statistics: Statistics) -> None:
        super().__init__()
        self.name, self.pose = signal.name, signal.kind is Kind.POSE
        mean, std = np.asarray(statistics.mean, np.float64), np.asarray(statistics.std, np.float64)
        turns, still = np.asarray(statistics.circular, bool), np.asarray(statistics.constant, bool)
        if self.pose:
            turns, still = turns & (np.arange(7) < 3), still & (np.arange(7) < 3)
            mean, std = np.where(np.arange(7) < 3, mean, 0.0), np.where(np.arange(7) < 3, std, 1.0)
        self.register_buffer("mean_D", torch.tensor(mean, dtype=torch.float32), persistent=False)
        self.register_buffer("std_D", torch.tensor(std, dtype=torch.float32), persistent=False)
        self.register_buffer("turns_D", torch.as_tensor(turns), persistent=False)
        self.register_buffer("angles_A", torch.as_tensor(np.flatnonzero(turns)), persistent=False)
        self.register_buffer("moves_D", torch.as_tensor(~still), persistent=False)
        self.width = len(mean)
        self.entries = self.width + int(turns.sum())

    mean_D: Tensor
    std_D: Tensor
    turns_D: Tensor
    angles_A: Tensor
    """Which channels turn, by number: a device would be asked how many of a mask's entries are true."""
    moves_D: Tensor

    def value(self, said_XE: Tensor) -> Tensor:
        """(X, D) in the stream's unit."""
        plain, cosines = said_XE[..., : self.width], said_XE[..., self.width :]
        out = torch.where(self.moves_D, plain, 0.0) * self.std_D + self.mean_D
        if cosines.shape[-1]:
            out = out.clone()
            # What is said may be bfloat16, under autocast; the value never is.
            sines, cosines = plain[..., self.angles_A].to(out.dtype), cosines.to(out.dtype)
            out[..., self.angles_A] = torch.atan2(sines, 1 + cosines)
        if self.pose:
            # Nothing said is no rotation.
            turn = plain[..., 3:] + torch.eye(4, device=plain.device)[3]
            out = torch.cat([out[..., :3], functional.normalize(turn, dim=-1)], dim=-1)
        return out

    def deviation(self, said_XD: Tensor) -> Tensor:
        """(X, D) in the stream's unit."""
        return torch.where(self.moves_D, bounded(said_XD).exp() * self.std_D, _FIXED)

    def apart(self, value_XD: Tensor, truth_XD: Tensor) -> Tensor:
        """(X, D) truth less value, in the stream's unit; NaN where the truth is not known."""
        if self.pose:
            same = (value_XD[..., 3:] * truth_XD[..., 3:]).sum(dim=-1, keepdim=True) >= 0
            truth_XD = torch.cat([truth_XD[..., :3], torch.where(same, 1.0, -1.0) * truth_XD[..., 3:]], dim=-1)
        apart = truth_XD - value_XD
        return torch.where(self.turns_D, torch.remainder(apart + math.pi, 2 * math.pi) - math.pi, apart)

    def loss(self, mean_XE: Tensor, log_XD: Tensor, truth_XD: Tensor) -> Tensor:
        """Mean beta-NLL over what is known, and moves; 0 where nothing is."""
        known = torch.isfinite(truth_XD) & self.moves_D
        apart = self.apart(self.value(mean_XE), torch.nan_to_num(truth_XD)) / self.std_D
        log = bounded(log_XD)
        nats = (0.5 * (apart * (-log).exp()).square() + log) * log.detach().exp()
        return torch.where(known, nats, 0.0).sum() / known.sum().clamp(min=1)


def bounded(log_X: Tensor) -> Tensor:
    """Between the bounds, smoothly."""
    upper = _HIGH - functional.softplus(_HIGH - log_X)
    return _LOW + functional.softplus(upper - _LOW)
