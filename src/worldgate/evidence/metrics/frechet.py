"""Frechet distance of normals fitted to the features of imagined and real rows: FID, with your own features.

``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^{1/2})``. With the features that FID names (Inception) it is that figure, clips
are ``video_fvd``'s; Worldgate ships no such weights and downloads none, so its default features are pooled pixels and
the number compares with nothing published. It is biased upwards for few windows (Chong and Forsyth, CVPR 2020), the
more the wider the features: ``hold`` stands beside it on the same windows.

Source: Heusel et al., NeurIPS 2017.

Shape legend: N points a side, F features.
"""

from __future__ import annotations

from worldgate.core.streams import FloatArray, IntArray
from worldgate.evidence.evaluation.distributions import Points, frechet
from worldgate.evidence.evaluation.measures import Setup

CARD = {
    "line": "Frechet distance of imagined and real rows over any features: FID with yours",
    "inputs": "states or frames; a feature extractor of your own",
    "source": "Heusel et al., NeurIPS 2017",
}


def build(setup: Setup) -> Points:
    """For every state stream and camera."""

    def statistic(real: FloatArray, said: FloatArray, episode: IntArray) -> tuple[float, float | None]:
        del episode
        return frechet(real, said), None

    return Points(setup, "frechet", statistic, note=f"over {setup.features.name}; biased for few windows", detail=True)
