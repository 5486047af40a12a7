"""What a metric returns: an error for each step ahead and how much it counts when windows are pooled.

Shape legend: K steps ahead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import FloatArray


@dataclass(frozen=True, slots=True)
class Measured:
    """Errors of one window."""

    error: FloatArray
    """(K,) mean error at each step; meaningless where the weight is 0."""
    weight: FloatArray
    """(K,) 1, or the number of pixels the mean was taken over; 0 where there was nothing to measure."""

    def pooled_with(self, other: Measured) -> Measured:
        """Both windows as one, weighted."""
        weight = self.weight + other.weight
        total = self.error * self.weight + other.error * other.weight
        return Measured(np.divide(total, weight, out=np.zeros_like(total), where=weight > 0), weight)
