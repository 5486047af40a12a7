"""What a world model must beat: predictions that need no model.

Shape legend: K steps ahead, D channels, H x W pixels.
"""

from __future__ import annotations

import numpy as np

from worldgate.core.streams import Array, BoolArray, FloatArray


def wrap(difference: FloatArray, circular_D: BoolArray) -> FloatArray:
    """Differences with the channels that turn around brought into [-pi, pi)."""
    turned = (difference + np.pi) % (2 * np.pi) - np.pi
    return np.where(circular_D, turned, difference)


def hold_last(last: Array, steps: int) -> Array:
    """(K, ...) the last known row or frame, repeated; of frames this is copy-last."""
    return np.broadcast_to(last, (steps, *last.shape))


def constant_velocity(before_D: FloatArray, last_D: FloatArray, steps: int, circular_D: BoolArray) -> FloatArray:
    """(K, D) the last change continued, from the last two known rows."""
    velocity_D = wrap(np.asarray(last_D, np.float64) - before_D, circular_D)
    return np.asarray(last_D, np.float64) + np.arange(1, steps + 1)[:, None] * velocity_D
