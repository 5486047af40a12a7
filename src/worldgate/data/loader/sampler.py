"""Which clips there are, and in which order they come: a function of seed and epoch, and of nothing else.

A clip's place in an epoch is the rank of a hash of (seed, epoch, episode id, row). So the order does not depend on the
number of workers, on the order in which episodes were named, or on the version of a random generator, and an episode
that is added later moves no other clip before or after another.

Shape legend: W clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.streams import NUMERIC, BoolArray, IntArray
from worldgate.data import clips

_UInts = NDArray[np.uint64]

Tail = Literal["pad", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Every clip that may be served."""

    episode: IntArray
    """(W,) place of the episode."""
    row: IntArray
    """(W,) its first row."""
    key: _UInts
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
        keys.append(_mix(np.uint64(int(episode.id[:16], 16)) ^ starts.astype(np.uint64)))
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


def _mix(values: Any) -> _UInts:
    """SplitMix64's finaliser: every bit of the input changes half of the output's."""
    z = np.atleast_1d(np.asarray(values, np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: _UInts = z ^ (z >> np.uint64(31))
    return mixed


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A rank's part of an epoch.

    Batch ``i`` of rank ``r`` is the ``i``-th stretch of ``ranks * batch`` clips of the epoch's order, and of that the
    ``r``-th part. So ranks are disjoint, together serve every clip, have the same number of batches, and a run that
    goes on with other ranks of the same total serves the same clips.
    """

    batch: int
    """Clips of a batch, on each rank."""
    rank: int = 0
    ranks: int = 1
    tail: Tail = "pad"
    """What becomes of the clips that fill no whole batch: ``pad`` fills up with the first ones of the epoch, marked as
    repeated; ``drop`` leaves them out of this epoch."""

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
        start = index * self.stretch + self.rank * self.batch
        places = np.arange(start, start + self.batch, dtype=np.int64)
        return places % clips_in_all, places >= clips_in_all


class Order:
    """The order of an epoch's clips.

    Args:
        windows: the clips.
        seed: of the run.
        shuffle: False: episode by episode, row by row.
    """

    def __init__(self, windows: Windows, *, seed: int, shuffle: bool) -> None:
        self._windows = windows
        self._seed = seed
        self._shuffle = shuffle
        self._order = lru_cache(maxsize=2)(self._make)

    def epoch(self, epoch: int) -> IntArray:
        """(W,) clips in the order of this epoch."""
        return self._order(epoch)

    def _make(self, epoch: int) -> IntArray:
        if not self._shuffle:
            return np.arange(len(self._windows), dtype=np.int64)
        salt = _mix(_mix(np.uint64(self._seed & (1 << 64) - 1)) ^ np.uint64(epoch))
        return np.argsort(_mix(self._windows.key ^ salt), kind="stable").astype(np.int64)
