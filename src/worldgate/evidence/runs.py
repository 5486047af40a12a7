"""A run as oracles see it: named signals over time, each with its unit and frame.

Signals come from the facts and observations of an environment, step by step, or from the streams and facts of a
recorded episode. What was not measured is NaN, and what a fact says of a whole run holds for each of its rows. A fact
tells its unit by the end of its name (``clearance_m``, ``force_n``); a stream tells it in its description.

Shape legend: T rows, D channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.streams import NUMERIC, FloatArray, Origin
from worldgate.core.worlds import Signal, Transition

_SUFFIXES = {
    "_mm_s": "mm/s",
    "_rad_s": "rad/s",
    "_deg_s": "deg/s",
    "_m_s": "m/s",
    "_mm": "mm",
    "_cm": "cm",
    "_ms": "ms",
    "_rad": "rad",
    "_deg": "deg",
    "_kg": "kg",
    "_hz": "Hz",
    "_nm": "N*m",
    "_m": "m",
    "_n": "N",
    "_s": "s",
}
"""Longest first: the first that fits is the unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One signal of a run."""

    values: FloatArray
    """(T,) or (T, D); NaN where nothing was measured."""
    unit: str = ""
    """One symbol, or one a channel joined by commas; empty: a plain number, or unknown."""
    frame: str = ""
    names: tuple[str, ...] = ()
    """Of the D channels."""
    whole: bool = False
    """Whether one fact speaks for the whole run, so that nobody knows when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was measured from the start to the end of a run."""

    times_s: FloatArray
    """(T,) seconds from the start, increasing."""
    traces: Mapping[str, Trace]
    origin: Origin
    step_s: float
    """Time from row to row."""

    def __len__(self) -> int:
        return len(self.times_s)


def fact_unit(name: str) -> str:
    """The unit that a fact's name ends in; empty for a plain number such as ``success``."""
    return next((unit for suffix, unit in _SUFFIXES.items() if name.endswith(suffix)), "")


@dataclass(slots=True, kw_only=True)
class Recorder:
    """Collects the run of a policy in an environment.

    Only observations that the environment describes (an attribute ``signals``) are kept: a number without a unit is no
    measurement.
    """

    rate_hz: float
    origin: Origin
    signals: Sequence[Signal] = ()
    _facts: list[Mapping[str, float]] = field(default_factory=list)
    _rows: dict[str, list[FloatArray]] = field(default_factory=dict)

    def add(self, transition: Transition) -> None:
        """Take in one step."""
        self._facts.append(dict(transition.facts))
        for signal in self.signals:
            width = signal.shape[0] if signal.shape else 1
            row = np.full(width, np.nan)
            given = np.asarray(transition.observation.get(signal.name, row), np.float64).reshape(-1)
            self._rows.setdefault(signal.name, []).append(given if given.shape == row.shape else row)

    def run(self) -> Run:
        """What was collected."""
        count, step_s = len(self._facts), 1.0 / self.rate_hz
        traces = {
            s.name: Trace(values=np.stack(self._rows[s.name]), unit=s.unit, frame=s.frame, names=s.names)
            for s in self.signals
            if s.name in self._rows
        }
        for name in sorted({name for facts in self._facts for name in facts}):
            values = np.array([float(facts.get(name, math.nan)) for facts in self._facts])
            traces[name] = Trace(values=values, unit=fact_unit(name))
        return Run(times_s=step_s * np.arange(1, count + 1), traces=traces, origin=self.origin, step_s=step_s)


def of_episode(episode: Episode) -> Run:
    """A recorded episode: its streams of numbers, rows with a gap as NaN, and the facts that are numbers."""
    count = len(episode)
    traces: dict[str, Trace] = {}
    for name, value in episode.facts.items():
        if isinstance(value, bool | int | float):
            traces[name] = Trace(values=np.full(count, float(value)), unit=fact_unit(name), whole=True)
    for name, rows in episode.streams.items():
        if rows.info.kind in NUMERIC and isinstance(rows.values, np.ndarray):
            values = np.asarray(rows.values, np.float64).reshape(count, -1).copy()
            values[rows.gap] = np.nan
            traces[name] = Trace(values=values, unit=rows.info.unit, frame=rows.info.frame, names=rows.info.names)
    times_s = (episode.times_ns - episode.times_ns[0]) / 1e9 if count else np.zeros(0)
    return Run(times_s=times_s, traces=traces, origin=episode.origin, step_s=1.0 / episode.rate_hz)
