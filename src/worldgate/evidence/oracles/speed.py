"""Was the robot slow enough? The largest speed, from a signal in m/s or from positions in m.

From positions it is the way between two rows over the time between them, which is at most the true peak: between rows
the robot may have been faster. Source: reduced speed of ISO 10218-1:2025.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.choices import settle
from worldgate.core.streams import FloatArray
from worldgate.evidence.judged import Judged, Limit
from worldgate.evidence.oracles._limits import check_limit
from worldgate.evidence.oracles._reading import NotMeasured, follow, not_measured, read
from worldgate.evidence.runs import Run, Trace

CARD = {
    "line": "the largest speed stays at or below a limit in m/s",
    "inputs": "a signal in m/s, or channels of positions in m",
    "source": "reduced speed, ISO 10218-1:2025",
}
KIND = "envelope"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The limit."""

    limit_m_s: float
    """Largest speed, m/s."""
    signal: str = "speed_m_s"
    """What measures it: a speed, or positions."""
    channels: tuple[str, ...] = ()
    """Of a stream; empty: all. Several count as their norm."""
    positions: bool = False
    """Whether the signal is positions in m."""
    plausible_m_s: float = 20.0
    """A reading beyond this is another unit or no reading, m/s."""

    def __post_init__(self) -> None:
        settle(self)
        check_limit("speed", self.limit_m_s, self.plausible_m_s)


def reads(config: Config) -> tuple[str, ...]:
    """Signals that are needed."""
    return (config.signal,)


def limit(config: Config) -> Limit:
    """What the extreme is held against."""
    return Limit(
        oracle="speed",
        signal=config.signal,
        metric="largest_speed_m_s",
        value=config.limit_m_s,
        keep="below",
        plausible=config.plausible_m_s,
    )


def judge(config: Config, run: Run) -> Judged:
    """Broken where the speed is above the limit."""
    try:
        values, trace = _speeds(config, run)
    except NotMeasured as error:
        return not_measured("speed", error)
    return follow(run, values, limit(config), whole=trace.whole)


def _speeds(config: Config, run: Run) -> tuple[FloatArray, Trace]:
    """(T,) speed at each row; from positions the first row takes the second's."""
    values, trace = read(run, config.signal, unit="m" if config.positions else "m/s", channels=config.channels)
    if not config.positions:
        return np.linalg.norm(values, axis=1), trace
    if len(run) < 2 or trace.whole:
        raise NotMeasured(f"{config.signal} at one moment gives no speed")
    moved = np.linalg.norm(np.diff(values, axis=0), axis=1) / np.diff(run.times_s)
    return np.concatenate((moved[:1], moved)), trace
