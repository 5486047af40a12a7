"""What a run is watched for: divergence, collapse, and actions that make no difference.

Divergence stops a run. The others are alarms: a run may recover, so they are said and it goes on. Effective rank is
Roy and Vetterli's (EUSIPCO 2007): the exponential of the entropy of the normalised singular values, here of the
covariance's eigenvalues, so that 1 means everything lies on a line and D that all directions matter alike.

Shape legend: N rows, D dimensions.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from worldgate.core.errors import WorldgateError

_RECENT = 20
_CALM = "a lower learning rate; the newest snapshot is kept"
INSENSITIVE = 1.02
"""Loss with wrong actions over loss with the right ones, below which actions are not used."""
_PATIENCE = 3
"""Evaluations in a row."""
_DEAD = 0.01
"""Spread of a dimension, relative to the widest, below which it carries nothing."""
_FEW = 0.05
"""Share of the dimensions that must matter."""


class Losses:
    """Watches the loss and stops a run that has gone wrong."""

    def __init__(self, phase: str) -> None:
        self.phase = phase
        self.start: list[float] = []
        self.recent: deque[float] = deque(maxlen=_RECENT)

    def add(self, loss: float, norm: float, step: int) -> float:
        """Note a step.

        Raises:
            WorldgateError: not finite, or far above where it began.
        """
        where = f"{self.phase} step {step}"
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise WorldgateError("training diverged", got=f"loss {loss}, gradient {norm}", where=where, hint=_CALM)
        self.recent.append(loss)
        if len(self.start) < _RECENT:
            self.start.append(loss)
        begun = float(np.median(self.start))
        if len(self.recent) == _RECENT and np.median(self.recent) > begun + 5 * (abs(begun) + 1):
            got = f"loss {np.median(self.recent):.3g} after {begun:.3g} at the start"
            raise WorldgateError("training diverged", got=got, where=where, hint=_CALM)
        return loss


def spread_of(latents_ND: Tensor) -> dict[str, float]:
    """Effective rank, dimensions, and the share of them that carries next to nothing."""
    held = latents_ND.detach().flatten(0, -2).double().cpu()
    held = held - held.mean(dim=0)
    variance_D = held.square().mean(dim=0)
    weights_D = torch.linalg.eigvalsh(held.T @ held).clamp(min=0)
    total = float(weights_D.sum())
    if not total > 0:
        return {"effective_rank": 0.0, "latent_width": float(held.shape[1]), "dead_share": 1.0}
    share_D = weights_D / total
    entropy = float(-(share_D * share_D.clamp(min=1e-300).log()).sum())
    dead = float((variance_D.sqrt() < _DEAD * variance_D.max().sqrt()).double().mean())
    return {"effective_rank": math.exp(entropy), "latent_width": float(held.shape[1]), "dead_share": dead}


class Alarms:
    """Reads the figures of each evaluation and says what is wrong, once for as long as it lasts."""

    def __init__(self) -> None:
        self._streak: dict[str, int] = {}
        self._said: set[str] = set()

    def read(self, facts: Mapping[str, float]) -> tuple[str, ...]:
        """New alarms of an evaluation."""
        found = [*self._insensitive(facts), *self._collapsed(facts)]
        self._said &= {name for name, _ in found}
        new = [(name, text) for name, text in found if name not in self._said]
        self._said |= {name for name, _ in new}
        return tuple(text for _, text in new)

    def _insensitive(self, facts: Mapping[str, float]) -> list[tuple[str, str]]:
        out = []
        for name, value in facts.items():
            if "action_sensitivity" not in name:
                continue
            if self._lasts(name, value < INSENSITIVE):
                text = f"actions make no difference: {name} {value:.3f} at {_PATIENCE} evaluations in a row"
                out.append((name, text))
        return out

    def _collapsed(self, facts: Mapping[str, float]) -> list[tuple[str, str]]:
        if "effective_rank" not in facts:
            return []
        rank, width, dead = (facts[name] for name in ("effective_rank", "latent_width", "dead_share"))
        if not self._lasts("collapse", rank <= 1 + _FEW * (width - 1) or dead > 1 - _FEW):
            return []
        return [("collapse", f"latents collapsed: effective rank {rank:.2f} of {width:.0f}, {dead:.0%} of them still")]

    def _lasts(self, name: str, bad: bool) -> bool:
        """Whether something has been so for several evaluations in a row, this one included."""
        self._streak[name] = self._streak.get(name, 0) + 1 if bad else 0
        return self._streak[name] >= _PATIENCE
