"""Where the object is, as a contender says it: from its states, or read from its pictures.

Shape legend: B samples, K steps, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Array, BoolArray, FloatArray
from worldgate.core.worlds import Frame
from worldgate.evidence.evaluation.measures import NotMeasured, Setup, Window
from worldgate.evidence.evaluation.readouts import PlaceProbe, fit_place


@dataclass(frozen=True, slots=True)
class FromStates:
    """The object's place as two channels of a state stream."""

    stream: str
    columns: tuple[int, int]

    @property
    def label(self) -> str:
        """How figures name the source."""
        return self.stream

    def known(self, window: Window, rows: int) -> FloatArray:
        """(rows, 2) at the last known rows."""
        return window.known(self.stream, rows)[:, list(self.columns)]

    def read(self, frame: Frame, k: int) -> tuple[FloatArray, BoolArray]:
        """(B, 2) m and (B,) seen."""
        values = np.asarray(frame.states[self.stream], np.float64)[:, k, list(self.columns)]
        return values, np.ones(len(values), np.bool_)

    def holds(self, frame: Frame) -> bool:
        """Whether this contender has the stream."""
        return self.stream in frame.states


@dataclass(frozen=True, slots=True)
class FromPictures:
    """The object's place read from a camera's pictures."""

    camera: str
    probe: PlaceProbe

    @property
    def label(self) -> str:
        return self.camera

    def known(self, window: Window, rows: int) -> FloatArray:
        return self.probe(window.known_frames(self.camera, rows))[0]

    def read(self, frame: Frame, k: int) -> tuple[FloatArray, BoolArray]:
        pictures: Array = frame.frames[self.camera][:, k]
        return self.probe(pictures)

    def holds(self, frame: Frame) -> bool:
        return self.camera in frame.frames


Source = FromStates | FromPictures


def state_source(setup: Setup, wanted: tuple[str, str] = ("object.x", "object.y")) -> FromStates | None:
    """The model's own two channels of a place."""
    for signal in setup.spec.states:
        rows = setup.streams.get(signal.name)
        names = signal.names or (rows.info.names if rows is not None else ())
        if set(wanted) <= set(names):
            return FromStates(signal.name, (names.index(wanted[0]), names.index(wanted[1])))
    return None


def picture_sources(setup: Setup) -> list[FromPictures]:
    """A fitted probe for each of the model's cameras.

    Raises:
        NotMeasured: no training episodes, or none that knows where the object is.
    """
    setup.need_references()
    return [FromPictures(camera.name, setup.references.probe(camera.name, fit_place)) for camera in setup.spec.cameras]


def sources(setup: Setup) -> list[Source]:
    """Every way to tell the object's place.

    Raises:
        NotMeasured: none.
    """
    own = state_source(setup)
    if own is None and not setup.spec.cameras:
        raise NotMeasured("the model predicts neither object.x and object.y nor pictures")
    try:
        seen: list[FromPictures] = picture_sources(setup) if setup.spec.cameras else []
    except NotMeasured:
        if own is None:
            raise
        seen = []
    return [*([own] if own is not None else []), *seen]
