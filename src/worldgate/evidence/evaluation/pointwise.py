"""Entries of the seam that only compare a prediction with what happened (``measure``), as measures.

Numbers: the mean of the samples is judged, per group of channels that share a unit, angles wrapped. Frames: each
sample by itself, and the mean of their errors. ``other`` is scored against the same real future: how much worse it is
than ``model`` says how much the model minds its actions.

Shape legend: B samples, K steps, D state channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from worldgate.core.streams import Array, Kind
from worldgate.core.worlds import Signal
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

CONTENDERS = ("model", "hold", "velocity", "other")
_PICTURES = {"video": "colour", "depth": "depth", "class": "segmented"}
"""What an entry's name begins with -> what pictures it is of."""


def units_of(signal: Signal, fallback: str, width: int) -> Mapping[str, tuple[int, ...]]:
    """Unit -> channels that have it."""
    unit = signal.unit or fallback
    each = [u.strip() for u in unit.split(",")] if "," in unit else [unit] * width
    if len(each) != width:
        each = [unit] * width
    return {u: tuple(c for c in range(width) if each[c] == u) for u in dict.fromkeys(each)}


@dataclass(frozen=True, slots=True)
class Group:
    """Channels of one stream that share a unit."""

    name: str
    stream: str
    unit: str
    channels: tuple[int, ...]


def groups(setup: Setup) -> list[Group]:
    """Of every state stream of a model, named as in a gap report: ``observation.state[rad]``."""
    out = []
    for signal in setup.spec.states:
        rows = setup.streams.get(signal.name)
        split = units_of(signal, rows.info.unit if rows is not None else "", len(setup.scales[signal.name].std))
        for unit, channels in split.items():
            name = signal.name if len(split) == 1 else f"{signal.name}[{unit or '1'}]"
            out.append(Group(name, signal.name, unit, channels))
    return out


class Pointwise:
    """A ``measure`` function of the seam, for every stream that it fits.

    Raises:
        NotMeasured: the model predicts nothing that it fits.
    """

    def __init__(self, name: str, module: ModuleType, setup: Setup) -> None:
        self._module, self._horizons = module, setup.horizons
        self._groups = groups(setup) if name.startswith("state") else []
        about = name.split("_")[0]
        self._cameras = cameras_of(setup, about) if about in _PICTURES else ()
        if not self._groups and not self._cameras:
            raise NotMeasured(f"the model gives no {_PICTURES[about]} pictures" if about in _PICTURES else "no states")
        self._suffix = name.removeprefix("video_").removeprefix("state_").removeprefix("depth_")
        self.figures = tuple(
            FigureInfo(
                name=f"{g.name}/{self._suffix}", unit=module.UNIT or g.unit, better=module.BETTER, stream=g.stream
            )
            for g in self._groups
        ) + tuple(
            FigureInfo(name=f"{c}/{self._suffix}", unit=module.UNIT, better=module.BETTER, stream=c)
            for c in self._cameras
        )

    def watch(self, window: Window) -> Watcher:
        """Each horizon by itself."""

        def read(step: int, k: int, chunk: Chunk) -> list[Reading]:
            return [*self._states(window, step, k, chunk), *self._frames(window, step, k, chunk)]

        return PerStep(self._horizons, read)

    def _states(self, window: Window, step: int, k: int, chunk: Chunk) -> list[Reading]:
        out = []
        for group in self._groups:
            channels = list(group.channels)
            turning = window.circular[group.stream][channels]
            real = chunk.views["real"].states[group.stream][0, k : k + 1, channels].reshape(1, -1)
            last = window.known(group.stream)[-1, channels]
            for who in CONTENDERS:
                if who in chunk.views:
                    said = np.asarray(chunk.views[who].states[group.stream], np.float64)[:, k, channels]
                    error = wrap(said - real, turning).mean(axis=0)[None]
                    out.append(self._reading(group.name, who, step, error, np.zeros_like(error), last))
        return out

    def _frames(self, window: Window, step: int, k: int, chunk: Chunk) -> list[Reading]:
        out = []
        for camera in self._cameras:
            real, last = chunk.views["real"].frames[camera][0, k : k + 1], window.known_frames(camera)[-1]
            for who in CONTENDERS:
                if who in chunk.views and camera in chunk.views[who].frames:
                    for shown in chunk.views[who].frames[camera][:, k : k + 1]:
                        out.append(self._reading(camera, who, step, shown, real, last))
        return out

    def _reading(self, name: str, who: str, step: int, said: Array, real: Array, last: Array) -> Reading:
        found = self._module.measure(said, real, last)
        total, weight = float((found.error * found.weight)[0]), float(found.weight[0])
        return Reading(figure=f"{name}/{self._suffix}", contender=who, sums=(total, weight), step=step)


def cameras_of(setup: Setup, about: str) -> tuple[str, ...]:
    """Cameras whose pictures are colour (``video``), ``depth`` or ids of a ``class``."""
    kinds = {Kind.DEPTH: "depth", Kind.SEGMENTATION: "class", Kind.NORMALS: "normals"}
    return tuple(c.name for c in setup.spec.cameras if kinds.get(c.kind, "video") == about)


def colour_cameras(setup: Setup) -> tuple[str, ...]:
    """Cameras whose pictures are colour."""
    return cameras_of(setup, "video")
