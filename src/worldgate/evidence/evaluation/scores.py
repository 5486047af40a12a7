"""The energy score, which the metric ``energy`` and the measure of prompts share.

Sources: Gneiting and Raftery, JASA 102 (2007), section 4.3; Ferro, QJRMS 140 (2014) for the fair form.

Shape legend: B samples, D numbers.
"""

from __future__ import annotations

import numpy as np

from worldgate.core.streams import FloatArray


def energy_score(samples_BD: FloatArray, real_D: FloatArray) -> float:
    """The fair energy score of B futures."""
    count = len(samples_BD)
    near = float(np.linalg.norm(samples_BD - real_D, axis=1).mean())
    if count < 2:
        return near
    square = (samples_BD**2).sum(axis=1)
    apart = np.sqrt(np.maximum(square[:, None] + square - 2.0 * samples_BD @ samples_BD.T, 0.0))
    np.fill_diagonal(apart, 0.0)
    return near - 0.5 * float(apart.sum()) / (count * (count - 1))
