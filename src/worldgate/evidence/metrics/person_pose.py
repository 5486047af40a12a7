"""How far the imagined hand of a person is from where it was, m: for models that predict ``person.x`` and ``person.y``.

That a person comes cannot be told from the past. Under the situation ``person_entering`` this says what a model makes
of it, and under ``person`` whether it carries a movement on. Several futures: the mean of their places is judged.

Source: definition.

Shape legend: B samples, K steps.
"""

from __future__ import annotations

import numpy as np

from worldgate.evidence.evaluation.embedding import require
from worldgate.evidence.evaluation.measures import Chunk, FigureInfo, PerStep, Reading, Setup, Watcher, Window
from worldgate.evidence.evaluation.places import FromStates, state_source

CARD = {
    "line": "distance of the imagined hand of a person from the real one",
    "inputs": "states with person.x and person.y",
    "source": "definition",
}


def build(setup: Setup) -> PersonPose:
    """From states.

    Raises:
        NotMeasured: the model does not predict the person.
    """
    source = state_source(setup, ("person.x", "person.y"))
    require(source is not None, "the model does not predict person.x and person.y")
    assert source is not None
    return PersonPose(setup, source)


class PersonPose:
    """The measure."""

    def __init__(self, setup: Setup, source: FromStates) -> None:
        self.setup, self.source = setup, source
        self.figures = (FigureInfo(name=f"{source.label}/person_error", unit="m", better="lower", stream=source.label),)

    def watch(self, window: Window) -> Watcher:
        """Each horizon by itself."""
        del window
        figure = self.figures[0].name

        def read(step: int, k: int, chunk: Chunk) -> list[Reading]:
            real = self.source.read(chunk.views["real"], k)[0][0]
            out = []
            for who in ("model", "hold", "velocity"):
                apart = float(np.linalg.norm(self.source.read(chunk.views[who], k)[0].mean(axis=0) - real))
                out.append(Reading(figure=figure, contender=who, sums=(apart, 1.0), step=step))
            return out

        return PerStep(self.setup.horizons, read)
