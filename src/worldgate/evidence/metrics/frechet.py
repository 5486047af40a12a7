"""Frechet distance of normals fitted to the features of imagined and real rows: FID and FVD, with your own features.

``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^{1/2})``. With the features that FID or FVD name (Inception, I3D) it is that
figure; Worldgate ships no such weights and downloads none, so its default features are pooled pixels and the number
compares with nothing published. It is biased upwards for few windows (Chong and Forsyth, CVPR 2020), the more the
wider the features: ``hold`` stands beside it on the same windows.

Sources: Heusel et al., NeurIPS 2017; Unterthiner et al., arXiv 1812.01717.

Shape legend: N points a side, F features.
"""

from __future__ import annotations

import numpy as np

from worldgate.core.streams import FloatArray, IntArray
from worldgate.evidence.evaluation.distributions import Points
from worldgate.evidence.evaluation.measures import Setup

CARD = {
    "line": "Frechet distance of imagined and real rows over any features: FID, FVD with yours",
    "inputs": "states or frames; a feature extractor of your own",
    "source": "Heusel et al., NeurIPS 2017; Unterthiner et al., arXiv 1812.01717",
}


def build(setup: Setup) -> Points:
    """For every state stream and camera."""

    def statistic(real: FloatArray, said: FloatArray, episode: IntArray) -> tuple[float, float | None]:
        del episode
        return frechet(real, said), None

    return Points(setup, "frechet", statistic, note=f"over {setup.features.name}; biased for few windows", detail=True)


def frechet(one_NF: FloatArray, two_NF: FloatArray) -> float:
    """The distance; the trace of the root is taken from the eigenvalues of ``C1^{1/2} C2 C1^{1/2}``."""
    apart = ((one_NF.mean(axis=0) - two_NF.mean(axis=0)) ** 2).sum()
    first, second = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (one_NF, two_NF))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ second @ root)
    return float(apart + np.trace(first) + np.trace(second) - 2.0 * np.sqrt(np.maximum(cross, 0.0)).sum())
