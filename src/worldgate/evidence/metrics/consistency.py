"""Whether two views of one imagined moment show the same thing: the object's place read from each, and their distance.

Cameras of colour and of depth alike, so it holds views against views and depth against colour; and pictures against
the model's own states, where it predicts the place. ``both_see`` is the share of moments, of those at which both real
views show the object, at which both imagined ones do: a distance exists only there, and an object that is lost from
every view would be consistent. Both read-outs are fitted on real training pictures; ``real`` is their disagreement on
the real held-out ones: the floor. A consistent model can be wrong, so ``object_error`` stands beside it; copying the
last frame is always consistent.

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
        note = "real is how much the read-outs disagree on real views"
        names = [f"{a.label}+{b.label}" for a, b in pairs]
        self.figures = (
            *(FigureInfo(name=f"{n}/consistency", unit="m", better="lower", note=note) for n in names),
            *(FigureInfo(name=f"{n}/both_see", unit="1", better="higher") for n in names),
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
                    (one, sees_one), (two, sees_two) = (source.read(chunk.views[who], k) for source in (a, b))
                    both = sees_one & sees_two
                    apart = np.linalg.norm(one - two, axis=1)[both]
                    name = f"{a.label}+{b.label}"
                    sums = (float(apart.sum()), float(len(apart)))
                    out.append(Reading(figure=f"{name}/consistency", contender=who, sums=sums, step=step))
                    sums = (float(both.sum()), float(len(both)))
                    out.append(Reading(figure=f"{name}/both_see", contender=who, sums=sums, step=step))
            return out

        return PerStep(self.setup.horizons, read)
