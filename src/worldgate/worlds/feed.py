"""Clips for training, from the clip loader: in an order of their own, each with a receipt.

A phase that learns from pictures holds a :class:`ClipFeed` instead of the frames. Frames stand raw in the clip cache,
at the size that the model takes, and are mapped from there; where episodes know no cache they are read as they lie.
All processes of a run take their parts of one order, which is a function of seed and epoch alone.

Shape legend: B clips of a batch, T frames, S pixels a side, R samples of a step over all processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from worldgate.core.digest import Json
from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused
from worldgate.core.streams import Array, IntArray
from worldgate.core.times import MILLISECOND
from worldgate.data.alignment import AlignedFrames
from worldgate.data.loader import Batch as Clips
from worldgate.data.loader import ClipConfig, ClipLoader, ReceiptTable
from worldgate.data.loader.clips import DIRECT

_RAW = "raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one process takes of every step."""

    rank: int = 0
    ranks: int = 1
    batches: int = 1
    """That this process draws for one step, one after the other."""
    seed: int = 0
    workers: int = 0
    """Processes that read clips; 0: this one."""


class ClipFeed:
    """Endless batches of clips; open it before the first, and close it in the end.

    Args:
        episodes: whose clips.
        cameras: streams of colour, depth or segmentation.
        frames: T.
        size: S.
        batch: B.
    """

    def __init__(
        self, episodes: Sequence[Episode], cameras: Sequence[str], *, frames: int, size: int, batch: int
    ) -> None:
        self.batch = batch
        self._episodes, self._cache = tuple(episodes), _cache_of(episodes, cameras)
        self._config = ClipConfig(
            cameras=tuple(cameras), size=size, frames=frames, codec=DIRECT if self._cache is None else _RAW
        )
        self._skew = [_worst_skew(episode, cameras) for episode in episodes]
        self._share = Share()
        self._loader: ClipLoader | None = None
        self._served: Iterator[Clips] = iter(())
        self._held: Clips | None = None
        self._left = 0

    def open(self, share: Share) -> None:
        """Begin at the start of the order; what was open is closed.

        Raises:
            DataRefused: no clip of this length without a gap.
        """
        self.close()
        config = ClipConfig(
            **{
                **asdict(self._config),
                "batch": self.batch * share.batches,
                "rank": share.rank,
                "ranks": share.ranks,
                "seed": share.seed,
                "workers": share.workers,
            }
        )
        self._share, self._loader = share, ClipLoader(config, self._episodes, cache=self._cache)
        self._served, self._held, self._left = self._endless(self._loader), None, 0

    def close(self) -> None:
        """End the processes that read."""
        if self._loader is not None:
            self._loader.close()
            self._loader = None

    @staticmethod
    def _endless(loader: ClipLoader) -> Iterator[Clips]:
        while True:
            yield from loader

    def take(self) -> tuple[dict[str, Tensor], IntArray]:
        """The next batch: camera -> (B, T, S, S, ...), in memory of its own, and (B,) which episode each is from."""
        if not self._left:
            self._held, self._left = next(self._served), self._share.batches
        assert self._held is not None, "a feed is opened before it serves"
        first = (self._share.batches - self._left) * self.batch
        self._left -= 1
        mine = slice(first, first + self.batch)
        clips = {camera: torch.from_numpy(held[mine].copy()) for camera, held in self._held.frames.items()}
        return clips, self._held.receipts["episode"][mine].astype(np.int64)

    def receipts(self) -> Array:
        """(R,) receipts of the step whose batches were taken last, of all processes."""
        assert self._loader is not None
        assert self._held is not None
        return self._loader.receipts_at(self._held.epoch, self._held.index)

    @property
    def table(self) -> ReceiptTable:
        """What all receipts share."""
        assert self._loader is not None
        return self._loader.receipts

    def skew_ms(self, receipts: Array) -> float:
        """The largest distance of a frame of these samples from its grid row, in milliseconds."""
        span = (self._config.frames - 1) * self._config.stride + 1
        rows = ((int(r["episode"]), int(r["row"])) for r in receipts)
        return max(int(self._skew[place][row : row + span].max()) for place, row in rows) / MILLISECOND

    def state(self) -> Mapping[str, Json]:
        """Where it stands after whole steps."""
        assert self._loader is not None
        assert not self._left, "between two steps"
        return cast(Mapping[str, Json], asdict(self._loader.state()))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on at the step after the last one.

        Raises:
            UsageError: the state of a feed of other clips.
        """
        assert self._loader is not None
        self._loader.restore(state)
        self._served, self._held, self._left = self._endless(self._loader), None, 0


def spread(
    episodes: Sequence[Episode], cameras: Sequence[str], *, frames: int, size: int, most: int
) -> tuple[dict[str, Tensor], IntArray]:
    """Up to ``most`` clips spread evenly over all rows, as :meth:`ClipFeed.take`; none where none is whole."""
    cache = _cache_of(episodes, cameras)
    config = ClipConfig(
        cameras=tuple(cameras), size=size, frames=frames, batch=1, order="rows", codec=DIRECT if cache is None else _RAW
    )
    try:
        loader = ClipLoader(config, episodes, cache=cache)
    except DataRefused:
        return {}, np.zeros(0, np.int64)
    held = [loader.clip(place) for place in range(0, loader.clips, -(-loader.clips // most))]
    clips = {camera: torch.from_numpy(np.stack([clip.frames[camera] for clip in held])) for camera in cameras}
    return clips, np.array([int(clip.receipt["episode"]) for clip in held])


def _cache_of(episodes: Sequence[Episode], cameras: Sequence[str]) -> Path | None:
    """The folder that all cameras' frames may be kept in; None where one of them knows none."""
    values = [episode.streams[camera].values for episode in episodes for camera in cameras]
    folders = {held.cache if isinstance(held, AlignedFrames) else None for held in values}
    return folders.pop() if len(folders) == 1 else None


def _worst_skew(episode: Episode, cameras: Sequence[str]) -> IntArray:
    """(T,) largest skew over the cameras of each row."""
    skews = np.stack([episode.streams[camera].skew_ns for camera in cameras])
    return np.asarray(np.abs(skews).max(axis=0), np.int64)
