"""Filling a batch: numbers from one table, frames from their sources, all written in place.

What fills is the same value in this process and in a worker; it can be sent.

Shape legend: B clips, K clips of a task, T frames, N rows of all episodes together, D values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused
from worldgate.core.streams import BoolArray, FloatArray, IntArray
from worldgate.data.loader.batches import Arrays
from worldgate.data.loader.memory import SpanMemory
from worldgate.data.loader.readers import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Clips of a batch that are to be filled; all of them, or those of one worker."""

    places: IntArray
    """(K,) in the batch."""
    episodes: IntArray
    """(K,) place of the episode."""
    rows: IntArray
    """(K,) first row."""
    spans: IntArray | None = None
    """(K,) in which span a clip lies, where frames are decoded span by span."""
    turns: IntArray | None = None
    """(K,) how many-th its span is opened."""

    def parts(self, workers: int) -> list[tuple[int | None, Task]]:
        """Cut so that each span is decoded by one worker; None: whoever has the least to do."""
        if self.spans is None or self.turns is None:
            return [(None, self)]
        owner = self.turns % workers
        return [(int(number), self._only(owner == number)) for number in np.unique(owner)]

    def _only(self, mine: BoolArray) -> Task:
        assert self.spans is not None
        assert self.turns is not None
        return Task(
            places=self.places[mine],
            episodes=self.episodes[mine],
            rows=self.rows[mine],
            spans=self.spans[mine],
            turns=self.turns[mine],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Filler:
    """All that is needed to fill a batch."""

    cameras: tuple[str, ...]
    sources: Sequence[Sequence[Source]]
    """Episode by episode, camera by camera."""
    numbers: Mapping[str, FloatArray]
    """Stream -> (N, D) float32, episode after episode."""
    offsets: IntArray
    """(E,) first row of each episode in ``numbers``."""
    reach: IntArray
    """(T,) rows of a clip, counted from its first."""
    memory: SpanMemory | None
    """Where frames are decoded span by span."""

    def fill(self, out: Arrays, task: Task) -> None:
        """Write the clips of a task.

        Raises:
            Tampered: a damaged file of the clip cache.
            LogUnreadable: a damaged recording.
        """
        taken = (self.offsets[task.episodes] + task.rows)[:, None] + self.reach
        for name, table in self.numbers.items():
            out.numbers[name][task.places] = table[taken]
        for number in range(len(task.places)):
            self._frames(out, task, number)

    def _frames(self, out: Arrays, task: Task, number: int) -> None:
        """Write the frames of one clip, from every camera."""
        wanted, sources = self.reach + task.rows[number], self.sources[task.episodes[number]]
        places = [out.frames[camera][task.places[number]] for camera in self.cameras]
        if self.memory is None or task.spans is None or task.turns is None:
            for source, place in zip(sources, places, strict=True):
                source.into(wanted, place)
            return
        span = self.memory.get(int(task.spans[number]), int(task.turns[number]), sources, places)
        for camera, place in enumerate(places):
            span.into(camera, wanted, place)


def number_tables(episodes: Sequence[Episode], streams: Sequence[str]) -> dict[str, FloatArray]:
    """Each stream's rows of all episodes, one after the other: (N, D) float32.

    Raises:
        DataRefused: a stream that is wider in one episode than in another.
    """
    out: dict[str, FloatArray] = {}
    for name in streams:
        arrays = [episode.array(name).reshape(len(episode), -1) for episode in episodes]
        widths = {array.shape[1]: episode.name for array, episode in zip(arrays, episodes, strict=True)}
        if len(widths) > 1:
            got = ", ".join(f"{width} values in {episode}" for width, episode in widths.items())
            raise DataRefused("episodes disagree on a stream", got=got, where=name)
        out[name] = np.concatenate(arrays).astype(np.float32, copy=False)
    return out
