"""Energy distance between imagined and real rows at a horizon: ``2 E|X - Y| - E|X - X'| - E|Y - Y'|``.

The same question as ``mmd`` without a kernel to choose. The V statistic over one point a window and side, with a p
value of no difference by relabelling whole episodes.

Source: Szekely and Rizzo, Journal of Statistical Planning and Inference 143 (2013), equation 6.

Shape legend: N points a side.
"""

from __future__ import annotations

import numpy as np

from worldgate.core.streams import FloatArray, IntArray
from worldgate.evidence.evaluation.distributions import Points, relabelled
from worldgate.evidence.evaluation.measures import Setup

CARD = {
    "line": "energy distance of imagined and real rows, with a p value by relabelling episodes",
    "inputs": "states or frames",
    "source": "Szekely and Rizzo, JSPI 143 (2013)",
}


def build(setup: Setup) -> Points:
    """For every state stream and camera."""

    def statistic(real: FloatArray, said: FloatArray, episode: IntArray) -> tuple[float, float | None]:
        config = setup.config
        return relabelled(real, said, episode, negative, relabellings=config.resamples, seed=config.seed)

    return Points(setup, "energy_distance", statistic, note="p of no difference", detail=True)


def negative(apart: FloatArray) -> FloatArray:
    """The form whose product with labels of +-1 is the distance."""
    return np.asarray(-apart)
