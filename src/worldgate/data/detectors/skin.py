"""Skin: regions of the chrominance that human skin of any tone has under white light: hands and arms that reach in.

Where the others look for a shape, this looks for a colour: it finds a forearm that fills a corner of the picture, and
also hits wood, cardboard and other warm surfaces. Gloves and sleeves it cannot see.

Source: Chai and Ngan 1999, *Face segmentation using skin-color map in videophone applications* (Cb 77 to 127, Cr 133 to
173).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from worldgate.core.streams import ByteArray, IntArray, Stream
from worldgate.data.detectors._boxes import Detect, clipped

CARD = {
    "line": "bare hands and arms, by the colour of skin",
    "inputs": "colour pictures",
    "source": "Chai and Ngan 1999",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What counts as skin."""

    cb: tuple[int, int] = (77, 127)
    """Least and greatest blue difference."""
    cr: tuple[int, int] = (133, 173)
    """Least and greatest red difference."""
    share: float = 0.002
    """Least share of the picture that a region covers."""


def detector(camera: Stream, config: Config) -> Detect:
    """Looks at each picture alone; see :mod:`worldgate.data.detectors`."""
    return partial(detect, config=config)


def detect(image: ByteArray, config: Config) -> IntArray:
    """Boxes around regions of skin colour."""
    parts = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    low, high = (30, config.cr[0], config.cb[0]), (255, config.cr[1], config.cb[1])
    found = cv2.inRange(parts, np.array(low, np.uint8), np.array(high, np.uint8))
    stats = cv2.connectedComponentsWithStats(found, connectivity=8)[2][1:]  # the first is the background
    large = stats[stats[:, cv2.CC_STAT_AREA] >= config.share * found.size][:, :4].astype(np.float64)
    return clipped(np.concatenate([large[:, :2], large[:, :2] + large[:, 2:]], axis=1), image.shape)
