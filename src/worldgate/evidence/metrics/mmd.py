"""Maximum mean discrepancy between imagined and real rows at a horizon: do the rollouts look like the data at all.

A Gaussian kernel over states (training deviations, angles as sine and cosine) or features of pictures; its width is
the median distance of the pooled points. The biased (V) statistic of ``MMD^2``, at least 0, with a p value of no
difference by relabelling whole episodes. Each window gives one point a side. A model can match the distribution and
be wrong everywhere; this says whether it is recognisable as imagined.

Sources: Gretton et al., JMLR 13 (2012), section 3 and equation 5; p as in
:mod:`worldgate.evidence.evaluation.distributions`.

Shape legend: N points a side.
"""

from __future__ import annotations

import numpy as np

from worldgate.core.streams import FloatArray, IntArray
from worldgate.evidence.evaluation.distributions import Points, relabelled
from worldgate.evidence.evaluation.measures import Setup

CARD = {
    "line": "maximum mean discrepancy of imagined and real rows, with a p value by relabelling episodes",
    "inputs": "states or frames",
    "source": "Gretton et al., JMLR 13 (2012)",
}


def build(setup: Setup) -> Points:
    """For every state stream and camera."""

    def statistic(real: FloatArray, said: FloatArray, episode: IntArray) -> tuple[float, float | None]:
        config = setup.config
        return relabelled(real, said, episode, gaussian, relabellings=config.resamples, seed=config.seed)

    return Points(setup, "mmd2", statistic, note="p of no difference")


def gaussian(apart: FloatArray) -> FloatArray:
    """``exp(-d^2 / (2 h^2))`` with h the median distance of different points."""
    middle = float(np.median(apart[np.triu_indices(len(apart), 1)])) or 1.0
    return np.asarray(np.exp(-0.5 * (apart / middle) ** 2))
