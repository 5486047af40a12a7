"""Our own tokenizer as an encoder for search: what a frame's latents add to those of its empty scene.

A picture is encoded as the world model sees it, given the background that fits it best, and so is the background alone;
their difference holds what is there and could be away. Where no background fits (another site), the middle of the given
pictures stands in.

Shape legend: N pictures, H x W pixels, S pixels a side of the model, C latent channels, L places a side.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from worldgate.core.errors import CapabilityMissing
from worldgate.core.streams import ByteArray, FloatArray
from worldgate.core.worlds import WorldModel
from worldgate.worlds.devices import home, sent
from worldgate.worlds.models.conv import ConvWorld
from worldgate.worlds.pixels import to_signed
from worldgate.worlds.tokenizers.background import BackgroundTokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerEncoder:
    """Pictures to latents; implements :class:`worldgate.core.encoders.Encoder`."""

    tokenizer: BackgroundTokenizer
    digest: str
    """Of the checkpoint it came from."""
    name: str = "background"

    @torch.inference_mode()
    def encode(self, images_NHW3: ByteArray) -> FloatArray:
        """(N, H, W, 3) uint8 RGB to (N, C * L * L) float32."""
        size = int(self.tokenizer.backgrounds_GV3SS.shape[-1])
        small = np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in images_NHW3])
        frames_N3SS = sent(small, self.tokenizer.backgrounds_GV3SS.device).permute(0, 3, 1, 2)
        empty_3SS, view = self._background(frames_N3SS)
        empty_N3SS = to_signed(empty_3SS).expand(len(small), -1, -1, -1)
        views_N = torch.full((len(small),), view, device=frames_N3SS.device)
        latents = self.tokenizer.encode(to_signed(frames_N3SS), empty_N3SS, views_N)
        nothing = self.tokenizer.encode(empty_N3SS[:1], empty_N3SS[:1], views_N[:1])
        out: FloatArray = home((latents - nothing).flatten(1).float())
        return out

    def _background(self, frames_N3SS: torch.Tensor) -> tuple[torch.Tensor, int]:
        """The background that is nearest to the middle of the pictures, or that middle itself; and its camera."""
        middle_3SS = frames_N3SS.float().median(dim=0).values
        apart_GV = (self.tokenizer.backgrounds_GV3SS.float() - middle_3SS).abs().flatten(2).median(dim=-1).values / 255
        best = int(apart_GV.argmin())
        group, view = divmod(best, apart_GV.shape[1])
        fits = float(apart_GV[group, view]) <= self.tokenizer.config.fits
        return (self.tokenizer.backgrounds_GV3SS[group, view] if fits else middle_3SS.to(torch.uint8)), view


def encoder_of(world: WorldModel) -> TokenizerEncoder:
    """The tokenizer of a trained world model.

    Raises:
        CapabilityMissing: a model without one.
    """
    if not isinstance(world, ConvWorld):
        raise CapabilityMissing("this model has no tokenizer of pictures", got=world.spec.family, hint="conv")
    return TokenizerEncoder(tokenizer=world.family.tokenizer, digest=world.spec.digest)
