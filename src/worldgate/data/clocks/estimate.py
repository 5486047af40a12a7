"""What a log says of its clocks: stamps against the recorder's, and every pair of motions against another.

The answer is for reading and for pasting. Nothing that aligns calls this: see :mod:`worldgate.data.clocks.model`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import IntArray, Kind, Log, Stream
from worldgate.core.times import MILLISECOND
from worldgate.data.clocks.changes import Change, changes, set_back
from worldgate.data.clocks.envelope import Envelope, envelope
from worldgate.data.clocks.model import MOST_PPM, ClockModel, ClockStep
from worldgate.data.clocks.motion import Lag, correlate, flow, speed
from worldgate.data.clocks.pairs import in_order, pairs, signals

FAR_NS = 50 * MILLISECOND
"""An offset below this may be nothing but the way to the recorder, and is left alone."""
DRIFTS_NS = MILLISECOND
"""A drift that makes less than this over the log is left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamClock:
    """What one stream's stamps say of its clock; errors are 95 % half widths."""

    stream: str
    clock: str
    count: int
    line: Envelope | None
    """Against the recorder's clock, after the steps; None without the recorder's stamps or with too few messages."""
    steps: tuple[Change, ...]
    """Where the sensor's clock was set."""
    delays: tuple[Change, ...]
    """Where messages began to take longer or shorter, or the recorder's clock was set: no fault of this clock."""
    model: ClockModel | None
    """The numbers that mend it; None where there is nothing that must be mended."""

    def drift_ns(self, span_ns: int) -> float:
        """What the drift makes over a span."""
        return 0.0 if self.line is None else abs(self.line.drift_ppm) * 1e-6 * span_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionLag:
    """How late one stream moves after another."""

    leading: str
    following: str
    lag: Lag


def clocks(log: Log, wanted: Sequence[str] = ()) -> tuple[StreamClock, ...]:
    """Estimate the clock of every sampled stream, or of those wanted."""
    infos = [i for i in log.streams() if i.kind not in {Kind.EVENT, Kind.TEXT} and (not wanted or i.name in wanted)]
    return tuple(clock_of(log.read(info.name)) for info in infos)


def clock_of(stream: Stream) -> StreamClock:
    """Estimate the clock of one stream."""
    log_ns = stream.log_times_ns
    found = set_back(stream.times_ns) if log_ns is None else changes(stream.times_ns, log_ns)
    steps = tuple(change for change in found if change.who == "stamp")
    moves = tuple(ClockStep(message=step.message, offset_ns=step.offset_ns) for step in steps)
    even = ClockModel(steps=moves).apply(stream.times_ns)
    line = None if log_ns is None else envelope(even, log_ns)
    return StreamClock(
        stream=stream.info.name,
        clock=stream.info.clock,
        count=len(stream),
        line=line,
        steps=steps,
        delays=tuple(change for change in found if change.who != "stamp"),
        model=_model(even, line, moves),
    )


def _model(even: IntArray, line: Envelope | None, steps: tuple[ClockStep, ...]) -> ClockModel | None:
    """Only what the evidence is clear about: no drift within its error, no offset that the way may explain."""
    if line is None:
        return ClockModel(steps=steps) if steps else None
    span = int(even.max() - even.min())
    drifts = abs(line.drift_ppm) > line.drift_error_ppm and abs(line.drift_ppm) * 1e-6 * span > DRIFTS_NS
    far = abs(line.offset_ns) > FAR_NS
    if not (drifts or far or steps) or abs(line.drift_ppm) >= MOST_PPM:
        return None
    if not drifts:
        return ClockModel(offset_ns=line.offset_ns, steps=steps)
    return ClockModel(offset_ns=line.offset_ns, drift_ppm=round(line.drift_ppm, 3), zero_ns=line.zero_ns, steps=steps)


def lags(log: Log, *, most_s: float = 1.0, cameras: bool = True) -> tuple[MotionLag, ...]:
    """Every action against the state that follows it, and every camera's flow against the speed of a state.

    Args:
        log: what to look at.
        most_s: lags looked at, either way.
        cameras: whether pictures are decoded and their flow is measured.
    """
    found = []
    for pair in pairs(log):
        (t, a), (u, b) = signals(log, pair)
        lag = correlate(t, a, u, b, most_s=most_s)
        if lag is not None:
            found.append(MotionLag(leading=pair.action.name, following=pair.state.name, lag=lag))
    return (*found, *(_camera_lags(log, most_s) if cameras else ()))


def _camera_lags(log: Log, most_s: float) -> tuple[MotionLag, ...]:
    state = _moving_state(log)
    if state is None:
        return ()
    times, values = in_order(log.read(state))
    if len(times) < 3:
        return ()
    at, fast = speed(times, values)
    found = []
    for info in log.streams():
        camera = log.read(info.name) if info.kind is Kind.IMAGE else None
        if camera is None or len(camera) < 3 or (np.diff(camera.times_ns) <= 0).any():
            continue
        shown, moved = flow(camera)
        lag = correlate(at, fast, shown, moved, most_s=most_s, signal="level")
        if lag is not None:
            found.append(MotionLag(leading=state, following=info.name, lag=lag))
    return tuple(found)


def _moving_state(log: Log) -> str | None:
    """The state that commands move, else LeRobot's."""
    named = [pair.state.name for pair in pairs(log)]
    if named:
        return named[0]
    states = [info.name for info in log.streams() if info.kind is Kind.VECTOR and info.name == "observation.state"]
    return states[0] if states else None
