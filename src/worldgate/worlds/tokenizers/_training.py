"""Fitting a tokenizer: clips at random, and what it keeps of held-out ones at which rate.

Clips come from the clip loader, so frames are mapped and not held, and every sample of every step has a receipt. A
convolution learns from crops of them around what moves: a quarter of the work, all of it where there is something to
learn.

Shape legend: R rows over all tracks, N clips, T frames of a clip, S pixels a side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from worldgate.core.episodes import Episode
from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import Array, IntArray
from worldgate.worlds.batches import Batch
from worldgate.worlds.devices import device_of, home, sent
from worldgate.worlds.family import Phase
from worldgate.worlds.feed import ClipFeed, spread
from worldgate.worlds.imagine.marks import burn
from worldgate.worlds.nn.attention import Block
from worldgate.worlds.nn.autoencoders import STRIDE
from worldgate.worlds.nn.blocks import Residual
from worldgate.worlds.rates import figures
from worldgate.worlds.tokenizers import _crops
from worldgate.worlds.tokenizers._scenes import Scenes
from worldgate.worlds.tokenizers._video import Context, VideoTokenizer
from worldgate.worlds.tracks import Layout, Track
from worldgate.worlds.train.config import PhaseConfig

Place: TypeAlias = tuple[Mapping[str, Tensor], bool]
"""What a track is seen against, and whether that is a known empty scene."""

_JUDGED = 48
_SHOWN = 6
"""Held-out frames of a sample."""
_CLIP = 5
"""Frames of a training clip, where the tokenizer looks along time or at the first of them."""
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
        device = device_of(self)
        clips = {camera: sent(held, device) for camera, held in frames.items()}
        known = None if against is None else {camera: sent(held, device) for camera, held in against.items()}
        values = self.tokenizer.encode(clips, known)
        shown = self.tokenizer.decode(values, known)
        return ({c: home(held) for c, held in values.items()}, {c: home(held) for c, held in shown.items()})

    def against(self, clips: Mapping[str, Tensor], scenes: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """What clips (N, T, S, S, ...) are encoded against: nothing, their first frames, or scenes (N, S, S, ...)."""
        context = self.tokenizer.config.context
        if context is Context.NONE:
            return None
        return {c: held[:, 0] if context is Context.FIRST else scenes[c] for c, held in clips.items()}

    def phases(self, train: Sequence[Track], held_out: Sequence[Track]) -> list[Phase]:
        """One phase."""
        return [TokenizerPhase(self, self.config, train, held_out)]

    def blocks(self) -> list[nn.Module]:
        """Transformer layers, or residual convolutions, of all kinds of picture."""
        return [module for module in self.tokenizer.modules() if isinstance(module, Block | Residual)]


class Reel:
    """Raw pictures of all tracks laid end to end, in memory."""

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
    """Fits all weights at once to the pixels' losses, on clips that the clip loader brings."""

    name = "tokenizer"
    anywhere = True

    def __init__(
        self, model: TrainedTokenizer, config: PhaseConfig, train: Sequence[Track], held_out: Sequence[Track]
    ) -> None:
        self.model, self.tokenizer, self.config = model, model.tokenizer, config
        self.train, self.held_out = train, held_out
        cameras = [camera.name for camera in model.layout.cameras]
        # Against its first frame a clip of one frame would be a copy, and nothing would be learned.
        looks = self.tokenizer.config.time or self.tokenizer.config.context is Context.FIRST
        length = _CLIP if looks else 1
        size = self.tokenizer.size
        grid = size // STRIDE
        self.crop = max(_crops.LEAST, grid // 2) if self.tokenizer.crops else grid
        """Places a side of what is learned from."""
        self.feed = ClipFeed(_episodes(train), cameras, frames=length, size=size, batch=config.batch)
        self.judged: dict[str, Tensor] = {}
        if held_out:
            self.judged, self.judged_of = spread(_episodes(held_out), cameras, frames=length, size=size, most=_JUDGED)

    def parameters(self) -> list[nn.Parameter]:
        """Of the tokenizer."""
        return list(self.tokenizer.parameters())

    @torch.no_grad()
    def prepare(self) -> None:
        """Learn ranges, classes and empty scenes, and which of them each track is seen against."""
        self.tokenizer.fit(lambda camera: (torch.as_tensor(np.array(t.frames[camera])) for t in self.train))
        self.model.scenes.fit(self.train, self.model.layout.groups)
        self.places = [_at_home(self.model.scenes.find(track.frames)) for track in self.train]
        self.known = [_at_home(self.model.scenes.find(track.frames)) for track in self.held_out]

    def draw(self, rng: np.random.Generator) -> Batch:
        """The next clips; hidden patches and noise follow the run's own generator."""
        seed = int(rng.integers(2**31))
        clips, tracks = self.feed.take()
        scenes = _scenes(self.places, tracks)
        against = self.model.against(clips, scenes) or {}
        if self.crop * STRIDE < self.tokenizer.size:
            clips, against = self._cropped(clips, against, scenes, torch.Generator().manual_seed(seed))
        parts = {_CLIPS: clips, _AGAINST: against}
        return Batch(tensors={f"{part}{c}": held for part, by in parts.items() for c, held in by.items()}, seed=seed)

    @torch.no_grad()
    def _cropped(
        self,
        clips: Mapping[str, Tensor],
        against: Mapping[str, Tensor],
        scenes: Mapping[str, Tensor],
        rng: torch.Generator,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Every camera at a place of its own, the same one in all frames of a clip."""
        cut, beside = {}, {}
        for camera, held in clips.items():
            field = self.tokenizer.part(camera).looks.field
            frames = torch.unflatten(field(held.flatten(0, 1)), 0, held.shape[:2])
            corner_N2 = _crops.corners(_crops.busy(frames, field(scenes[camera])), self.crop, rng)
            cut[camera] = _crops.cut(held, corner_N2, self.crop, rows=2)
            if camera in against:
                beside[camera] = _crops.cut(against[camera], corner_N2, self.crop, rows=1)
        return cut, beside

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
        if not self.judged:
            return {}
        self.tokenizer.train(False)
        clips, scenes = self._sent(self.judged, self.judged_of)
        return figures(self.tokenizer, clips, self.model.against(clips, scenes), scenes)

    def latents(self) -> Tensor | None:
        """Values of every place of the held-out clips."""
        if not self.judged:
            return None
        self.tokenizer.train(False)
        clips, scenes = self._sent(self.judged, self.judged_of)
        values = self.tokenizer.encode(clips, self.model.against(clips, scenes))
        return torch.cat([held.flatten(0, -2) for held in values.values()]).cpu()

    def _sent(self, clips: Mapping[str, Tensor], tracks: IntArray) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Held-out clips and their scenes, where the weights are."""
        device = device_of(self.model)
        sent_clips, scenes = (
            {c: sent(held, device) for c, held in part.items()} for part in (clips, _scenes(self.known, tracks))
        )
        return sent_clips, scenes

    def sample(self, folder: Path) -> None:
        """One picture a colour camera: held-out frames above, what became of them below."""
        colour = {c: held[:_SHOWN, :1] for c, held in self.judged.items() if held.shape[-1] == 3}
        if not colour:
            return
        self.tokenizer.train(False)
        clips, scenes = self._sent(colour, self.judged_of[:_SHOWN])
        against = self.model.against(clips, scenes)
        shown = self.tokenizer.decode(self.tokenizer.encode(clips, against), against)
        origins = [_episodes(self.held_out)[track].origin for track in self.judged_of[:_SHOWN]]
        for number, (camera, real) in enumerate(colour.items()):
            above = [burn(frame, origin) for frame, origin in zip(real[:, 0].numpy(), origins, strict=True)]
            rows = [np.concatenate(list(row), axis=1) for row in (above, burn(home(shown[camera][:, 0])))]
            done, data = cv2.imencode(".png", cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))
            assert done
            (folder / f"camera-{number}.png").write_bytes(data.tobytes())

    def finish(self) -> None:
        """Nothing is left to do."""


def _episodes(tracks: Sequence[Track]) -> list[Episode]:
    return [track.episode for track in tracks if track.episode is not None]


def _at_home(place: Place) -> Place:
    """On the CPU, where batches are drawn."""
    against, fits = place
    return {camera: held.cpu() for camera, held in against.items()}, fits


def _scenes(places: Sequence[Place], tracks: IntArray) -> dict[str, Tensor]:
    """Camera -> (N, S, S, ...) what the clips of these tracks are seen against."""
    return {camera: torch.stack([places[t][0][camera] for t in tracks]) for camera in places[0][0]}
