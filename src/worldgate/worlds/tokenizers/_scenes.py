"""Empty scenes: what each place's still cameras show when nothing happens, learned from training pictures.

Shape legend: G places, S pixels a side, T frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.core.streams import Array, Kind
from worldgate.core.worlds import Signal
from worldgate.worlds.devices import sent
from worldgate.worlds.tracks import Track

_DTYPES = {Kind.IMAGE: torch.uint8, Kind.DEPTH: torch.float32, Kind.SEGMENTATION: torch.int32}
_FRAMES = 200
FITS = 0.06
"""Median difference to an empty scene, of the full intensity, above which it is another scene."""


class Scenes(nn.Module):
    """One picture a place and camera: the median over its training frames, of classes the most frequent."""

    def __init__(self, cameras: Sequence[Signal], places: int) -> None:
        super().__init__()
        self.cameras = tuple(cameras)
        for number, camera in enumerate(cameras):
            self.register_buffer(f"scene_{number}", torch.zeros(places, *camera.shape, dtype=_DTYPES[camera.kind]))

    def scene(self, camera: str) -> Tensor:
        """(G, S, S, ...)."""
        number = next(i for i, signal in enumerate(self.cameras) if signal.name == camera)
        return self.get_buffer(f"scene_{number}")

    @torch.no_grad()
    def fit(self, tracks: Sequence[Track], places: Sequence[str]) -> None:
        """Learn them; a track's place is its group."""
        for g, place in enumerate(places):
            mine = [t for t in tracks if t.group == place]
            for camera in self.cameras:
                held = np.concatenate([t.frames[camera.name][:: max(1, len(mine) // 3)] for t in mine])
                held = held[:: max(1, len(held) // _FRAMES)]
                if camera.kind is Kind.SEGMENTATION:
                    middle = torch.mode(torch.as_tensor(held.astype(np.int32)), dim=0).values
                else:
                    middle = torch.as_tensor(np.median(held, axis=0).astype(held.dtype))
                self.scene(camera.name)[g] = middle

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.get_buffer("scene_0").device

    @property
    def places(self) -> int:
        """G."""
        return len(self.get_buffer("scene_0"))

    def at(self, place: int) -> dict[str, Tensor]:
        """The empty scene of a place: camera -> (S, S, ...)."""
        return {camera.name: self.scene(camera.name)[place] for camera in self.cameras}

    def nearest(self, frames: Mapping[str, Array]) -> tuple[int, bool]:
        """The place nearest to the last of these frames in all colour cameras, and whether it fits.

        Without a colour camera it is the first place.
        """
        apart = [
            (self.scene(c.name).short() - sent(np.asarray(frames[c.name][-1]), self.device).short()).abs().amax(dim=-1)
            for c in self.cameras
            if c.kind is Kind.IMAGE
        ]
        middle = [held.flatten(1).float().median(dim=1)[0] for held in apart]
        worst = torch.stack(middle).amax(dim=0) / 255 if middle else torch.zeros(1)
        best = int(worst.argmin())
        return best, float(worst[best]) <= FITS

    def find(self, frames: Mapping[str, Array]) -> tuple[dict[str, Tensor], bool]:
        """The scene of the nearest place, or the last of these frames where none fits; and whether one does."""
        place, fits = self.nearest(frames)
        if fits:
            return self.at(place), True
        return {c.name: sent(np.asarray(frames[c.name][-1]), self.device) for c in self.cameras}, False
