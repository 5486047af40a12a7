"""Runs that were collected, and sequences drawn from them.

Shape legend: R rows over all runs, N sequences, T rows of one, D state channels, A action channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldgate.core.streams import FloatArray
from worldgate.worlds.nn.rssm_net import Sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: row 0 is where it began, and row t what the action of row t led to."""

    states_TD: FloatArray
    actions_TA: FloatArray
    """In force from the row before to this one, in the task's unit; row 0 is zero."""
    reward_T: FloatArray
    """Of the step that led to this row."""
    terminal_T: FloatArray
    """1 in a last row after which nothing can come; running out of time is none."""
    success: float
    """Whether the task called it one at its end."""

    @property
    def total(self) -> float:
        """Sum of its rewards."""
        return float(self.reward_T.sum())


class Replay:
    """All runs end to end; sequences cross from one into the next, and the network is told where one begins."""

    _FIELDS = ("states", "actions", "reward", "terminal", "first")

    def __init__(self, states: int, actions: int, rows: int) -> None:
        widths = {"states": (states,), "actions": (actions,), "reward": (), "terminal": (), "first": ()}
        self._held = {name: torch.zeros(rows, *widths[name]) for name in self._FIELDS}
        self.rows = 0

    def add(self, run: Run) -> None:
        """Append a run."""
        count = len(run.reward_T)
        first = np.zeros(count, np.float32)
        first[0] = 1
        values = (run.states_TD, run.actions_TA, run.reward_T, run.terminal_T, first)
        for name, value in zip(self._FIELDS, values, strict=True):
            self._held[name][self.rows : self.rows + count] = torch.as_tensor(np.asarray(value, np.float32))
        self.rows += count

    def draw(self, rng: np.random.Generator, count: int, length: int, reads: Sequence[str]) -> Sequences:
        """Sequences (N, T) at random."""
        begins = rng.integers(self.rows - length + 1, size=count)
        rows_NT = torch.as_tensor(begins[:, None] + np.arange(length))
        first = self._held["first"][rows_NT]
        first[:, 0] = 1
        return Sequences(
            states_NTD=self._held["states"][rows_NT],
            actions_NTA=self._held["actions"][rows_NT],
            first_NT=first,
            there_NT=torch.ones_like(first),
            reads_NTR=torch.stack([self._held[name][rows_NT] for name in reads], dim=-1),
        )

    def state(self) -> dict[str, Tensor]:
        """Everything, for a snapshot."""
        return {name: held[: self.rows].clone() for name, held in self._held.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of :meth:`state`."""
        self.rows = len(state["first"])
        for name, held in self._held.items():
            held[: self.rows] = state[name]
