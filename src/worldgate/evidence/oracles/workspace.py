"""Did it stay where it may work? How far positions lay outside a box of the site, in a named frame.

The frame is required: a box in the table's frame says nothing of positions in the robot's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.errors import ConfigError
from worldgate.evidence.judged import Judged, Limit
from worldgate.evidence.oracles._limits import check_limit
from worldgate.evidence.oracles._reading import NotMeasured, follow, not_measured, read
from worldgate.evidence.runs import Run

CARD = {
    "line": "positions stay inside a box of a named frame",
    "inputs": "two or three channels of a stream in m, in the box's frame",
    "source": "limited space, ISO 10218-2:2025",
}
KIND = "envelope"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The box."""

    signal: str
    """The stream of positions."""
    channels: tuple[str, ...]
    """Its channels, in the order of the box's sides."""
    frame: str
    """Coordinate frame of the box."""
    low_m: tuple[float, ...]
    """Least of each channel, m."""
    high_m: tuple[float, ...]
    """Largest of each channel, m."""
    plausible_m: float = 20.0
    """Positions farther outside than this are another unit or no reading, m."""

    def __post_init__(self) -> None:
        check_limit("workspace", 0.0, self.plausible_m)
        sides = (*self.low_m, *self.high_m)
        sizes = {len(self.channels), len(self.low_m), len(self.high_m)}
        box = sizes == {len(self.channels)} and np.isfinite(sides).all()
        if not self.channels or not self.frame or not box or any(np.array(self.low_m) >= np.array(self.high_m)):
            got = f"{len(self.channels)} channels, {list(self.low_m)} to {list(self.high_m)}, frame {self.frame!r}"
            raise ConfigError("a workspace is a box in a frame, low below high, a side a channel", got=got)


def reads(config: Config) -> tuple[str, ...]:
    """Signals that are needed."""
    return (config.signal,)


def limit(config: Config) -> Limit:
    """What the extreme is held against."""
    return Limit(
        oracle="workspace",
        signal=config.signal,
        metric="largest_outside_m",
        value=0.0,
        keep="below",
        plausible=config.plausible_m,
    )


def judge(config: Config, run: Run) -> Judged:
    """Broken where a position lies outside."""
    try:
        values, trace = read(run, config.signal, unit="m", channels=config.channels, frame=config.frame)
    except NotMeasured as error:
        return not_measured("workspace", error)
    outside = np.maximum(np.array(config.low_m) - values, values - np.array(config.high_m)).max(axis=1)
    return follow(
        run, np.where(np.isfinite(outside), np.maximum(outside, 0.0), np.nan), limit(config), whole=trace.whole
    )
