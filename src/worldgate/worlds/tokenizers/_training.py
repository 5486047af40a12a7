"""Fitting a tokenizer: clips at random, and what it keeps of held-out ones at which rate.

Shape legend: R rows over all tracks, N clips, T frames of a clip, S pixels a side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.core.errors import DataRefused
from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import Array, IntArray
from worldgate.worlds.batches import Batch
from worldgate.worlds.family import Phase
from worldgate.worlds.rates import figures
from worldgate.worlds.tokenizers._scenes import Scenes
from worldgate.worlds.tokenizers._video import Context, VideoTokenizer
from worldgate.worlds.tracks import Layout, Track
from worldgate.worlds.train.config import PhaseConfig

Place: TypeAlias = tuple[Mapping[str, Tensor], bool]
"""What a track is seen against, and whether that is a known empty scene."""

_JUDGED = 48
_CLIP = 5
"""Frames of a training clip, where the tokenizer looks along time."""
_CLIPS, _AGAINST = "clips/", "against/"


class TrainedTokenizer(nn.Module):
    """A tokenizer with the empty scenes it knows: what a run trains and a checkpoint holds."""

    context = 1

    def __init__(self, tokenizer: VideoTokenizer, config: PhaseConfig, layout: Layout, normaliser: Normaliser) -> None:
        super().__init__()
        self.tokenizer, self.config, self.layout, self.normaliser = tokenizer, config, layout, normaliser
        self.scenes = Scenes(layout.cameras, max(1, len(layout.groups)))

    @torch.inference_mode()
    def reconstruct(
        self, frames: Mapping[str, Array], against: Mapping[str, Array] | None = None
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """What pictures become, and what becomes of them.

        Args:
            frames: camera -> (N, T, S, S, ...), raw.
            against: camera -> (N, S, S, ...), raw, where the tokenizer wants a context.

        Returns:
            camera -> values (N, Z, P, C), and camera -> raw pictures in the shape of ``frames``.

        Raises:
            UsageError: a missing context, a class it never saw, or frames that do not divide into latents.
        """
        clips = {camera: torch.as_tensor(held) for camera, held in frames.items()}
        known = None if against is None else {camera: torch.as_tensor(held) for camera, held in against.items()}
        values = self.tokenizer.encode(clips, known)
        shown = self.tokenizer.decode(values, known)
        return ({c: held.numpy() for c, held in values.items()}, {c: held.numpy() for c, held in shown.items()})

    def against(self, clips: Mapping[str, Tensor], scenes: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """What clips (N, T, S, S, ...) are encoded against: nothing, their first frames, or scenes (N, S, S, ...)."""
        context = self.tokenizer.config.context
        if context is Context.NONE:
            return None
        return {c: held[:, 0] if context is Context.FIRST else scenes[c] for c, held in clips.items()}

    def phases(self, train: Sequence[Track], held_out: Sequence[Track]) -> list[Phase]:
        """One phase."""
        return [TokenizerPhase(self, self.config, Reel(train), Reel(held_out) if held_out else None)]


class Reel:
    """Raw pictures of all tracks laid end to end."""

    def __init__(self, tracks: Sequence[Track]) -> None:
        self.tracks = tracks
        self.offsets = np.concatenate([[0], np.cumsum([len(t) for t in tracks])]).astype(np.int64)
        cameras = tracks[0].frames
        self.frames = {c: torch.as_tensor(np.concatenate([t.frames[c] for t in tracks])) for c in cameras}

    def starts(self, length: int) -> IntArray:
        """First rows of all clips of so many valid rows."""
        parts = [t.starts(1, length - 1) + first for t, first in zip(self.tracks, self.offsets, strict=False)]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def clips(self, starts_N: IntArray, length: int) -> dict[str, Tensor]:
        """Camera -> (N, T, S, S, ...)."""
        rows = torch.as_tensor(starts_N[:, None] + np.arange(length))
        return {camera: held[rows] for camera, held in self.frames.items()}

    def track_of(self, rows: IntArray) -> IntArray:
        """Index of the track that each row lies in."""
        return np.searchsorted(self.offsets, rows, side="right") - 1


class TokenizerPhase:
    """Fits all weights at once to the pixels' losses."""

    name = "tokenizer"

    def __init__(self, model: TrainedTokenizer, config: PhaseConfig, train: Reel, held_out: Reel | None) -> None:
        self.model, self.tokenizer, self.config = model, model.tokenizer, config
        self.train, self.held_out = train, held_out
        self.length = _CLIP if self.tokenizer.config.time else 1
        self.starts = train.starts(self.length)
        if not len(self.starts):
            raise DataRefused("no clip without a gap to train on", got=f"under {self.length} valid rows in a row")

    def parameters(self) -> list[nn.Parameter]:
        """Of the tokenizer."""
        return list(self.tokenizer.parameters())

    @torch.no_grad()
    def prepare(self) -> None:
        """Learn ranges, classes and empty scenes, and which of them each track is seen against."""
        self.tokenizer.fit(self.train.frames)
        self.model.scenes.fit(self.train.tracks, self.model.layout.groups)
        self.places = [self.model.scenes.find(track.frames) for track in self.train.tracks]

    def draw(self, rng: np.random.Generator) -> Batch:
        """Clips at random; hidden patches and noise follow the run's own generator."""
        seed = int(rng.integers(2**31))
        starts = self.starts[rng.integers(len(self.starts), size=self.config.batch)]
        clips = self.train.clips(starts, self.length)
        against = self.model.against(clips, self._scenes(self.train, self.places, starts)) or {}
        parts = {_CLIPS: clips, _AGAINST: against}
        return Batch(tensors={f"{part}{c}": held for part, by in parts.items() for c, held in by.items()}, seed=seed)

    def loss(self, batch: Batch) -> Tensor:
        """Of pixels and bottleneck."""
        self.tokenizer.train()
        clips, against = (
            {name.removeprefix(part): held for name, held in batch.tensors.items() if name.startswith(part)}
            for part in (_CLIPS, _AGAINST)
        )
        return self.tokenizer.loss(clips, against or None)

    def evaluate(self) -> dict[str, float]:
        """Distortion of held-out clips at the tokenizer's rate, beside the empty scene's."""
        if self.held_out is None:
            return {}
        starts = self.held_out.starts(self.length)
        starts = starts[:: max(1, -(-len(starts) // _JUDGED))]
        if not len(starts):
            return {}
        self.tokenizer.train(False)
        places = [self.model.scenes.find(track.frames) for track in self.held_out.tracks]
        clips = self.held_out.clips(starts, self.length)
        scenes = self._scenes(self.held_out, places, starts)
        return figures(self.tokenizer, clips, self.model.against(clips, scenes), scenes)

    def finish(self) -> None:
        """Nothing is left to do."""

    def _scenes(self, reel: Reel, places: Sequence[Place], starts: IntArray) -> dict[str, Tensor]:
        tracks = reel.track_of(starts)
        return {camera: torch.stack([places[t][0][camera] for t in tracks]) for camera in reel.frames}
