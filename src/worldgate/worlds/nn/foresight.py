"""Predicting latents under actions: by a memory of all actions so far, or from latent to latent.

Source: action-prefix prediction as in Fast-LeWM (arXiv 2606.26217) and VLWM (arXiv 2606.21775); step by step as in
LeWM (arXiv 2603.19312). Notable choices: actions are taken in blocks of a few rows, and a block may be cut short, so
that every row of the horizon can be asked for and a long one costs few steps; the prefix memory starts from the known
latents and reads actions alone, so an error of one predicted latent is never fed into the next; several heads, each
with a fixed random part of its own that training cannot remove (arXiv 1806.03335), disagree where there was no data.

Shape legend: N samples, L rows ahead, K of them that are looked at, B rows of a block, H known latents, D latent, A
action channels, M members, W width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.worlds.nn.memories import EnsembleLinear

_PRIOR = 0.3
"""Size of a member's fixed random part."""
_SMALL = 0.1
"""Gain of the last layer at the start: nothing changes much."""


class Reckoning(StrEnum):
    """How the future is reckoned."""

    PREFIX = "prefix"
    """From now, under all actions up to a row."""
    STEP = "step"
    """From one predicted latent to the next."""


class Foresight(nn.Module):
    """What follows some known latents under actions.

    Args:
        latent: D.
        actions: A.
        block: B.
        width: of hidden layers.
        members: M; 1 tells no disagreement.
    """

    def __init__(self, latent: int, actions: int, block: int, width: int, members: int) -> None:
        super().__init__()
        self.latent, self.block, self.members = latent, block, members
        self.act = nn.Sequential(nn.Linear(block * (actions + 1), width), nn.SiLU())
        self.hidden = EnsembleLinear(members, width, width)
        self.change = EnsembleLinear(members, width, latent, gain=_SMALL)
        self.register_buffer("prior_MWD", _PRIOR * torch.randn(members, width, latent) / width**0.5)

    prior_MWD: Tensor

    @abstractmethod
    def open(self, known_NHD: Tensor) -> tuple[Tensor, ...]:
        """What is carried from block to block, at known latents, the newest last."""

    @abstractmethod
    def carry(self, carried: tuple[Tensor, ...], block_NW: Tensor) -> tuple[Tensor, ...]:
        """What is carried on after a block."""

    @abstractmethod
    def latents(self, carried: tuple[Tensor, ...]) -> Tensor:
        """(M, N, D) latents of the row that was carried to."""

    def told(self, actions_NLA: Tensor) -> Tensor:
        """(N, W) of a block's actions, as many as there are."""
        missing = self.block - actions_NLA.shape[1]
        there = functional.pad(actions_NLA, (0, 1), value=1.0)
        out: Tensor = self.act(functional.pad(there, (0, 0, 0, missing)).flatten(1))
        return out

    def forward(self, known_NHD: Tensor, actions_NLA: Tensor, rows: Sequence[int]) -> Tensor:
        """(M, N, K, D) latents after the actions of these rows, counted from 0 and rising."""
        carried, out = self.open(known_NHD), []
        for first in range(0, rows[-1] + 1, self.block):
            last = first + self.block - 1
            for row in (row for row in rows if first <= row < last):
                out.append(self.latents(self.carry(carried, self.told(actions_NLA[:, first : row + 1]))))
            if rows[-1] >= last:
                carried = self.carry(carried, self.told(actions_NLA[:, first : last + 1]))
            if last in rows:
                out.append(self.latents(carried))
        return torch.stack(out, dim=2)

    def changed(self, hidden_MNW: Tensor) -> Tensor:
        """(M, N, D) by which latents change."""
        inner = functional.silu(self.hidden(hidden_MNW))
        out: Tensor = self.change(inner)
        return out if self.members == 1 else out + torch.tanh(inner) @ self.prior_MWD


class PrefixForesight(Foresight):
    """From now, under all actions up to a row."""

    def __init__(self, latent: int, known: int, actions: int, block: int, width: int, members: int) -> None:
        super().__init__(latent, actions, block, width, members)
        self.start = nn.Sequential(nn.Linear(known * latent, width), nn.SiLU(), nn.Linear(width, width), nn.Tanh())
        self.memory = nn.GRUCell(width, width)

    def open(self, known_NHD: Tensor) -> tuple[Tensor, ...]:
        return known_NHD[:, -1], self.start(known_NHD.flatten(1))

    def carry(self, carried: tuple[Tensor, ...], block_NW: Tensor) -> tuple[Tensor, ...]:
        now_ND, memory_NW = carried
        return now_ND, self.memory(block_NW, memory_NW)

    def latents(self, carried: tuple[Tensor, ...]) -> Tensor:
        now_ND, memory_NW = carried
        return now_ND + self.changed(memory_NW.expand(self.members, -1, -1))


class StepForesight(Foresight):
    """From one predicted latent to the next, each member along its own path."""

    def __init__(self, latent: int, known: int, actions: int, block: int, width: int, members: int) -> None:
        super().__init__(latent, actions, block, width, members)
        self.enter = EnsembleLinear(members, known * latent, width)
        self.lead = nn.Linear(width, width)

    def open(self, known_NHD: Tensor) -> tuple[Tensor, ...]:
        return tuple(past.expand(self.members, -1, -1) for past in known_NHD.unbind(dim=1))

    def carry(self, carried: tuple[Tensor, ...], block_NW: Tensor) -> tuple[Tensor, ...]:
        told = self.enter(torch.cat(carried, dim=-1)) + self.lead(block_NW)
        return (*carried[1:], carried[-1] + self.changed(functional.silu(told)))

    def latents(self, carried: tuple[Tensor, ...]) -> Tensor:
        return carried[-1]


class Path:
    """A prediction under way, row by row.

    Args:
        foresight: who predicts.
        known_NHD: where it begins.
    """

    def __init__(self, foresight: Foresight, known_NHD: Tensor) -> None:
        self.foresight, self._carried = foresight, foresight.open(known_NHD)
        self._block: list[Tensor] = []

    def step(self, action_NA: Tensor) -> Tensor:
        """(M, N, D) latents after this action."""
        self._block.append(action_NA)
        carried = self.foresight.carry(self._carried, self.foresight.told(torch.stack(self._block, dim=1)))
        if len(self._block) == self.foresight.block:
            self._carried, self._block = carried, []
        return self.foresight.latents(carried)


def make_foresight(
    kind: Reckoning, *, latent: int, known: int, actions: int, block: int, width: int, members: int
) -> PrefixForesight | StepForesight:
    """One of the two."""
    made = PrefixForesight if kind is Reckoning.PREFIX else StepForesight
    return made(latent, known, actions, block, width, members)
