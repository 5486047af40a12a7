"""Windows of many tracks laid end to end, drawn by the row that is ``now``.

Shape legend: R rows over all tracks, N windows, C context rows, K steps, D state channels, A action channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from worldgate.core.streams import IntArray
from worldgate.worlds.tracks import Track, whole


class Bank:
    """States and actions of tracks as two tensors."""

    def __init__(self, tracks: Sequence[Track]) -> None:
        self.tracks = whole(tracks)
        self.offsets = np.concatenate([[0], np.cumsum([len(t) for t in tracks])]).astype(np.int64)
        self.states_RD = torch.cat([torch.as_tensor(t.states_TD) for t in tracks])
        self.actions_RA = torch.cat([torch.as_tensor(t.actions_TA) for t in tracks])

    def rows(self, context: int, horizon: int, only: Iterable[int] | None = None) -> IntArray:
        """Rows ``now`` with enough valid rows before and after them, of all tracks or only of these."""
        chosen = range(len(self.tracks)) if only is None else only
        parts = [self.tracks[i].starts(context, horizon) + self.offsets[i] for i in chosen]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def take(self, now: IntArray, context: int, horizon: int) -> tuple[Tensor, Tensor, Tensor]:
        """Context states (N, C, D), actions (N, C - 1 + K, A) and future states (N, K, D) of these rows."""
        past = now[:, None] + np.arange(1 - context, 1)
        drive = now[:, None] + np.arange(1 - context, horizon)
        future = now[:, None] + np.arange(1, horizon + 1)
        return self.states_RD[past], self.actions_RA[drive], self.states_RD[future]
