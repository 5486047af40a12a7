"""Optimism: how often a model says that a window ends in success where it did not.

Success is what the site says: the object within ``SUCCESS_M`` of the goal along both axes at the last step, from the
predicted ``object.x``, ``object.y`` or read from pictures; the goal from the recording.

* ``optimism``: share of windows with imagined success and real failure, of all windows.
* ``pessimism``: the other way round. A model that never says success has no optimism and all the pessimism.
* ``recall``: of the windows that really failed, the share that the model says fail.

Windows that begin in success tell nothing and are left out.

Source: MiraBench, arXiv 2605.29360; governance of the gap, W7 (paired episodes, k01 / n).

Shape legend: B samples.
"""

from __future__ import annotations

import numpy as np

from worldgate.core.streams import FloatArray
from worldgate.evidence.evaluation.embedding import require
from worldgate.evidence.evaluation.measures import (
    Chunk,
    Direction,
    FigureInfo,
    Reading,
    Setup,
    Watcher,
    Window,
)
from worldgate.evidence.evaluation.places import Source, sources

CARD = {
    "line": "share of windows that a model imagines to succeed where they failed, and the other way round",
    "inputs": "states with object.x and object.y, or frames; goal.x and goal.y in the episodes",
    "source": "MiraBench, arXiv 2605.29360; governance of the gap, W7",
}
SUCCESS_M = 0.045
_KINDS: tuple[tuple[str, Direction], ...] = (("optimism", "lower"), ("pessimism", "lower"), ("recall", "higher"))


def build(setup: Setup) -> Optimism:
    """From states and from every camera.

    Raises:
        NotMeasured: the goal or the object's place is not known.
    """
    names = {name for rows in setup.streams.values() for name in rows.info.names}
    require({"object.x", "goal.x", "goal.y"} <= names, "no stream of the episodes holds object and goal")
    return Optimism(setup, sources(setup))


class Optimism:
    """The measure."""

    def __init__(self, setup: Setup, found: list[Source]) -> None:
        self.setup, self.sources = setup, found
        self.figures = tuple(
            FigureInfo(name=f"{s.label}/{kind}", unit="1", better=better, note="of windows that begin without success")
            for s in found
            for kind, better in _KINDS
        )

    def watch(self, window: Window) -> Watcher:
        """Looks at the last step alone."""
        return _Watch(self, window)


class _Watch:
    def __init__(self, measure: Optimism, window: Window) -> None:
        self.measure, self.window = measure, window

    def see(self, chunk: Chunk) -> list[Reading]:
        truth, row = self.window.truth, self.window.start
        if chunk.first + chunk.steps < self.window.steps or truth.object_xy is None or truth.goal_xy is None:
            return []
        end = row + self.window.steps
        if _reached(truth.object_xy[row], truth.goal_xy[row]):
            return []
        real = _reached(truth.object_xy[end], truth.goal_xy[end])
        out = []
        for source in self.measure.sources:
            for who in ("model", "hold", "real"):
                places = source.read(chunk.views[who], chunk.steps - 1)[0]
                known = bool(np.isfinite(places).all())
                said = float(np.mean([_reached(place, truth.goal_xy[end]) for place in places])) if known else np.nan
                caught = ((1.0 - said) * (not real), float(not real))
                sums = ((said * (not real), 1.0), ((1.0 - said) * real, 1.0), caught)
                for (kind, _), pair in zip(_KINDS, sums, strict=True):
                    out.append(Reading(figure=f"{source.label}/{kind}", contender=who, sums=pair))
        return out

    def close(self) -> list[Reading]:
        return []


def _reached(place: FloatArray, goal: FloatArray) -> bool:
    return bool((np.abs(place - goal) < SUCCESS_M).all())
