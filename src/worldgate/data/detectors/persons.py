"""Persons: upright people, whole or nearly so, by histograms of gradients and the linear classifier that OpenCV ships.

It was trained on pedestrians: it misses people who sit, bend, are cut by the picture's edge, or show an arm only.

Source: Dalal and Triggs 2005, *Histograms of oriented gradients for human detection*; OpenCV 4 ``HOGDescriptor``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial

import cv2
import numpy as np

from worldgate.core.streams import ByteArray, IntArray, Stream
from worldgate.data.detectors._boxes import Detect, clipped, grey

CARD = {
    "line": "people who stand or walk, whole in the picture",
    "inputs": "colour pictures",
    "source": "Dalal and Triggs 2005; OpenCV's HOG people detector",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """When a window shows a person."""

    score: float = 0.3
    """Least distance from the classifier's plane; lower finds more and errs more."""
    least_px: int = 320
    """Shorter side to which small pictures are enlarged first: the detector's window is 64 x 128."""


@cache
def _classifier() -> cv2.HOGDescriptor:
    found = cv2.HOGDescriptor()
    found.setSVMDetector(np.asarray(cv2.HOGDescriptor.getDefaultPeopleDetector(), np.float32))
    return found


def detector(camera: Stream, config: Config) -> Detect:
    """Looks at each picture alone; see :mod:`worldgate.data.detectors`."""
    return partial(detect, config=config)


def detect(image: ByteArray, config: Config) -> IntArray:
    """Boxes around people."""
    plain, scale = grey(image, config.least_px)
    boxes, scores = _classifier().detectMultiScale(plain, winStride=(8, 8), padding=(16, 16), scale=1.05)
    if not len(boxes):
        return np.empty((0, 4), np.int64)
    found = np.asarray(boxes, np.float64)[np.asarray(scores).ravel() >= config.score]
    corners = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1) / scale
    return clipped(corners, image.shape)
