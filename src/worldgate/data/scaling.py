"""How frames come to the size that a model takes: pictures by area averaging, everything else by its nearest pixel.

An average of two class ids is a third class, and one of a depth and of "no return" is a distance that nothing has.

Shape legend: H x W pixels.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from worldgate.core.errors import UsageError
from worldgate.core.streams import Array, Kind

AREA: Final = "area"
NEAREST: Final = "nearest"
Pixels = int | tuple[int, int]
"""Height and width of a frame, or both in one number."""


def rule(kind: Kind) -> str:
    """The name of the rule for a kind of stream."""
    return AREA if kind is Kind.IMAGE else NEAREST


def pair(size: Pixels) -> tuple[int, int]:
    """Height and width; one number is a square, whatever the camera's own proportions.

    Raises:
        UsageError: not above zero.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) <= 0:
        raise UsageError("a frame has a height and a width", got=size)
    return height, width


def scale_into(image: Array, out: Array, kind: Kind) -> None:
    """Write one frame into ``out``, at its size."""
    height, width = out.shape[:2]
    if image.shape[:2] == (height, width):
        out[:] = image
    elif kind is Kind.IMAGE:
        cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_AREA)
    else:
        # Not OpenCV's own nearest: it does not take every type of class id.
        rows = (np.arange(height) + 0.5) * image.shape[0] / height
        columns = (np.arange(width) + 0.5) * image.shape[1] / width
        out[:] = image[rows.astype(np.int64)[:, None], columns.astype(np.int64)]
