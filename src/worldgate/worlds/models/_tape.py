"""What the token families share of data: tokens of all tracks laid end to end, and windows drawn from them.

Shape legend: R rows over all tracks, O tracks, N windows, T frames of a window, S streams, G tokens of a stream, X
entries of a token, A action channels, W numbers of a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldgate.core.streams import IntArray
from worldgate.worlds.batches import Batch
from worldgate.worlds.devices import sent
from worldgate.worlds.tracks import Track, runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Frames in a row, of several tracks."""

    tokens: tuple[Tensor, ...]
    """(N, T, G, X) of every stream."""
    present_NS: Tensor
    """Streams that the track has; tokens of the others mean nothing."""
    actions_NTA: Tensor
    """In force just before each frame, normalised."""
    acted_NT: Tensor
    """False where no action is known: before a window's first frame, and in unlabelled video."""
    text_NW: Tensor
    """Of the text encoder."""
    told_N: Tensor
    """False where there is no text."""

    def __len__(self) -> int:
        return len(self.present_NS)

    def to(self, device: torch.device) -> Windows:
        """The same on another device."""
        tokens = tuple(sent(held, device) for held in self.tokens)
        return Windows(tokens=tokens, **{name: sent(getattr(self, name), device) for name in _NAMES})

    def batch(self, seed: int, **numbers: int) -> Batch:
        """As a phase hands it to its loss."""
        named = {f"tokens_{s}": held for s, held in enumerate(self.tokens)}
        named |= {name: getattr(self, name) for name in _NAMES}
        return Batch(tensors=named, numbers=numbers, seed=seed)

    @classmethod
    def of(cls, batch: Batch) -> Windows:
        """The inverse of :meth:`batch`."""
        count = sum(name.startswith("tokens_") for name in batch.tensors)
        return cls(tokens=tuple(batch[f"tokens_{s}"] for s in range(count)), **{name: batch[name] for name in _NAMES})


_SECOND = 0.7
"""Share of training windows in which every second frame is new."""
_FIRST = 0.25
"""Share of new frames whose numbers are asked for, and not their pictures."""
_SEEN = 0.3
"""Share of those whose pictures are known."""
_SHORTEST = 2
"""Rows of the shortest run that anything is learned from."""
_NAMES = ("present_NS", "actions_NTA", "acted_NT", "text_NW", "told_N")


class Tape:
    """Tokens of all tracks, on the CPU.

    Args:
        tracks: whose tokens they are.
        tokens: of every track, of every stream (T, G, X), or None where the track lacks the stream.
        actions: of every track (T, A), normalised.
        acts: whether each track has actions at all.
        text_OW: of every track's text, by the text encoder.
        blank: tokens (0, G, X) of every stream, for those that no track has.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        tokens: Sequence[Sequence[Tensor | None]],
        actions: Sequence[Tensor],
        acts: Sequence[bool],
        text_OW: Tensor,
        blank: Sequence[Tensor],
    ) -> None:
        self.tracks = tracks
        self.offsets = np.concatenate([[0], np.cumsum([len(t) for t in tracks])]).astype(np.int64)
        self.tokens: list[Tensor] = []
        for like, stream in zip(blank, zip(*tokens, strict=True), strict=True):
            parts = [
                torch.zeros(len(t), *like.shape[1:], dtype=like.dtype) if held is None else held
                for t, held in zip(tracks, stream, strict=True)
            ]
            self.tokens.append(torch.cat(parts))
        self.present = torch.tensor([[held is not None for held in mine] for mine in tokens])
        self.actions_RA = torch.cat(list(actions))
        self.acts = torch.tensor(list(acts))
        self.text_OW = text_OW
        self.told = torch.tensor([bool(t.text) for t in tracks])

    def starts(self, length: int, *, whole: bool = False) -> IntArray:
        """First rows of all windows of valid rows; ``whole``: of tracks that lack no stream."""
        parts = [
            track.starts(1, length - 1) + first
            for track, first, present in zip(self.tracks, self.offsets, self.present, strict=False)
            if not whole or bool(present.all())
        ]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def by_length(self, longest: int) -> dict[int, IntArray]:
        """First rows of windows of valid rows by their length: ``longest``, and whole runs that are shorter."""
        found: dict[int, list[int]] = {longest: self.starts(longest).tolist()}
        for track, first in zip(self.tracks, self.offsets, strict=False):
            for begin, end in runs(track.valid_T):
                if _SHORTEST <= end - begin < longest:
                    found.setdefault(end - begin, []).append(int(first) + begin)
        return {length: np.asarray(rows, np.int64) for length, rows in sorted(found.items(), reverse=True) if rows}

    def pairs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of valid frames that have a valid one after them, those, and the track of each."""
        starts = self.starts(2)
        return torch.as_tensor(starts), torch.as_tensor(starts + 1), torch.as_tensor(self.track_of(starts))

    def track_of(self, rows: IntArray) -> IntArray:
        """Index of the track that each row lies in."""
        return np.searchsorted(self.offsets, rows, side="right") - 1

    def led(self, starts_N: IntArray) -> Tensor:
        """Whether an action is known before the first frame of windows that begin at these rows."""
        track = self.track_of(starts_N)
        inside = starts_N > self.offsets[track]
        valid = np.concatenate([t.valid_T for t in self.tracks])[np.maximum(starts_N - 1, 0)]
        return torch.as_tensor(inside & valid) & self.acts[torch.as_tensor(track)]

    def windows(self, starts_N: IntArray, length: int) -> Windows:
        """The windows that begin at these rows."""
        rows = torch.as_tensor(starts_N[:, None] + np.arange(length))
        track = torch.as_tensor(self.track_of(starts_N))
        acted = self.acts[track].unsqueeze(1).repeat(1, length)
        acted[:, 0] = False
        return Windows(
            tokens=tuple(held[rows] for held in self.tokens),
            present_NS=self.present[track],
            actions_NTA=self.actions_RA[(rows - 1).clamp(min=0)],
            acted_NT=acted,
            text_NW=self.text_OW[track],
            told_N=self.told[track],
        )


def remembered(count: int, frames: int, share: float, device: torch.device) -> Tensor:
    """Which frames of training windows stand there as remembered ones (N, T); the others are new.

    In most windows every second frame is new, as in use: what stands before it is remembered. In the others frames are
    remembered at random, ``share`` of them, so that several unknown ones in a row occur, too.
    """
    random = torch.rand(count, frames, device=device) < share
    second = (torch.arange(frames, device=device) + torch.randint(2, (count, 1), device=device)) % 2 > 0
    return torch.where(torch.rand(count, 1, device=device) < _SECOND, second, random)


def turns(count: int, frames: int, plain: Sequence[bool], device: torch.device) -> tuple[Tensor, Tensor]:
    """Of which new frames the numbers are asked for and not the pictures, and where pictures are known then (N, T, 1).

    In use numbers come first, and pictures then know them; pictures are known where a prompt holds them alone.
    """
    share = _FIRST if any(plain) and not all(plain) else float(all(plain))
    first, seen = (torch.rand(count, frames, 1, device=device) < part for part in (share, _SEEN))
    return first, seen
