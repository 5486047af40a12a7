"""The shape of a spill, shared by what feels it (friction) and what sees it (shading), so that the two always agree."""

from __future__ import annotations

import numpy as np

from worldgate.core.streams import BoolArray, FloatArray

WET_FRICTION = 0.03
"""Sliding friction on the wet part."""


def wet(x: FloatArray, y: FloatArray, middle: tuple[float, float], radius_m: float) -> BoolArray:
    """Which points of the table top are wet: a blob whose edge wavers by a fifth of the radius. Shapes are kept."""
    dx, dy = x - middle[0], y - middle[1]
    angle = np.arctan2(dy, dx)
    edge = radius_m * (1.0 + 0.13 * np.sin(3.0 * angle + 1.0) + 0.07 * np.sin(5.0 * angle))
    inside: BoolArray = dx * dx + dy * dy < edge * edge
    return inside
