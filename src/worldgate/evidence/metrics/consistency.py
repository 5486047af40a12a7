"""Whether two views of one imagined moment show the same thing: the object's place read from each, and their distance.

Cameras of colour and of depth alike, so it holds views against views and depth against colour; and pictures against
the model's own states, where it predicts the place. Both read-outs are fitted on real training pictures; ``real`` is
their disagreement on the real held-out ones: the floor. A consistent model can be wrong, so ``object_error`` stands
beside it; copying the last frame is always consistent.

Source: definition; the reading is that of Wu et al., NeurIPS 2015.

Shape legend: B samples, K steps.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from worldgate.evidence.evaluation.measures import (
    Chunk,
    FigureInfo,
    NotMeasured,
    PerStep,
    Reading,
    Setup,
    Watcher,
    Window,
)
from worldgate.evidence.evaluation.places import FromPictures, Source, sources

CARD = {
    "line": "distance between the object's places read from two views of one imagined moment",
    "inputs": "frames of two cameras (colour or depth), or frames and states with the object's place",
    "source": "definition; read-outs fitted on real data",
}


def build(setup: Setup) -> Consistency:
    """For every pair of views.

    Raises:
        NotMeasured: fewer than two views of the object.
    """
    found = sources(setup)
    if len(found) < 2:
        raise NotMeasured("fewer than two views that tell where the object is")
    return Consistency(setup, list(combinations(found, 2)))


class Consistency:
    """The measure."""

    def __init__(self, setup: Setup, pairs: list[tuple[Source, Source]]) -> None:
        self.setup, self.pairs = setup, pairs
        self.figures = tuple(
            FigureInfo(
                name=f"{a.label}+{b.label}/consistency",
                unit="m",
                better="lower",
                note="real is how much the read-outs disagree on real views",
            )
            for a, b in pairs
        )

    def watch(self, window: Window) -> Watcher:
        """Each horizon by itself; views in which one of the two sees nothing in the real pictures are left out."""
        del window

        def read(step: int, k: int, chunk: Chunk) -> list[Reading]:
            out = []
            for a, b in self.pairs:
                if not all(s.read(chunk.views["real"], k)[1].all() for s in (a, b) if isinstance(s, FromPictures)):
                    continue
                for who in ("model", "hold", "real"):
                    view = chunk.views[who]
                    apart = np.linalg.norm(a.read(view, k)[0] - b.read(view, k)[0], axis=1)
                    sums = (float(apart.sum()), float(len(apart)))
                    out.append(Reading(figure=f"{a.label}+{b.label}/consistency", contender=who, sums=sums, step=step))
            return out

        return PerStep(self.setup.horizons, read)
