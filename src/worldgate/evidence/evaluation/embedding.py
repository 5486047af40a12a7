"""What read-outs of actions and contact look at: a row as numbers, from states in training deviations or from pictures.

Shape legend: T rows, B samples, K steps, F numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Array, FloatArray, IntArray
from worldgate.core.worlds import Frame
from worldgate.evidence.evaluation.measures import NotMeasured, Setup
from worldgate.evidence.evaluation.readouts import Components, fit_components
from worldgate.evidence.evaluation.references import Scale
from worldgate.evidence.windows import Tracks


@dataclass(frozen=True, slots=True)
class Embedding:
    """Rows of one kind as numbers."""

    label: str
    """``states``, or the camera."""
    scales: Mapping[str, Scale]
    camera: str = ""
    look: Components | None = None
    """Of the camera's pictures."""

    def rows(self, states: Mapping[str, FloatArray], frames: Mapping[str, Array]) -> FloatArray:
        """(T, F) of (T, D) states or (T, H, W, ...) pictures."""
        if self.look is not None:
            return self.look(frames[self.camera])
        parts = []
        for name, scale in self.scales.items():
            values = np.asarray(states[name], np.float64)
            turning = scale.circular
            unit = np.where(turning, 0.0, values / scale.std)
            parts.append(unit[:, scale.moves])
            if turning.any():
                parts += [np.sin(values[:, turning]), np.cos(values[:, turning])]
        return np.asarray(np.concatenate(parts, axis=1))

    def at(self, tracks: Tracks, rows: IntArray) -> FloatArray:
        """(K, F) of some rows of a real episode."""
        frames = {self.camera: tracks.frames[self.camera][rows]} if self.camera else {}
        return self.rows({name: values[rows] for name, values in tracks.states.items()}, frames)

    def sample(self, frame: Frame, b: int) -> FloatArray:
        """(K, F) of one sample of a contender."""
        states = {name: np.asarray(v)[b] for name, v in frame.states.items()}
        return self.rows(states, {name: v[b] for name, v in frame.frames.items()})

    def holds(self, frame: Frame) -> bool:
        """Whether a contender has what this looks at."""
        return self.camera in frame.frames if self.camera else bool(frame.states)


def embeddings(setup: Setup) -> list[Embedding]:
    """Of the model's states together, and of every camera.

    Raises:
        NotMeasured: there are no training episodes to fit on.
    """
    setup.need_references()
    found = [Embedding("states", setup.scales)] if setup.spec.states else []
    return [*found, *(_of_camera(setup, c.name) for c in setup.spec.cameras)]


def _of_camera(setup: Setup, camera: str) -> Embedding:
    return Embedding(camera, setup.scales, camera, setup.references.probe(camera, fit_components))


def require(condition: bool, reason: str) -> None:
    """Refuse a measure.

    Raises:
        NotMeasured: the condition does not hold.
    """
    if not condition:
        raise NotMeasured(reason)
