"""Faces: seen from the front or from the side, by the boosted cascades that OpenCV ships.

It misses faces that are turned away or tilted, masked, or smaller than ``least_px``.

Source: Viola and Jones 2001, *Rapid object detection using a boosted cascade of simple features*; OpenCV 4
``haarcascade_frontalface_default.xml`` and ``haarcascade_profileface.xml``, whose own licence stands in the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np

from worldgate.core.streams import ByteArray, IntArray, Stream
from worldgate.data.detectors._boxes import Detect, clipped, grey

CARD = {
    "line": "faces from the front or the side",
    "inputs": "colour pictures",
    "source": "Viola and Jones 2001; the cascades that OpenCV ships",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """When a window shows a face."""

    neighbours: int = 4
    """Overlapping hits that make a face; lower finds more and errs more."""
    least_px: int = 240
    """Shorter side to which small pictures are enlarged first: the detector's window is 24 x 24."""


@cache
def _cascades() -> tuple[cv2.CascadeClassifier, ...]:
    folder = Path(cv2.__file__).parent / "data"
    names = ("haarcascade_frontalface_default.xml", "haarcascade_profileface.xml")
    return tuple(cv2.CascadeClassifier(str(folder / name)) for name in names)


def detector(camera: Stream, config: Config) -> Detect:
    """Looks at each picture alone; see :mod:`worldgate.data.detectors`."""
    return partial(detect, config=config)


def detect(image: ByteArray, config: Config) -> IntArray:
    """Boxes around faces."""
    plain, scale = grey(image, config.least_px)
    even = np.asarray(cv2.equalizeHist(plain), np.uint8)
    flipped = np.ascontiguousarray(even[:, ::-1])
    frontal, profile = _cascades()
    right = _mirrored(_find(profile, flipped, config), even.shape[1])
    rows = [_find(frontal, even, config), _find(profile, even, config), right]
    return clipped(np.concatenate(rows) / scale, image.shape)


def _find(cascade: cv2.CascadeClassifier, plain: ByteArray, config: Config) -> IntArray:
    boxes = cascade.detectMultiScale(plain, scaleFactor=1.1, minNeighbors=config.neighbours, minSize=(24, 24))
    found = np.asarray(boxes, np.int64).reshape(-1, 4)
    return np.asarray(np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1))


def _mirrored(boxes_K4: IntArray, width: int) -> IntArray:
    """Boxes of a picture that was looked at mirrored: the cascade knows left profiles only."""
    return np.stack([width - boxes_K4[:, 2], boxes_K4[:, 1], width - boxes_K4[:, 0], boxes_K4[:, 3]], axis=1)
