"""Filling a batch: numbers from one table, frames from their sources, all written in place.

What fills is the same value in this process and in a worker; it can be sent.

Shape legend: B clips, T frames, N rows of all episodes together, D values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused
from worldgate.core.streams import FloatArray, IntArray
from worldgate.data.loader.batches import Arrays
from worldgate.data.loader.memory import FrameMemory
from worldgate.data.loader.readers import Source


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
    frames: int
    stride: int
    memory: FrameMemory

    def fill(self, out: Arrays, episodes: IntArray, rows: IntArray) -> None:
        """Write the clips that begin at these rows of these episodes.

        Raises:
            Tampered: a damaged file of the clip cache.
            LogUnreadable: a damaged recording.
        """
        span = np.arange(self.frames, dtype=np.int64) * self.stride
        taken = (self.offsets[episodes] + rows)[:, None] + span
        for name, table in self.numbers.items():
            np.take(table, taken, axis=0, out=out.numbers[name], mode="clip")
        for place, (episode, row) in enumerate(zip(episodes.tolist(), rows.tolist(), strict=True)):
            wanted = span + row
            for number, (camera, source) in enumerate(zip(self.cameras, self.sources[episode], strict=True)):
                self.memory.into(source, episode, number, wanted, out.frames[camera][place])


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
