"""Pictures of tracks as one tensor, and the phase that trains a tokenizer on crops around what happens.

Shape legend: R rows over all tracks, V cameras, N crops, S pixels a side, L places a side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.core.streams import IntArray
from worldgate.worlds.batches import Batch
from worldgate.worlds.pixels import to_signed
from worldgate.worlds.skill import MOVING
from worldgate.worlds.tokenizers.background import STRIDE, BackgroundTokenizer
from worldgate.worlds.tracks import Track, whole
from worldgate.worlds.train.config import PhaseConfig

_FOCUS = 5.0
_NOISE = 0.05


class Pictures:
    """Frames of all tracks, and the background that each track is seen against."""

    def __init__(self, tracks: Sequence[Track], cameras: Sequence[str]) -> None:
        self.tracks, self.cameras = whole(tracks), cameras
        self.offsets = np.concatenate([[0], np.cumsum([len(t) for t in tracks])]).astype(np.int64)
        views = [torch.cat([torch.as_tensor(np.array(t.frames[c])) for t in tracks]) for c in cameras]
        self.frames_RV3SS = torch.stack(views, dim=1).permute(0, 1, 4, 2, 3).contiguous()
        self.known: list[bool] = []
        self.backgrounds: list[Tensor] = []

    def settle(self, tokenizer: BackgroundTokenizer) -> None:
        """Find each track's background: its place's, or none where the place's does not fit its first frame."""
        self.known, self.backgrounds = [], []
        for track in self.tracks:
            background, fits = tokenizer.find_background({c: track.frames[c][:1] for c in self.cameras})
            self.known.append(fits)
            self.backgrounds.append(background)

    def track_of(self, rows: IntArray) -> IntArray:
        """Index of the track that each row lies in."""
        return np.searchsorted(self.offsets, rows, side="right") - 1


class TokenizerPhase:
    """Fits encoder and decoder by squared error, five times as heavy where the picture differs from its background."""

    name = "tokenizer"

    def __init__(
        self, tokenizer: BackgroundTokenizer, config: PhaseConfig, train: Pictures, held_out: Pictures | None
    ) -> None:
        self.tokenizer, self.config, self.train, self.held_out = tokenizer, config, train, held_out

    def parameters(self) -> list[nn.Parameter]:
        """All weights of the tokenizer."""
        return list(self.tokenizer.parameters())

    def prepare(self) -> None:
        """Take the backgrounds and find where in each picture something differs from them."""
        groups = sorted({t.group for t in self.train.tracks})
        self.tokenizer.fit_backgrounds(self.train.tracks, groups)
        self.train.settle(self.tokenizer)
        busy = [_busy(self.train, i) for i in range(len(self.train.tracks))]
        self.places = np.concatenate(busy)

    def draw(self, rng: np.random.Generator) -> Batch:
        """Crops at random around what differs from its background, and noise for their latents."""
        crops, backgrounds, view = self._crops(rng)
        config = self.tokenizer.config
        shape = (len(crops), config.latent, config.crop // STRIDE, config.crop // STRIDE)
        noise = torch.as_tensor(rng.standard_normal(shape, dtype=np.float32))
        return Batch(tensors={"crops": crops, "backgrounds": backgrounds, "view": view, "noise": noise})

    def loss(self, batch: Batch) -> Tensor:
        """Weighted squared error of crops, decoded from slightly noisy latents."""
        crops, backgrounds, view = batch["crops"], batch["backgrounds"], batch["view"]
        latent = self.tokenizer.encode(crops, backgrounds, view)
        out = self.tokenizer.decode(latent + _NOISE * batch["noise"], backgrounds, view).float()
        weight = 1 + _FOCUS * ((crops - backgrounds).abs().amax(dim=1, keepdim=True) > 2 * MOVING)
        return (weight * (out - crops).square()).sum() / (3 * weight.sum()) + 1e-4 * latent.float().square().mean()

    def _crops(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        side, size = self.tokenizer.config.crop, self.train.frames_RV3SS.shape[-1]
        chosen = self.places[rng.integers(len(self.places), size=self.config.batch)]
        reach = rng.integers(side // STRIDE, size=(len(chosen), 2))
        corners = np.clip(chosen[:, 2:] - reach, 0, (size - side) // STRIDE) * STRIDE
        tracks = self.train.track_of(chosen[:, 0])
        crops, backgrounds = [], []
        for (row, view, _, _), (top, left), track in zip(chosen, corners, tracks, strict=True):
            place = (slice(None), slice(top, top + side), slice(left, left + side))
            crops.append(self.train.frames_RV3SS[row, view][place])
            backgrounds.append(self._background(rng, int(track))[view][place])
        return to_signed(torch.stack(crops)), to_signed(torch.stack(backgrounds)), torch.as_tensor(chosen[:, 1])

    def _background(self, rng: np.random.Generator, track: int) -> Tensor:
        """(V, 3, S, S): the place's, or a random frame of the track where its place is unknown."""
        if self.train.known[track]:
            return self.train.backgrounds[track]
        row = rng.integers(self.train.offsets[track], self.train.offsets[track + 1])
        return self.train.frames_RV3SS[row]

    def evaluate(self) -> dict[str, float]:
        """Peak signal to noise ratio where pictures differ from their background, in dB, held out."""
        if self.held_out is None:
            return {}
        self.held_out.settle(self.tokenizer)
        errors, empty, count = 0.0, 0.0, 0.0
        for i, known in enumerate(self.held_out.known):
            rows = slice(int(self.held_out.offsets[i]), int(self.held_out.offsets[i + 1]), 4)
            frames = to_signed(self.held_out.frames_RV3SS[rows])
            against = self.held_out.backgrounds[i] if known else self.held_out.frames_RV3SS[rows][0]
            background = to_signed(against).expand_as(frames)
            out = round_trip(self.tokenizer, frames, background)
            moving = ((frames - background).abs().amax(dim=2, keepdim=True) > 2 * MOVING).float()
            errors += float(((out - frames).square() * moving).sum()) / 12
            empty += float(((background - frames).square() * moving).sum()) / 12
            count += float(moving.sum())
        if not count:
            return {}
        names = ("tokenizer_moving_psnr_db", "background_moving_psnr_db")
        return {n: -10 * float(np.log10(max(e, 1e-9) / count)) for n, e in zip(names, (errors, empty), strict=True)}

    def finish(self) -> None:
        """Nothing is left to do."""


def round_trip(tokenizer: BackgroundTokenizer, frames_NV3SS: Tensor, background_NV3SS: Tensor) -> Tensor:
    """Encode and decode pictures of all cameras."""
    view = torch.arange(frames_NV3SS.shape[1], device=frames_NV3SS.device).repeat(len(frames_NV3SS))
    flat, against = frames_NV3SS.flatten(0, 1), background_NV3SS.flatten(0, 1)
    out = tokenizer.decode(tokenizer.encode(flat, against, view), against, view)
    return torch.unflatten(out, 0, (len(frames_NV3SS), -1))


def _busy(pictures: Pictures, track: int) -> IntArray:
    """(P, 4) row, camera and grid place of what differs from its background in a track, and of a few pictures whole."""
    first, last = int(pictures.offsets[track]), int(pictures.offsets[track + 1])
    frames = pictures.frames_RV3SS[first:last].short()
    against = pictures.backgrounds[track] if pictures.known[track] else pictures.frames_RV3SS[first]
    changed = ((frames - against.short()).abs().amax(dim=2) > 255 * MOVING).float()
    grid = functional.max_pool2d(changed, STRIDE)
    grid[:: max(1, len(grid) // 4)] = 1
    places = grid.nonzero().numpy()
    places[:, 0] += first
    return np.asarray(places[pictures.tracks[track].valid_T[places[:, 0] - first]], np.int64)
