"""Heads that say what a situation gives and is worth, fitted to true outcomes and never to imagined ones.

``reward`` is the reward of the step that led to a row; ``worth`` the discounted rewards from that row to the end of the
run it was seen in: what the policy that was running made of it; ``ended`` the chance that the run ends with that row,
because the task is done and not because its time is over.

Shape legend: N rows, D channels of what the policy observes, joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.control.imagination.replay import Run
from worldgate.core.streams import FloatArray
from worldgate.worlds.nn.rssm import mlp

_BATCH = 256


class Outcomes(Protocol):
    """What imagined rows are judged by."""

    def reward(self, seen_ND: FloatArray) -> FloatArray:
        """(N,) of rows in the policy's order and the streams' units."""
        ...

    def worth(self, seen_ND: FloatArray) -> FloatArray:
        """(N,) of what comes after them."""
        ...

    def ended(self, seen_ND: FloatArray) -> FloatArray:
        """(N,) chance that nothing comes after them."""
        ...


def to_go(reward_T: FloatArray, discount: float) -> FloatArray:
    """(T,) discounted rewards of the rows after each row; 0 at the last."""
    out = np.zeros(len(reward_T))
    for t in range(len(reward_T) - 2, -1, -1):
        out[t] = reward_T[t + 1] + discount * out[t + 1]
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeConfig:
    """How the heads are fitted."""

    units: int = 64
    steps: int = 1500
    rate: float = 1e-3
    decay: float = 1e-2
    seed: int = 0


class Fitted:
    """One small network over normalised rows.

    Args:
        runs: what happened, in the true environment.
        discount: worth of a reward one step later.
        config: how they are fitted.
    """

    def __init__(self, runs: Sequence[Run], discount: float, config: OutcomeConfig) -> None:
        seen = np.concatenate([run.states_TD for run in runs])
        self.mean, self.std = seen.mean(axis=0), np.maximum(seen.std(axis=0), 1e-6)
        reward = np.concatenate([run.reward_T for run in runs])
        worth = np.concatenate([to_go(run.reward_T, discount) for run in runs])
        ended = np.concatenate([run.terminal_T for run in runs])
        target = np.stack([reward, worth], axis=1)
        self.centre, self.scale = target.mean(axis=0), np.maximum(target.std(axis=0), 1e-6)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(config.seed)
            self.net = mlp(seen.shape[1], config.units, 2, 3)
        scaled = np.column_stack([(target - self.centre) / self.scale, ended])
        self._fit(self._enter(seen), torch.as_tensor(scaled).float(), config)

    def _fit(self, x_ND: Tensor, y_N3: Tensor, config: OutcomeConfig) -> None:
        learner = torch.optim.AdamW(self.net.parameters(), config.rate, weight_decay=config.decay)
        draw = torch.Generator().manual_seed(config.seed)
        for _ in range(config.steps):
            rows = torch.randint(len(x_ND), (_BATCH,), generator=draw)
            said, true = self.net(x_ND[rows]), y_N3[rows]
            loss = nn.functional.mse_loss(said[:, :2], true[:, :2])
            # a squared error would leave a little chance of an end everywhere, which a dozen steps add up
            loss = loss + nn.functional.binary_cross_entropy_with_logits(said[:, 2], true[:, 2])
            learner.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            learner.step()

    def _enter(self, seen_ND: FloatArray) -> Tensor:
        return torch.as_tensor((np.asarray(seen_ND) - self.mean) / self.std).float().clamp(-5, 5)

    @torch.no_grad()
    def _say(self, seen_ND: FloatArray) -> FloatArray:
        return np.asarray(self.net(self._enter(seen_ND)).double().numpy())

    def reward(self, seen_ND: FloatArray) -> FloatArray:
        """See :class:`Outcomes`."""
        return np.asarray(self._say(seen_ND)[:, 0] * self.scale[0] + self.centre[0])

    def worth(self, seen_ND: FloatArray) -> FloatArray:
        """See :class:`Outcomes`."""
        return np.asarray(self._say(seen_ND)[:, 1] * self.scale[1] + self.centre[1])

    def ended(self, seen_ND: FloatArray) -> FloatArray:
        """See :class:`Outcomes`."""
        return np.asarray(1 / (1 + np.exp(-self._say(seen_ND)[:, 2])))
