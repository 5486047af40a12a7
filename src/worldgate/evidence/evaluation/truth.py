"""What a recording knows beside what a model is shown: the object's place, contact, who is hidden, clocks that drift.

Streams are found by the names of their channels (``object.x``, ``person.x``, ``goal.x``), forces by their unit, class
ids by their kind; what an episode lacks is None, and what rests on it is not measured.

Shape legend: T rows, H x W pixels.
"""

from __future__ import annotations

import json
from functools import cached_property

import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.streams import Array, BoolArray, FloatArray, IntArray, Kind

PICTURE = 64
"""Pixels a side at which class ids are read."""
OBJECT = "object"
HIDDEN_SHARE = 0.25
_AT_ONCE = 128
"""Pictures of class ids read together."""
CLASS_IDS = {"object": 4, "person": 7}
"""Of the embedded cell; another source of class ids that means other things by them is not recognised."""


def channels(episode: Episode, names: tuple[str, ...]) -> tuple[str, tuple[int, ...]] | None:
    """The stream of numbers that holds channels of these names, and where in it."""
    for stream, rows in episode.streams.items():
        held = rows.info.names
        if rows.info.kind is Kind.VECTOR and set(names) <= set(held):
            return stream, tuple(held.index(name) for name in names)
    return None


def force_stream(episode: Episode) -> str | None:
    """The stream of a force in three directions."""
    for stream, rows in episode.streams.items():
        if rows.info.kind is Kind.VECTOR and rows.info.unit == "N" and rows.info.shape == (3,):
            return stream
    return None


class Truth:
    """One episode's truth, read when it is asked for."""

    def __init__(self, episode: Episode) -> None:
        self.episode = episode
        self._touch: dict[tuple[float, int], BoolArray] = {}

    def __len__(self) -> int:
        return len(self.episode)

    def named(self, *names: str) -> FloatArray | None:
        """(T, len(names)) channels of these names."""
        found = channels(self.episode, names)
        if found is None:
            return None
        values = np.asarray(self.episode.array(found[0]), np.float64).reshape(len(self), -1)
        return np.asarray(values[:, list(found[1])])

    @cached_property
    def object_xy(self) -> FloatArray | None:
        """(T, 2) m."""
        return self.named("object.x", "object.y")

    @cached_property
    def goal_xy(self) -> FloatArray | None:
        """(T, 2) m."""
        return self.named("goal.x", "goal.y")

    @cached_property
    def person_xy(self) -> FloatArray | None:
        """(T, 2) m, of the hand."""
        return self.named("person.x", "person.y")

    @cached_property
    def force(self) -> FloatArray | None:
        """(T,) N, size of the force on the tool."""
        stream = force_stream(self.episode)
        if stream is None:
            return None
        return np.asarray(np.linalg.norm(np.asarray(self.episode.array(stream), np.float64), axis=1))

    @cached_property
    def segmented(self) -> str | None:
        """The name of the camera whose class ids were recorded."""
        for stream, rows in self.episode.streams.items():
            if rows.info.kind is Kind.SEGMENTATION and stream.startswith("observation.segmentation."):
                return stream.removeprefix("observation.segmentation.")
        return None

    def ids(self, rows: IntArray) -> Array:
        """(K, 64, 64) class ids of that camera at some rows, each pixel the nearest of the source's."""
        values = self.episode.streams[f"observation.segmentation.{self.segmented}"].values
        held = values[rows] if isinstance(values, np.ndarray) else values.read(rows)
        down, across = (((np.arange(PICTURE) + 0.5) * side / PICTURE).astype(np.int64) for side in held.shape[1:3])
        return np.asarray(held[:, down[:, None], across])

    @cached_property
    def visible(self) -> FloatArray | None:
        """(T,) pixels of the object in the segmented camera."""
        if self.segmented is None or self.object_xy is None:
            return None
        parts = [np.arange(first, min(first + _AT_ONCE, len(self))) for first in range(0, len(self), _AT_ONCE)]
        seen = [(self.ids(part) == CLASS_IDS[OBJECT]).sum(axis=(1, 2)) for part in parts]
        return np.concatenate(seen).astype(np.float64)

    @cached_property
    def clock_error_s(self) -> FloatArray | None:
        """(T,) error of the drifting sensor's clock, as the simulator says it was set; None where no clock drifts."""
        try:
            attributes = json.loads(str(self.episode.facts.get("scenario", ""))).get("attributes", {})
        except (ValueError, AttributeError):
            return None
        drift, offset = float(attributes.get("clock_drift_ppm", 0)), float(attributes.get("clock_offset_ms", 0))
        if not drift and not offset:
            return None
        since = (self.episode.times_ns - self.episode.times_ns[0]) / 1e9
        return np.asarray(drift * 1e-6 * since + offset * 1e-3)

    @cached_property
    def hidden(self) -> BoolArray | None:
        """(T,) rows at which the object is hidden from the segmented camera.

        Hidden is less than a quarter of the area that it shows in the median row, or in half of the best one.
        """
        if self.visible is None:
            return None
        usual = max(float(np.median(self.visible)), 0.5 * float(self.visible.max(initial=0.0)), 4.0)
        return np.asarray(self.visible < HIDDEN_SHARE * usual)

    def touch(self, least_n: float, pause_rows: int) -> BoolArray | None:
        """(T,) whether the tool touches; see :func:`touching`."""
        key = (least_n, pause_rows)
        if self.force is not None and key not in self._touch:
            self._touch[key] = touching(self.force, least_n, pause_rows)
        return self._touch.get(key)


def touching(force_T: FloatArray, least_n: float, pause_rows: int) -> BoolArray:
    """(T,) whether the tool touches, pauses of at most ``pause_rows`` rows closed."""
    found = np.asarray(force_T >= least_n)
    edges = np.flatnonzero(np.diff(found.astype(np.int8), prepend=np.int8(0), append=np.int8(0)))
    starts, ends = edges[::2], edges[1::2]
    out = found.copy()
    for end, start in zip(ends[:-1], starts[1:], strict=True):
        if start - end <= pause_rows:
            out[end:start] = True
    return out
