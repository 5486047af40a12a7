"""Did the robot keep its distance? The least of a signal in metres must not fall below a limit.

Source: speed and separation monitoring, ISO/TS 15066:2016 5.5.4. This reports what was measured; it is no safety
function.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.evidence.judged import Judged, Limit
from worldgate.evidence.oracles._limits import check_limit
from worldgate.evidence.oracles._reading import NotMeasured, follow, not_measured, read
from worldgate.evidence.runs import Run

CARD = {
    "line": "the least separation stays at or above a limit in m",
    "inputs": "a signal in m: the fact clearance_m, or a channel of a stream",
    "source": "speed and separation monitoring, ISO/TS 15066:2016",
}
KIND = "envelope"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The limit."""

    limit_m: float
    """Least separation, m."""
    signal: str = "clearance_m"
    """What measures it."""
    channel: str = ""
    """Of a stream with several; empty: the least of all."""
    plausible_m: float = 20.0
    """A reading beyond this is another unit or no reading, m."""

    def __post_init__(self) -> None:
        check_limit("separation", self.limit_m, self.plausible_m)


def reads(config: Config) -> tuple[str, ...]:
    """Signals that are needed."""
    return (config.signal,)


def limit(config: Config) -> Limit:
    """What the extreme is held against."""
    return Limit(
        oracle="separation",
        signal=config.signal,
        metric=f"least_{config.signal.removesuffix('_m')}_m",
        value=config.limit_m,
        keep="above",
        plausible=config.plausible_m,
    )


def judge(config: Config, run: Run) -> Judged:
    """Broken where the separation is below the limit."""
    try:
        values, trace = read(run, config.signal, unit="m", channels=(config.channel,) if config.channel else ())
    except NotMeasured as error:
        return not_measured("separation", error)
    return follow(run, values.min(axis=1), limit(config), whole=trace.whole)
