"""What the oracles share: reading a signal in a unit and frame, following a limit, and conditions over signals.

Shape legend: T rows, C chosen channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from worldgate.core.choices import settle
from worldgate.core.errors import ConfigError, UsageError
from worldgate.core.streams import BoolArray, FloatArray
from worldgate.core.units import check_unit
from worldgate.evidence.judged import Judged, Limit, Outcome
from worldgate.evidence.runs import Run, Trace

Comparison = Literal[">=", "<=", ">", "<"]
_COMPARE = {">=": np.greater_equal, "<=": np.less_equal, ">": np.greater, "<": np.less}


class NotMeasured(Exception):
    """A signal that cannot be read as asked; says why."""


def read(
    run: Run, signal: str, *, unit: str, channels: Sequence[str] = (), frame: str | None = None
) -> tuple[FloatArray, Trace]:
    """(T, C) values of a signal.

    Args:
        run: what was measured.
        signal: a stream or fact.
        unit: what it must be in; empty: a plain number.
        channels: names of the channels wanted; empty: all.
        frame: what it must be in; None where that makes no difference, as for a distance or a norm.

    Raises:
        NotMeasured: no such signal or channel, another unit or frame, or no rows.
    """
    trace = run.traces.get(signal)
    if trace is None or len(run) == 0:
        raise NotMeasured(f"{signal} not measured")
    values = trace.values.reshape(len(run), -1)
    chosen = _chosen(trace, signal, channels, values.shape[1])
    for place in chosen:
        had = _unit(trace, place)
        if had != unit:
            raise NotMeasured(f"{signal} is in {had or 'no unit'}, not in {unit or 'a plain number'}")
    if frame is not None and trace.frame != frame:
        raise NotMeasured(f"{signal} is in frame {trace.frame or 'unknown'}, not in {frame or 'none'}")
    return values[:, chosen], trace


def _chosen(trace: Trace, signal: str, channels: Sequence[str], width: int) -> list[int]:
    missing = [name for name in channels if name not in trace.names]
    if missing:
        raise NotMeasured(f"{signal} has no channel {missing[0]}")
    return [trace.names.index(name) for name in channels] if channels else list(range(width))


def _unit(trace: Trace, channel: int) -> str:
    units = trace.unit.split(",")
    return units[channel] if len(units) > 1 and channel < len(units) else units[0]


def follow(run: Run, values_T: FloatArray, limit: Limit, *, whole: bool) -> Judged:
    """Follow a limit through a run: the extreme, when, and how often it was newly broken."""
    values = np.where(np.abs(values_T) <= limit.plausible, values_T, np.nan)
    known = np.isfinite(values)
    unmeasured = "" if known.all() else f"{limit.signal} not measured throughout"
    if unmeasured and np.isfinite(values_T).all():
        got = f"{float(values_T[~known][0]):g}, beyond the plausible {limit.plausible:g}"
        unmeasured = f"{limit.signal} reads {got}: another unit?"
    if not known.any():
        return Judged(oracle=limit.oracle, outcome=Outcome.NOT_MEASURED, unmeasured=unmeasured)
    above = limit.keep == "above"
    broken = known & (values < limit.value if above else values > limit.value)
    place = int(np.nanargmin(values) if above else np.nanargmax(values))
    entries = int(np.sum(broken & ~np.concatenate(([False], broken[:-1]))))
    outcome = Outcome.BROKEN if entries else Outcome.NOT_MEASURED if unmeasured else Outcome.MET
    return Judged(
        oracle=limit.oracle,
        outcome=outcome,
        metric=limit.metric,
        extreme=float(values[place]),
        at_s=None if whole else float(run.times_s[place]),
        entries=entries,
        unmeasured=unmeasured,
    )


def not_measured(oracle: str, error: NotMeasured) -> Judged:
    """The answer where a signal cannot be read as asked."""
    return Judged(oracle=oracle, outcome=Outcome.NOT_MEASURED, unmeasured=str(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A comparison of one number of a run with a constant."""

    signal: str
    """A stream or fact."""
    channel: str = ""
    """Of a stream with several."""
    op: Comparison = ">="
    value: float = 0.5
    unit: str = ""
    """What the value is in; empty: a plain number. A signal in another unit is not measured."""
    frame: str = ""
    """What the signal must be in; empty: it has none."""

    def __post_init__(self) -> None:
        settle(self)
        if not np.isfinite(self.value):
            raise ConfigError("a condition compares with a finite number", got=self.value, where=self.signal)
        try:
            check_unit(self.unit, channels=1)
        except UsageError as error:
            raise ConfigError(error.what, got=error.got, where=self.signal, hint=error.hint) from error


def holds(run: Run, conditions: Sequence[Condition]) -> tuple[BoolArray, BoolArray]:
    """(T,) where all conditions hold, and (T,) where all were measured.

    Raises:
        NotMeasured: a signal that cannot be read as asked, or that has several channels and none was named.
    """
    good, known = np.ones(len(run), np.bool_), np.ones(len(run), np.bool_)
    for condition in conditions:
        channels = (condition.channel,) if condition.channel else ()
        values, _ = read(run, condition.signal, unit=condition.unit, channels=channels, frame=condition.frame)
        if values.shape[1] != 1:
            raise NotMeasured(f"{condition.signal} has {values.shape[1]} channels and none is named")
        known &= np.isfinite(values[:, 0])
        good &= _COMPARE[condition.op](values[:, 0], condition.value)
    return good & known, known
