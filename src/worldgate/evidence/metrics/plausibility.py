"""What cannot happen, counted per minute of rollout, beside how often it happens in real episodes.

Every limit comes from real training rows, so it needs no model of the robot, and what the recordings themselves break
shows as the rate of ``real``:

* ``limits``: a state channel leaves the training range by more than a tenth of its width (joints, speeds).
* ``teleport``: a state channel changes within one row by more than 1.5 times the largest change in training.
* ``vanishing``: the object, seen in the last known picture, is gone from an imagined one while it is still in the
  real one.
* ``penetration``: tool and object, where the model predicts the places of both, are nearer than they ever were in
  training by more than 5 mm, while the tool is low.

A row in which something is broken counts once a kind; futures count each by itself.

Source: governance of the gap, W5; the kinds follow Bear et al., Physion, NeurIPS 2021.

Shape legend: B samples, K steps, D state channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import BoolArray, FloatArray
from worldgate.core.worlds import Frame
from worldgate.evidence.baselines import wrap
from worldgate.evidence.evaluation.measures import Chunk, FigureInfo, NotMeasured, Reading, Setup, Watcher, Window
from worldgate.evidence.evaluation.places import FromPictures, picture_sources

CARD = {
    "line": "violations per rollout-minute: limits, teleports, vanishing objects, penetration, beside the real rate",
    "inputs": "states or frames; training episodes",
    "source": "governance of the gap, W5",
}
RANGE_SHARE, STEP_TIMES, NEAR_M = 0.1, 1.5, 0.005
KINDS = ("limits", "teleport")


def build(setup: Setup) -> Plausibility:
    """What of the four can be told here.

    Raises:
        NotMeasured: no training episodes.
    """
    setup.need_references()
    return Plausibility(setup)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one state stream, from real rows."""

    low: FloatArray
    high: FloatArray
    step: FloatArray
    turning: BoolArray

    def broken(self, rows_BKD: FloatArray, before_BD: FloatArray) -> dict[str, BoolArray]:
        """(B, K) rows that break each kind."""
        change = np.diff(np.concatenate([before_BD[:, None], rows_BKD], axis=1), axis=1)
        far = np.abs(wrap(change, self.turning)) > self.step
        outside = ~self.turning & ((rows_BKD < self.low) | (rows_BKD > self.high))
        bad = ~np.isfinite(rows_BKD)
        kinds = {"limits": outside | bad, "teleport": far | bad}
        return {kind: np.asarray(found.any(axis=2)) for kind, found in kinds.items()}


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where tool and object stand among the model's states, and how near they may come."""

    tool: tuple[str, tuple[int, ...]]
    thing: tuple[str, tuple[int, ...]]
    least_m: float
    low_m: float

    def broken(self, states: Mapping[str, FloatArray]) -> BoolArray:
        """(B, K) rows in which they stand in each other."""
        tool = states[self.tool[0]][..., list(self.tool[1])]
        thing = states[self.thing[0]][..., list(self.thing[1])]
        near = np.linalg.norm(tool[..., :2] - thing, axis=-1) < self.least_m - NEAR_M
        return np.asarray(near & (tool[..., 2] <= self.low_m))


class Plausibility:
    """The measure."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.limits = {s.name: _limits(setup, s.name) for s in setup.spec.states}
        self.geometry = _geometry(setup)
        try:
            self.views = picture_sources(setup) if setup.spec.cameras else []
        except NotMeasured:
            self.views = []
        kinds = (*(KINDS if self.limits else ()), *(["penetration"] if self.geometry else []))
        kinds = (*kinds, *(["vanishing"] if self.views else []))
        if not kinds:
            raise NotMeasured("the model gives neither states nor pictures of an object whose place is known")
        self.figures = tuple(
            FigureInfo(name=f"violations/{kind}", unit="1/min", better="lower", note="real is the recordings' own rate")
            for kind in kinds
        )

    def watch(self, window: Window) -> Watcher:
        """Counts along the window."""
        return _Watch(self, window)


def _limits(setup: Setup, stream: str) -> Limits:
    rows = setup.references.states(stream)
    turning = setup.circular[stream]
    every = np.concatenate(rows)
    low, high = np.nanmin(every, axis=0), np.nanmax(every, axis=0)
    steps = [np.abs(wrap(np.diff(r, axis=0), turning)) for r in rows if len(r) > 1]
    step = np.nanmax(np.concatenate(steps), axis=0)
    margin = np.maximum(RANGE_SHARE * (high - low), 1e-6)
    return Limits(low - margin, high + margin, np.maximum(STEP_TIMES * step, 1e-6), turning)


def _geometry(setup: Setup) -> Geometry | None:
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for signal in setup.spec.states:
        rows = setup.streams.get(signal.name)
        names = signal.names or (rows.info.names if rows is not None else ())
        for wanted in (("tool.x", "tool.y", "tool.z"), ("object.x", "object.y")):
            if set(wanted) <= set(names):
                found[wanted[0]] = (signal.name, tuple(names.index(n) for n in wanted))
    if len(found) < 2:
        return None
    tool, thing = found["tool.x"], found["object.x"]
    tools, things = (setup.references.states(stream) for stream, _ in (tool, thing))
    places = np.concatenate([t[:, list(tool[1])] for t in tools])
    objects = np.concatenate([t[:, list(thing[1])] for t in things])
    apart = np.linalg.norm(places[:, :2] - objects, axis=1)
    nearest = int(np.nanargmin(apart))
    return Geometry(tool, thing, float(apart[nearest]), float(places[nearest, 2]) + 0.02)


class _Watch:
    def __init__(self, measure: Plausibility, window: Window) -> None:
        self.measure, self.window = measure, window
        self.before: dict[tuple[str, str], FloatArray] = {}
        self.rows: dict[str, float] = {}
        self.broken: dict[tuple[str, str], float] = {}
        self.seen_at_first = {v.label: bool(v.probe(window.known_frames(v.camera, 1))[1][0]) for v in measure.views}

    def see(self, chunk: Chunk) -> list[Reading]:
        for who in ("model", "hold", "velocity", "real"):
            view = chunk.views[who]
            samples = len(next(iter((view.states or view.frames).values()), np.zeros(0)))
            self.rows[who] = self.rows.get(who, 0.0) + samples * chunk.steps
            self._states(who, view)
            if view.frames:
                self._frames(who, view, chunk)
        return []

    def _count(self, kind: str, who: str, broken: BoolArray) -> None:
        self.broken[kind, who] = self.broken.get((kind, who), 0.0) + float(broken.sum())

    def _states(self, who: str, view: Frame) -> None:
        states = {name: np.asarray(values, np.float64) for name, values in view.states.items()}
        kinds: dict[str, list[BoolArray]] = {}
        for stream, limits in self.measure.limits.items():
            rows = states[stream]
            last = np.repeat(self.window.known(stream)[-1:], len(rows), axis=0)
            before = self.before.get((stream, who), last)
            for kind, found in limits.broken(rows, before).items():
                kinds.setdefault(kind, []).append(found)
            self.before[stream, who] = rows[:, -1]
        for kind, several in kinds.items():
            self._count(kind, who, np.logical_or.reduce(several))
        if self.measure.geometry is not None:
            self._count("penetration", who, self.measure.geometry.broken(states))

    def _frames(self, who: str, view: Frame, chunk: Chunk) -> None:
        for source in self.measure.views:
            if not self.seen_at_first[source.label]:
                continue
            there = self._seen(source, chunk.views["real"])[0]
            gone = there & ~self._seen(source, view)
            self._count("vanishing", who, gone)

    @staticmethod
    def _seen(source: FromPictures, view: Frame) -> BoolArray:
        pictures = view.frames[source.camera]
        flat = pictures.reshape(-1, *pictures.shape[2:])
        return source.probe(flat)[1].reshape(pictures.shape[:2])

    def close(self) -> list[Reading]:
        minutes = {who: rows / self.measure.setup.rate_hz / 60.0 for who, rows in self.rows.items()}
        return [
            Reading(figure=f"violations/{kind}", contender=who, sums=(count, minutes[who]))
            for (kind, who), count in self.broken.items()
        ]
