"""Rolling a token model forward, frame by frame, from a cache: the same for vectors and for codes.

Known frames enter as they are. Frames that are known ahead of time come first in the sequence, at their own times, and
are never forgotten: every frame after them sees where things must end. Streams of one frame may be known or not.

Shape legend: N sequences, S streams, G tokens of a stream, E entries of a token, T frames, A action channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from worldgate.worlds.devices import Draws
from worldgate.worlds.nn.attention import Past
from worldgate.worlds.nn.streams import Backbone, Guidance


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What preceded the frame before: by how much that one moved, and why, says much of the next."""

    numbers: tuple[Tensor, ...]
    """(N, T, 1, E) of every stream that is numbers, two frames back."""
    known_NT: Tensor
    """Where both frames are known."""
    actions_NTA: Tensor
    """In force between the two, normalised."""

    @classmethod
    def of(cls, numbers: Sequence[Tensor], known_NT: Tensor, guidance: Guidance, *, prefixed: bool) -> Earlier:
        """Of windows, from their own frames.

        Args:
            numbers: (N, T, 1, E) of every stream that is numbers.
            known_NT: where the frame before each one is remembered.
            guidance: of the frames.
            prefixed: whether the first frame is one that is known ahead.
        """
        first = 2 + prefixed
        known_NT = torch.cat([torch.zeros_like(known_NT[:, :first]), known_NT[:, first:]], dim=1)
        actions = guidance.actions_NTA
        return cls(
            numbers=tuple(torch.cat([torch.zeros_like(x[:, :2]), x[:, :-2]], dim=1) for x in numbers),
            known_NT=known_NT,
            actions_NTA=torch.cat([torch.zeros_like(actions[:, :1]), actions[:, :-1]], dim=1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """The frame before, as it is remembered."""

    tokens: tuple[Tensor, ...]
    """(N, T, G, E) of every stream."""
    level_NTS: Tensor = field(default_factory=lambda: torch.empty(0))
    """How clean each stream is, from 0 to 1, where tokens are vectors."""
    earlier: Earlier | None = None
    """None: nothing is known of it."""

    def rows(self, rows: slice) -> Before:
        """Of some sequences."""
        earlier = self.earlier and Earlier(
            numbers=tuple(held[rows] for held in self.earlier.numbers),
            known_NT=self.earlier.known_NT[rows],
            actions_NTA=self.earlier.actions_NTA[rows],
        )
        return Before(tokens=tuple(held[rows] for held in self.tokens), level_NTS=self.level_NTS[rows], earlier=earlier)


class Denoiser(Protocol):
    """What turns unknown tokens into likely ones."""

    backbone: Backbone

    def nothing(self, count: int) -> Before:
        """What stands before the first frame."""
        ...

    def fill(
        self,
        known: Sequence[Tensor | None],
        before: Before,
        guidance: Guidance,
        time: Tensor,
        past: Sequence[Past],
        draws: Draws,
    ) -> list[Tensor]:
        """One frame (N, 1, G, E) of every stream, with what is known of it kept."""
        ...

    def keep(
        self,
        tokens: Sequence[Tensor | None],
        before: Before,
        guidance: Guidance,
        time: Tensor,
        past: Sequence[Past],
        draws: Draws,
    ) -> Before:
        """Put one frame into the cache; of a stream that is None, nothing is known."""
        ...


class Dream:
    """N sequences rolled forward together.

    Args:
        model: the trained denoiser.
        count: N.
        window: frames that are remembered, beside the pinned ones.
        draws: chance, which comes to where the model's weights lie; what the model is given lies there, too.
    """

    def __init__(self, model: Denoiser, count: int, *, window: int, draws: Draws) -> None:
        self.model, self.draws, self.time = model, draws, 0
        self.past = model.backbone.pasts(window)
        self.before = self.blank = model.nothing(count)

    def pin(self, tokens: Sequence[Tensor | None], guidance: Guidance, time: int) -> None:
        """A frame that is known ahead; before the first :meth:`advance`."""
        self._keep(True)
        for past in self.past:
            past.pinning = time
        self.model.keep(tokens, self.blank, guidance, self._when(time), self.past, self.draws)
        for past in self.past:
            past.pinning, past.pinned = None, past.pinned + 1

    def advance(self, guidance: Guidance, known: Sequence[Tensor | None] = ()) -> list[Tensor]:
        """The next frame, (N, 1, G, E) of every stream, with what is known of it."""
        now = self._when(self.time)
        given = list(known) or [None] * len(self.before.tokens)
        frame = [held for held in given if held is not None]
        if len(frame) < len(given):
            self._keep(False)
            frame = self.model.fill(given, self.before, guidance, now, self.past, self.draws)
        self._keep(True)
        self.before = self.model.keep(frame, self.before, guidance, now, self.past, self.draws)
        self.time += 1
        return frame

    def _when(self, time: int) -> Tensor:
        """(1,) where the model is, without waiting for it."""
        return torch.full((1,), time, device=self.draws.device)

    def _keep(self, keep: bool) -> None:
        for past in self.past:
            past.keep = keep
