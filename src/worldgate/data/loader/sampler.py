"""Which clips there are, and in which order they come: a function of seed and epoch, and of nothing else.

In the uniform order a clip's place in an epoch is the rank of a hash of (seed, epoch, episode id, row). So the order
does not depend on the number of workers, on the order in which episodes were named, or on the version of a random
generator, and an episode that is added later moves no other clip before or after another.

Shape legend: W clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.streams import NUMERIC, BoolArray, IntArray
from worldgate.data import clips

UInts: TypeAlias = NDArray[np.uint64]

Tail = Literal["pad", "drop"]
OrderName = Literal["uniform", "blocks", "rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Every clip that may be served."""

    episode: IntArray
    """(W,) place of the episode."""
    row: IntArray
    """(W,) its first row."""
    key: UInts
    """(W,) names the clip by content: episode id and row."""

    def __len__(self) -> int:
        return len(self.row)


def windows(episodes: Sequence[Episode], streams: Sequence[str], *, frames: int, stride: int, step: int) -> Windows:
    """Every run of rows that is long enough, without a gap in any of these streams and without a number that is none.

    Args:
        episodes: where to look.
        streams: what a clip will hold.
        frames: rows of a clip.
        stride: rows from one frame of a clip to the next.
        step: rows between the starts considered.

    Raises:
        DataRefused: there is none.
    """
    span = (frames - 1) * stride + 1
    episode_of, rows, keys = [], [], []
    for place, episode in enumerate(episodes):
        starts = clips.windows(episode, span, 0, step, streams=streams)
        bad = np.concatenate([[0], np.cumsum(~_finite(episode, streams))])
        starts = starts[bad[starts + span] == bad[starts]]
        episode_of.append(np.full(len(starts), place, np.int64))
        rows.append(starts)
        keys.append(mix(np.uint64(int(episode.id[:16], 16)) ^ starts.astype(np.uint64)))
    found = Windows(episode=_joined(episode_of), row=_joined(rows), key=_joined(keys, np.uint64))
    if not len(found):
        longest = max((len(episode) for episode in episodes), default=0)
        raise DataRefused(
            "no episode holds a clip of this length without a gap",
            got=f"{frames} frames, {stride} rows apart; the longest of {len(episodes)} episodes has {longest} rows",
            hint="shorter clips, a smaller stride, or an alignment with more tolerance",
        )
    return found


def _finite(episode: Episode, streams: Sequence[str]) -> BoolArray:
    good = np.ones(len(episode), np.bool_)
    for name in streams:
        if episode.streams[name].info.kind in NUMERIC:
            good &= np.isfinite(episode.array(name).reshape(len(episode), -1)).all(axis=1)
    return good


def _joined(parts: list[Any], dtype: Any = np.int64) -> Any:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)


def mix(values: Any) -> UInts:
    """SplitMix64's finaliser: every bit of the input changes half of the output's."""
    z = np.atleast_1d(np.asarray(values, np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: UInts = z ^ (z >> np.uint64(31))
    return mixed


def salted(seed: int, epoch: int) -> UInts:
    """What makes the hashes of one epoch of a run its own."""
    return mix(mix(np.uint64(seed & (1 << 64) - 1)) ^ np.uint64(epoch))


def edges(clips_in_all: int, ranks: int) -> list[tuple[int, int]]:
    """Half-open parts of an order, one a rank, as equal as can be."""
    return list(pairwise(clips_in_all * rank // ranks for rank in range(ranks + 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A rank's part of an epoch.

    Batch ``i`` of rank ``r`` is the ``i``-th stretch of ``ranks * batch`` clips of the epoch's order, and of that the
    ``r``-th part. So ranks are disjoint, together serve every clip, have the same number of batches, and a run that
    goes on with other ranks of the same total serves the same clips. Where a rank's clips lie ``together`` all of this
    holds but the last: each has its own part of the order.
    """

    batch: int
    """Clips of a batch, on each rank."""
    rank: int = 0
    ranks: int = 1
    tail: Tail = "pad"
    """What becomes of the clips that fill no whole batch: ``pad`` fills up with some of the epoch's, marked as
    repeated; ``drop`` leaves them out of this epoch."""
    together: bool = False
    """A rank's clips come one after the other in the order (:class:`worldgate.data.loader.blocks.Blocks`)."""

    def __post_init__(self) -> None:
        if self.batch < 1 or not 0 <= self.rank < self.ranks:
            raise UsageError("not a part of an epoch", got=f"batch {self.batch}, rank {self.rank} of {self.ranks}")

    @property
    def stretch(self) -> int:
        """Clips that all ranks take at once."""
        return self.batch * self.ranks

    def batches(self, clips_in_all: int) -> int:
        """Batches of an epoch, the same on every rank."""
        whole, rest = divmod(clips_in_all, self.stretch)
        return whole + (self.tail == "pad" and rest > 0)

    def positions(self, index: int, clips_in_all: int) -> tuple[IntArray, BoolArray]:
        """Places in the epoch's order of a batch's clips, and whether each is only filled up."""
        if self.together:
            return self._own(index, clips_in_all)
        start = index * self.stretch + self.rank * self.batch
        places = np.arange(start, start + self.batch, dtype=np.int64)
        return places % clips_in_all, places >= clips_in_all

    def _own(self, index: int, clips_in_all: int) -> tuple[IntArray, BoolArray]:
        """Filled up with the clips before: their frames are at hand."""
        first, last = edges(clips_in_all, self.ranks)[self.rank]
        places = np.arange(first, first + self.batch, dtype=np.int64) + index * self.batch
        beyond = places >= last
        if first == last:  # more ranks than clips
            return places % clips_in_all, beyond
        return np.where(beyond, last - 1 - (places - last) % (last - first), places), beyond


class Uniform:
    """Every clip at any place.

    Args:
        windows: the clips.
        seed: of the run.
    """

    def __init__(self, windows: Windows, *, seed: int) -> None:
        self._windows = windows
        self._seed = seed
        self._order = lru_cache(maxsize=2)(self._make)

    def epoch(self, epoch: int) -> IntArray:
        """(W,) clips in the order of this epoch."""
        return self._order(epoch)

    def _make(self, epoch: int) -> IntArray:
        return np.argsort(mix(self._windows.key ^ salted(self._seed, epoch)), kind="stable").astype(np.int64)


class Rows:
    """Episode by episode, row by row, in every epoch.

    Args:
        windows: the clips.
    """

    def __init__(self, windows: Windows) -> None:
        self._order = np.arange(len(windows), dtype=np.int64)

    def epoch(self, epoch: int) -> IntArray:
        """(W,) clips in the order of this epoch."""
        return self._order
