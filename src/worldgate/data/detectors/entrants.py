"""Entrants: whatever reaches into a fixed camera's picture from its edge and is not there most of the time.

It needs no idea of what a person looks like: the camera's own median over the log is the background, and a region that
differs from it, and touches the edge of the picture where usually nothing moves, came in from outside. So it hides a
sleeved and gloved arm as well as a bare one, and also a tray that somebody pushes in. It cannot see who stands in the
picture throughout, nor who is wholly inside it; a camera that moves has no background, and everything is hidden.

Source: median background subtraction (Cucchiara et al. 2003, *Detecting moving objects, ghosts, and shadows in video
streams*).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from worldgate.core.streams import BoolArray, ByteArray, FloatArray, IntArray, Stream
from worldgate.data.detectors._boxes import Detect, clipped

CARD = {
    "line": "whatever reaches into a fixed camera's picture from its edge",
    "inputs": "a fixed colour camera",
    "source": "Cucchiara et al. 2003, median background",
}

_TILES = 16
"""Tiles along the shorter side of the picture."""
_EDGE = 2
"""Pixels from the edge within which a region counts as touching it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What counts as having come in."""

    change: float = 22.0
    """Difference from the background in any colour, in grey levels, that is no noise."""
    share: float = 0.004
    """Least share of the picture that a region covers."""
    usual: float = 0.6
    """Share of the log for which something differs at a place of the edge, above which it is usual there: the robot."""
    frames: int = 120
    """Frames over the whole log from which the background is learned."""


def detector(camera: Stream, config: Config) -> Detect:
    """Learns the camera's background and what usually moves at its edge; see :mod:`worldgate.data.detectors`."""
    index = np.unique(np.linspace(0, len(camera) - 1, config.frames).astype(np.int64))
    seen = camera.array[index] if isinstance(camera.values, np.ndarray) else camera.frames.read(index)
    background = np.median(seen, axis=0).astype(np.uint8)
    usual = np.mean([_changed(image, background, config) > 0 for image in seen], axis=0) > config.usual
    edge = np.ones(background.shape[:2], bool)
    edge[_EDGE:-_EDGE, _EDGE:-_EDGE] = False
    entry = edge & ~usual

    def detect(image: ByteArray) -> IntArray:
        changed = _changed(image, background, config)
        labels, stats = cv2.connectedComponentsWithStats(changed, connectivity=8)[1:3]
        came = np.setdiff1d(np.unique(labels[entry]), [0])
        large = came[stats[came, cv2.CC_STAT_AREA] >= config.share * changed.size]
        return clipped(_tiles(np.isin(labels, large)), image.shape)

    return detect


def _tiles(region_HW: BoolArray) -> FloatArray:
    """Boxes of the tiles that a region touches: an arm across the picture is hidden, not all that lies around it."""
    side = max(4, min(region_HW.shape) // _TILES)
    rows, columns = (-(-n // side) for n in region_HW.shape)
    padded = np.zeros((rows * side, columns * side), bool)
    padded[: region_HW.shape[0], : region_HW.shape[1]] = region_HW
    y, x = np.nonzero(padded.reshape(rows, side, columns, side).any(axis=(1, 3)))
    return np.asarray(np.stack([x, y, x + 1, y + 1], axis=1) * side, np.float64)


def _changed(image: ByteArray, background: ByteArray, config: Config) -> ByteArray:
    """(H, W) of 0 and 1: what differs from the background, without specks, small holes closed."""
    apart = cv2.absdiff(image, background).max(axis=2)
    found = (apart > config.change).astype(np.uint8)
    found = cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return np.asarray(cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)
