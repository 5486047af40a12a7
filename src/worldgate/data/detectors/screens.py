"""Screens: bright, evenly lit quadrilaterals with straight edges, as monitors, tablets and telephones show.

It finds lit screens that stand out from what is around them; it misses dark ones and hits windows and white boards.

Source: the contour route to document and screen finding (Suzuki and Abe 1985 for contours, Douglas and Peucker 1973 for
the polygon).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from worldgate.core.streams import ByteArray, IntArray, Stream
from worldgate.data.detectors._boxes import Detect, clipped

CARD = {
    "line": "lit screens: bright quadrilaterals with straight edges",
    "inputs": "colour pictures",
    "source": "contours (Suzuki and Abe 1985) and polygons (Douglas and Peucker 1973)",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What counts as a screen."""

    share: float = 0.004
    """Least share of the picture."""
    most: float = 0.6
    """Greatest share of the picture."""
    bright: float = 30.0
    """How many grey levels it stands above the median of the picture."""
    filled: float = 0.85
    """Least share of its own rectangle that the quadrilateral fills."""


def detector(camera: Stream, config: Config) -> Detect:
    """Looks at each picture alone; see :mod:`worldgate.data.detectors`."""
    return partial(detect, config=config)


def detect(image: ByteArray, config: Config) -> IntArray:
    """Boxes around lit screens."""
    plain = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (3, 3), 0)
    level = min(254.0, float(np.median(plain)) + config.bright)
    lit = cv2.threshold(plain, level, 255, cv2.THRESH_BINARY)[1]
    contours = cv2.findContours(lit, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    whole = float(plain.shape[0] * plain.shape[1])
    boxes = []
    for contour in contours:
        area = cv2.contourArea(contour)
        if not config.share * whole <= area <= config.most * whole:
            continue
        corners = cv2.approxPolyDP(contour, 0.03 * cv2.arcLength(contour, closed=True), closed=True)
        turned = cv2.minAreaRect(contour)[1]
        if len(corners) == 4 and cv2.isContourConvex(corners) and area >= config.filled * turned[0] * turned[1]:
            x, y, width, height = cv2.boundingRect(contour)
            boxes.append((x, y, x + width, y + height))
    return clipped(np.asarray(boxes, np.float64), image.shape)
