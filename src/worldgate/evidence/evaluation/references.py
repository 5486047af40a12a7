"""Real episodes from a model's training split: what scales, read-outs and donors of actions are taken from.

Frames stay where they are (the clip cache maps them); numbers of a few dozen episodes are small.

Shape legend: T rows, D state channels, A action channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.normalisers import fit
from worldgate.core.streams import Array, BoolArray, FloatArray, IntArray
from worldgate.core.worlds import ModelSpec
from worldgate.evidence.evaluation.truth import PICTURE, Truth
from worldgate.evidence.windows import FrameReader, Tracks, read_tracks

Probe = TypeVar("Probe")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What brings a stream's channels to comparable size."""

    std: FloatArray
    """(D,) of the training rows; 1 where a channel is constant."""
    moves: BoolArray
    """(D,) channels that are not constant; the others are left out of joint errors."""
    circular: BoolArray
    """(D,)"""

    @classmethod
    def of(cls, arrays: Sequence[FloatArray], unit: str) -> Scale:
        """Measured on training rows."""
        found = fit(list(arrays), unit=unit)
        constant = np.asarray(found.constant, np.bool_)
        moves = np.ones(len(found.std), np.bool_) if constant.all() else ~constant
        return cls(std=np.asarray(found.std), moves=moves, circular=np.asarray(found.circular, np.bool_))


class References:
    """Training episodes as a model spec names them.

    Args:
        episodes: of the training split; all of one origin.
        spec: of the model that is evaluated.
        read_frames: how a camera's pictures are read.
        most: episodes that are used, evenly spread.
    """

    def __init__(self, episodes: Sequence[Episode], spec: ModelSpec, read_frames: FrameReader, most: int) -> None:
        count = min(most, len(episodes))
        picked = [episodes[(i * (len(episodes) - 1)) // max(count - 1, 1)] for i in range(count)]
        self.spec = spec
        self._read_frames = read_frames
        self._fitted: dict[str, Any] = {}
        self.tracks: list[Tracks] = [read_tracks(episode, spec, read_frames) for episode in picked]

    @cached_property
    def truths(self) -> list[Truth]:
        """What is known of each episode beside what the model sees."""
        return [Truth(t.episode) for t in self.tracks]

    def pictures(self, episode: Episode, camera: str) -> Array:
        """A camera's pictures at the size that the model sees it, or else 64 x 64."""
        size = next((c.shape[:2] for c in self.spec.cameras if c.name == camera), (PICTURE, PICTURE))
        return self._read_frames(episode, camera, (size[0], size[1]))

    def rows(self, tracks: Tracks, around: int, most: int) -> IntArray:
        """Good rows of one episode with ``around`` good ones on each side, at most ``most`` over all episodes."""
        bad = np.concatenate([[0], np.cumsum(~tracks.good)])
        t = np.arange(around, len(tracks.good) - around)
        fitting = t[bad[t + around + 1] == bad[t - around]]
        share = sum(len(held.good) for held in self.tracks) / most
        return np.asarray(fitting[:: max(1, round(share))])

    def states(self, stream: str) -> list[FloatArray]:
        """One (T, D) array an episode, NaN where alignment marked a gap."""
        return [np.where(t.good[:, None], t.states[stream], np.nan) for t in self.tracks]

    def scale(self, stream: str, unit: str) -> Scale:
        """Of a state stream."""
        return Scale.of(self.states(stream), unit)

    def probe(self, camera: str, fit_probe: Callable[[References, str], Probe]) -> Probe:
        """A read-out of a camera, fitted once."""
        key = f"{fit_probe.__name__} {camera}"
        if key not in self._fitted:
            self._fitted[key] = fit_probe(self, camera)
        found: Probe = self._fitted[key]
        return found

    def actions(self) -> list[FloatArray]:
        """One (T, A) array an episode."""
        return [np.asarray(t.actions, np.float64) for t in self.tracks if t.actions is not None]
