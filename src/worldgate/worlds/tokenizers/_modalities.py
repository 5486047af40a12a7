"""Colour, depth and segmentation as a network sees them, and what its answers are worth.

Raw pictures are what logs hold; a *field* is what enters a network; *answers* leave it. Depth travels as its logarithm
between the nearest and farthest of the training pictures, beside a channel that says where there is a return at all.
Class ids are names, not quantities: they are never averaged, and which channel a class gets follows from its area in
the training pictures, so that relabelling a whole dataset changes nothing.

Shape legend: N pictures, S pixels a side, I channels of a field, O of answers, K classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.streams import Kind
from worldgate.worlds.pixels import to_bytes, to_signed

_SURE = 6.0
"""Logit of what is known."""


class Modality(Protocol):
    """One kind of picture; an ``nn.Module``, whose buffers are what it learned of the training pictures."""

    enters: int
    leaves: int

    def fit(self, raw: Iterable[Tensor]) -> None:
        """Learn ranges or classes from training pictures, which come a few at a time and are only read if needed."""
        ...

    def check(self, raw_NSS: Tensor) -> None:
        """Refuse raw pictures that it cannot take; a device is waited for, so no training step asks.

        Raises:
            UsageError: an id that training never showed.
        """
        ...

    def field(self, raw_NSS: Tensor) -> Tensor:
        """Raw pictures to (N, I, S, S)."""
        ...

    def known(self, field_NISS: Tensor) -> Tensor:
        """The answers (N, O, S, S) that mean this field: what a context stands for."""
        ...

    def raw(self, answers_NOSS: Tensor) -> Tensor:
        """Answers to raw pictures."""
        ...

    def loss(self, answers_NOSS: Tensor, field_NISS: Tensor) -> Tensor:
        """(N, S, S) of every pixel."""
        ...

    def names(self) -> tuple[int, ...]:
        """Class ids it knows; empty for what has none."""
        ...


class Colour(nn.Module):
    """(N, S, S, 3) uint8."""

    enters = leaves = 3

    def fit(self, raw: Iterable[Tensor]) -> None:
        """Nothing is to be learned."""

    def check(self, raw_NSS: Tensor) -> None:
        """It takes all."""

    def field(self, raw_NSS: Tensor) -> Tensor:
        """Intensities from -1 to 1."""
        return to_signed(raw_NSS).movedim(-1, 1)

    def known(self, field_NISS: Tensor) -> Tensor:
        """The same."""
        return field_NISS

    def raw(self, answers_NOSS: Tensor) -> Tensor:
        """Bytes, rounded."""
        return to_bytes(answers_NOSS.float()).movedim(1, -1)

    def loss(self, answers_NOSS: Tensor, field_NISS: Tensor) -> Tensor:
        """Squared error."""
        return (answers_NOSS.float() - field_NISS).square().mean(dim=1)

    def names(self) -> tuple[int, ...]:
        """None."""
        return ()


class Depth(nn.Module):
    """(N, S, S) float32 metres, 0 where nothing came back."""

    enters = leaves = 2

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("range_2", torch.tensor([0.1, 10.0]))

    range_2: Tensor

    @torch.no_grad()
    def fit(self, raw: Iterable[Tensor]) -> None:
        """The nearest and farthest return.

        Raises:
            DataRefused: no return at all.
        """
        ends = [held.aminmax() for part in raw if len(held := part[torch.isfinite(part) & (part > 0)])]
        if not ends:
            raise DataRefused("a depth stream without one return", got="0 everywhere", hint="worldgate check")
        near, far = torch.stack([end.min for end in ends]).min(), torch.stack([end.max for end in ends]).max()
        self.range_2.copy_(torch.stack([near, torch.maximum(far, near * 1.01)]))

    def check(self, raw_NSS: Tensor) -> None:
        """It takes all."""

    def field(self, raw_NSS: Tensor) -> Tensor:
        """Logarithm from -1 (nearest) to 1, and whether there is a return, -1 or 1."""
        valid = torch.isfinite(raw_NSS) & (raw_NSS > 0)
        near, far = self.range_2.log()
        value = 2 * (torch.where(valid, raw_NSS, self.range_2[1]).log() - near) / (far - near) - 1
        return torch.stack([value.clamp(-1, 1), valid * 2.0 - 1.0], dim=1)

    def known(self, field_NISS: Tensor) -> Tensor:
        """The logarithm, and a sure logit."""
        return torch.cat([field_NISS[:, :1], _SURE * field_NISS[:, 1:]], dim=1)

    def raw(self, answers_NOSS: Tensor) -> Tensor:
        """Metres, 0 where no return is likelier."""
        near, far = self.range_2.log()
        value, logit = answers_NOSS.float().unbind(dim=1)
        return torch.where(logit > 0, ((value.clamp(-1, 1) + 1) / 2 * (far - near) + near).exp(), 0.0)

    def loss(self, answers_NOSS: Tensor, field_NISS: Tensor) -> Tensor:
        """Absolute error of the logarithm where there is a return, and cross-entropy of whether there is one."""
        value, logit = answers_NOSS.float().unbind(dim=1)
        true, sign = field_NISS.unbind(dim=1)
        valid = (sign > 0).float()
        entropy = functional.binary_cross_entropy_with_logits(logit, valid, reduction="none")
        return (value - true).abs() * valid + 0.1 * entropy

    def names(self) -> tuple[int, ...]:
        """None."""
        return ()


class Classes(nn.Module):
    """(N, S, S) class ids."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.enters = self.leaves = count
        self.register_buffer("ids_K", torch.full((count,), -1))

    ids_K: Tensor

    @torch.no_grad()
    def fit(self, raw: Iterable[Tensor]) -> None:
        """Which ids there are, the one with the largest area first.

        Raises:
            DataRefused: more classes than channels.
        """
        counts: Counter[int] = Counter()
        for part in raw:
            found, areas = torch.unique(part.long(), return_counts=True)
            counts.update(dict(zip(found.tolist(), areas.tolist(), strict=True)))
        ids = sorted(counts, key=lambda name: (-counts[name], name))
        if len(ids) > len(self.ids_K):
            hint = f"--set classes={len(ids)}"
            raise DataRefused("more classes than the tokenizer has channels for", got=f"{len(ids)} ids", hint=hint)
        self.ids_K.fill_(-1)
        self.ids_K[: len(ids)] = torch.tensor(ids)

    def check(self, raw_NSS: Tensor) -> None:
        """It takes the classes it knows.

        Raises:
            UsageError: an id that training never showed.
        """
        known = torch.isin(raw_NSS.long(), self.ids_K)
        if not bool(known.all()):
            odd, hint = int(raw_NSS.long()[~known][0]), f"known: {', '.join(map(str, self.names()))}"
            raise UsageError("a class id that the tokenizer never saw", got=odd, hint=hint)

    def field(self, raw_NSS: Tensor) -> Tensor:
        """One channel a class, 0 or 1; none of what :meth:`check` refuses."""
        return (raw_NSS.long().unsqueeze(1) == self.ids_K[:, None, None]).float()

    def known(self, field_NISS: Tensor) -> Tensor:
        """Sure logits."""
        return _SURE * field_NISS

    def raw(self, answers_NOSS: Tensor) -> Tensor:
        """The likeliest known class, in the smallest integer type that holds all ids."""
        unknown = (self.ids_K < 0)[:, None, None]
        ids = self.ids_K[answers_NOSS.float().masked_fill(unknown, -torch.inf).argmax(dim=1)]
        return ids.to(torch.uint8 if int(self.ids_K.max()) < 256 else torch.int32)

    def loss(self, answers_NOSS: Tensor, field_NISS: Tensor) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(answers_NOSS.float(), field_NISS.argmax(dim=1), reduction="none")

    def names(self) -> tuple[int, ...]:
        """Of the training pictures, the largest area first."""
        return tuple(int(i) for i in self.ids_K if i >= 0)


def modality_of(kind: Kind, classes: int) -> Modality:
    """The modality of a stream's kind.

    Raises:
        UsageError: a kind that is no picture.
    """
    if kind is Kind.IMAGE:
        return Colour()
    if kind is Kind.DEPTH:
        return Depth()
    if kind is Kind.SEGMENTATION:
        return Classes(classes)
    raise UsageError("tokenizers take colour, depth and segmentation", got=kind.value)
