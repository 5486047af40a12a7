"""How far the imagined object is from where the object was, m, and how far it is turned from it, rad.

Where a model predicts ``object.x`` and ``object.y`` they are taken; from pictures the place is read by a probe fitted
on real training pictures, and ``real`` is that probe's own error on the real held-out ones: the floor. Several
futures: the mean of their places is judged. An imagined picture without the object counts as the middle of the data.
Rows at which the object is hidden from the segmented camera are left out for pictures of that camera (nothing could
be read from the real one either) and kept for states: that is where object permanence shows. ``yaw_error`` is of
models that predict ``object.yaw``: from pictures a square looks the same four times a turn.

Source: governance of the gap, W1 (object group); Wu et al., NeurIPS 2015 (read-outs of state from imagined frames).

Shape legend: B samples, K steps.
"""

from __future__ import annotations

import numpy as np

from worldgate.core.streams import BoolArray
from worldgate.evidence.baselines import wrap
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
from worldgate.evidence.evaluation.places import FromPictures, FromStates, Source, sources, state_source

CARD = {
    "line": "distance of the imagined object from the real one, from states or read from pictures",
    "inputs": "states with object.x and object.y, or frames; true places in the episodes",
    "source": "definition; read-outs fitted on real data",
}


def build(setup: Setup) -> ObjectPose:
    """From states and from every camera.

    Raises:
        NotMeasured: the episodes do not hold the object's place, or the model says nothing of it.
    """
    names = {name for rows in setup.streams.values() for name in rows.info.names}
    if not {"object.x", "object.y"} <= names:
        raise NotMeasured("no stream of the episodes holds object.x and object.y")
    return ObjectPose(setup, sources(setup))


class ObjectPose:
    """The measure."""

    def __init__(self, setup: Setup, found: list[Source]) -> None:
        self.setup, self.sources = setup, found
        self.figures = tuple(
            FigureInfo(
                name=f"{s.label}/object_error",
                unit="m",
                better="lower",
                stream=s.label,
                note="" if isinstance(s, FromStates) else "read from pictures; real is the read-out's own error",
            )
            for s in found
        )
        self.turned = state_source(setup, ("object.x", "object.yaw"))
        if self.turned is not None:
            name = f"{self.turned.label}/yaw_error"
            self.figures += (FigureInfo(name=name, unit="rad", better="lower", stream=self.turned.label),)

    def watch(self, window: Window) -> Watcher:
        """Each horizon by itself."""
        truth = window.truth.object_xy
        hidden = window.truth.hidden
        known = {s.label: s.known(window, 2) for s in self.sources}

        def read(step: int, k: int, chunk: Chunk) -> list[Reading]:
            out: list[Reading] = []
            if truth is None or not np.isfinite(truth[window.start + step]).all():
                return out
            place = truth[window.start + step]
            out += self._yaw(step, k, chunk)
            for source in self.sources:
                if isinstance(source, FromPictures) and self._unseen(source, window, hidden, step):
                    continue
                before, last = known[source.label]
                for who in ("model", "hold", "velocity", "other", "real"):
                    if who == "velocity":
                        found = last + step * (last - before)
                    elif who == "hold":
                        found = last
                    elif who == "real" and isinstance(source, FromStates):
                        continue
                    elif who in chunk.views and source.holds(chunk.views[who]):
                        found = source.read(chunk.views[who], k)[0].mean(axis=0)
                    else:
                        continue
                    apart = float(np.linalg.norm(found - place))
                    out.append(
                        Reading(figure=f"{source.label}/object_error", contender=who, sums=(apart, 1.0), step=step)
                    )
            return out

        return PerStep(self.setup.horizons, read)

    def _yaw(self, step: int, k: int, chunk: Chunk) -> list[Reading]:
        if self.turned is None:
            return []
        real = self.turned.read(chunk.views["real"], k)[0][0, 1]
        out = []
        for who in ("model", "hold", "velocity", "other"):
            if who in chunk.views:
                apart = self.turned.read(chunk.views[who], k)[0][:, 1] - real
                error = abs(float(wrap(apart, np.ones(1, np.bool_)).mean()))
                figure = f"{self.turned.label}/yaw_error"
                out.append(Reading(figure=figure, contender=who, sums=(error, 1.0), step=step))
        return out

    @staticmethod
    def _unseen(source: FromPictures, window: Window, hidden: BoolArray | None, step: int) -> bool:
        if hidden is None or not source.camera.endswith(f".{window.truth.segmented}"):
            return False
        return bool(hidden[window.start + step])
