"""Background: a continuous tokenizer for static cameras that encodes each frame given the empty scene.

Source: DESIGN §3 trial; conditional autoencoding. Notable choices: the context is a background of the site (median over
its training frames, one a camera and group), not the clip's first frame, so nothing has to be erased and no ghosts are
left; the decoder paints a picture and a mask over the background, so what never changes costs nothing; training uses
crops around what differs from the background, four times as many pictures for the same work. A prompt's camera finds
its background by the smallest median difference; where none fits (a moving camera, an unknown scene) the prompt's own
last frame takes its place.

Shape legend: N pictures, G groups, V cameras, S pixels a side, C latent channels, L = S / 8 places a side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.core.streams import ByteArray
from worldgate.worlds.devices import sent
from worldgate.worlds.nn.blocks import Residual
from worldgate.worlds.tracks import Layout, Track

CARD = {
    "line": "continuous 8 x 8 latents of a frame given its site's background; for static cameras",
    "inputs": "frames",
    "needs": "models",
    "source": "conditional autoencoder with a background by median",
}

STRIDE = 8
_PATCH = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Size of the ``background`` tokenizer."""

    latent: int = 16
    """Channels of a place."""
    coarse: int = 64
    """Channels at 1/8 of the size."""
    fine: int = 32
    """Channels at 1/4 of the size."""
    crop: int = 32
    """Pixels a side of a training crop; a multiple of 8."""
    fits: float = 0.06
    """Median difference to a background, of the full intensity, above which the prompt's own frame is used instead."""


class BackgroundTokenizer(nn.Module):
    """Encoder and decoder, with the backgrounds it knows."""

    def __init__(self, config: Config, layout: Layout) -> None:
        super().__init__()
        self.config, self.cameras = config, tuple(signal.name for signal in layout.cameras)
        size = layout.cameras[0].shape[0]
        self.grid = size // STRIDE
        groups, views = max(1, len(layout.groups)), len(self.cameras)
        self.register_buffer("backgrounds_GV3SS", torch.zeros(groups, views, 3, size, size, dtype=torch.uint8))
        fine, coarse = config.fine, config.coarse
        self.enter = nn.Conv2d(6 * _PATCH**2, fine, 3, padding=1)
        self.camera_VF = nn.Parameter(torch.zeros(views, fine))
        self.down = nn.Sequential(
            Residual(fine), nn.PixelUnshuffle(2), nn.Conv2d(4 * fine, coarse, 1), Residual(coarse)
        )
        self.to_latent = nn.Conv2d(coarse, config.latent, 1)
        self.from_latent = nn.Conv2d(config.latent, coarse, 3, padding=1)
        self.camera_VC = nn.Parameter(torch.zeros(views, coarse))
        self.up = nn.Sequential(
            Residual(coarse), nn.Conv2d(coarse, 4 * fine, 1), nn.PixelShuffle(2), Residual(fine), nn.SiLU()
        )
        self.leave = nn.Conv2d(fine, 4 * _PATCH**2, 3, padding=1)

    backgrounds_GV3SS: Tensor

    def encode(self, frames_N3SS: Tensor, background_N3SS: Tensor, view_N: Tensor) -> Tensor:
        """Pictures and backgrounds in [-1, 1] to latents (N, C, L, L)."""
        both = torch.cat([frames_N3SS, frames_N3SS - background_N3SS], dim=1)
        hidden = self.enter(functional.pixel_unshuffle(both, _PATCH)) + self.camera_VF[view_N][..., None, None]
        out: Tensor = self.to_latent(functional.silu(self.down(hidden)))
        return out

    def decode(self, latent_NCLL: Tensor, background_N3SS: Tensor, view_N: Tensor) -> Tensor:
        """Latents to pictures in [-1, 1], painted over the background where the mask says so."""
        hidden = self.up(self.from_latent(latent_NCLL) + self.camera_VC[view_N][..., None, None])
        painted_N4SS = functional.pixel_shuffle(self.leave(hidden), _PATCH)
        mask_N1SS = torch.sigmoid(painted_N4SS[:, 3:] - 1.0)
        return background_N3SS + mask_N1SS * (painted_N4SS[:, :3] - background_N3SS)

    @torch.no_grad()
    def fit_backgrounds(self, tracks: Sequence[Track], groups: Sequence[str]) -> None:
        """Median over the frames of each group's tracks."""
        for g, group in enumerate(groups):
            mine = [t for t in tracks if t.group == group]
            for v, camera in enumerate(self.cameras):
                frames = np.concatenate([t.frames[camera][:: max(1, len(mine) // 3)] for t in mine])
                median = np.median(frames[:: max(1, len(frames) // 200)], axis=0).astype(np.uint8)
                self.backgrounds_GV3SS[g, v] = torch.as_tensor(median).permute(2, 0, 1)

    def find_background(self, frames: Mapping[str, ByteArray]) -> tuple[Tensor, bool]:
        """(V, 3, S, S) uint8 backgrounds: of the group that fits all cameras best, or else these very last frames.

        Also says whether one fitted.
        """
        device = self.backgrounds_GV3SS.device
        last_V3SS = torch.stack([sent(np.asarray(frames[c][-1]), device).permute(2, 0, 1) for c in self.cameras])
        apart = (self.backgrounds_GV3SS.short() - last_V3SS.short()).abs().amax(dim=2).flatten(2).float()
        median_GV = apart.median(dim=-1).values / 255
        best = int(median_GV.amax(dim=1).argmin())
        fits = float(median_GV[best].amax()) <= self.config.fits
        return (self.backgrounds_GV3SS[best], True) if fits else (last_V3SS, False)
