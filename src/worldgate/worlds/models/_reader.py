"""The state heads at work: known rows and imagined frames one after the other, with a running memory.

Of a known row only what the prompt holds of it is looked at, and never what the model made up beside it.

Shape legend: B sequences, T rows, S streams, G tokens of a stream, E entries of a token, D channels of a read-out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from worldgate.worlds.heads.net import Look
from worldgate.worlds.nn.streams import Guidance

if TYPE_CHECKING:
    from worldgate.worlds.models._generator import Generator

Reading: TypeAlias = tuple[dict[str, Tensor], dict[str, Tensor]]
"""Values and calibrated deviations of every read-out, (B, T, D)."""


class Reader:
    """Of B sequences, row by row."""

    def __init__(self, family: Generator, count: int) -> None:
        assert family.heads is not None
        self.codec, self.heads, self.count = family.codec, family.heads, count
        self.memory, self.since = self.heads.blank(count), 0

    def known(self, tokens: Sequence[Tensor | None], guidance: Guidance) -> Reading:
        """The next known row or rows; of a stream that is None nothing is known."""
        self.since = 0
        return self._see(tokens, guidance)

    def imagined(self, tokens: Sequence[Tensor | None], guidance: Guidance) -> Reading:
        """The next imagined frame."""
        self.since += 1
        return self._see(tokens, guidance)

    def _see(self, tokens: Sequence[Tensor | None], guidance: Guidance) -> Reading:
        frames = guidance.acted_NT.shape[1]
        device, shape = guidance.acted_NT.device, (self.count, frames)
        blank = [torch.zeros(*shape, *b.shape[1:], dtype=b.dtype, device=device) for b in self.codec.blank()]
        seen = torch.stack([torch.full(shape, held is not None, device=device) for held in tokens], dim=-1)
        shown = [b if held is None else held for b, held in zip(blank, tokens, strict=True)]
        look = Look(
            views=self.codec.views(shown),
            seen_NTS=seen,
            actions_NTA=guidance.actions_NTA,
            acted_NT=guidance.acted_NT,
            since_NT=torch.full(shape, self.since, device=device),
        )
        said, self.memory = self.heads(look, self.memory)
        return self.heads.read(said, look.since_NT)
