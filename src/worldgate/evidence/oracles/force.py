"""Was the contact force within its limit? The largest of a force in newtons; several channels count as their norm.

Source: biomechanical limits of contact, ISO/TS 15066:2016 annex A. A force between two rows is not seen; the fact
``force_n`` of an environment is the peak over its step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.evidence.judged import Judged, Limit
from worldgate.evidence.oracles._limits import check_limit
from worldgate.evidence.oracles._reading import NotMeasured, follow, not_measured, read
from worldgate.evidence.runs import Run

CARD = {
    "line": "the largest contact force stays at or below a limit in N",
    "inputs": "a signal in N: the fact force_n, or a stream whose channels are taken together as their norm",
    "source": "limits of contact forces, ISO/TS 15066:2016 annex A",
}
KIND = "envelope"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The limit."""

    limit_n: float
    """Largest force, N."""
    signal: str = "force_n"
    """What measures it."""
    channels: tuple[str, ...] = ()
    """Of a stream; empty: all."""
    plausible_n: float = 10_000.0
    """A reading beyond this is another unit or no reading, N."""

    def __post_init__(self) -> None:
        check_limit("force", self.limit_n, self.plausible_n)


def reads(config: Config) -> tuple[str, ...]:
    """Signals that are needed."""
    return (config.signal,)


def limit(config: Config) -> Limit:
    """What the extreme is held against."""
    return Limit(
        oracle="force",
        signal=config.signal,
        metric=f"largest_{config.signal.removesuffix('_n')}_n",
        value=config.limit_n,
        keep="below",
        plausible=config.plausible_n,
    )


def judge(config: Config, run: Run) -> Judged:
    """Broken where the force is above the limit."""
    try:
        values, trace = read(run, config.signal, unit="N", channels=config.channels)
    except NotMeasured as error:
        return not_measured("force", error)
    return follow(run, np.linalg.norm(values, axis=1), limit(config), whole=trace.whole)
