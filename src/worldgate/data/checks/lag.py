"""Lag: how late the measured state follows its command, and whether that changes during the log.

Cross-correlation of the rates of paired channels, with a 95 % error from a bootstrap of blocks of time; a lag counts
only where it lies beyond the limit by more than its error. The two halves of a log are held against each other, so a
recording whose commands and states slid apart on the way is found whatever the robot's own lag is. Where one lag
explains little, an even growth is tried: it keeps the whole log together where its halves are too short.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from worldgate.core.streams import Finding, FloatArray, IntArray, Log
from worldgate.core.times import SECOND
from worldgate.data.clocks.motion import Lag, correlate
from worldgate.data.clocks.pairs import Pair, pairs, signals

CARD = {
    "line": "states that follow their commands too late, before them, or later and later",
    "inputs": "actions and the states they command, paired by channel names",
    "source": "cross-correlation with a block bootstrap, Künsch, Annals of Statistics 1989",
}

_EXPLAINED = 0.9
"""Correlation from which on one lag explains the whole log."""
_MOST, _STEPS = 1.2, 6
"""Greatest growth looked for, as a share of the range of lags, and steps on the way there."""
_BETTER = 1.6
"""Times that what one lag leaves unexplained is more than what one that grows does."""
_RANGES = (0.6, 1.0, 1.4)
"""Ranges of lags looked at in half of a log, as shares of that of the whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How late a state may be."""

    most_ms: float = 350.0
    """Greatest lag of a state behind its command."""
    least_ms: float = -40.0
    """Least; below zero the state moves before it is told to."""
    change_ms: float = 80.0
    """Greatest difference of the lag between the two halves of the log."""
    correlation: float = 0.6
    """Below this at the peak, command and state have too little to do with each other to be compared."""
    search_s: float = 1.0
    """Lags looked at, either way."""
    streams: tuple[str, ...] = ()
    """Only these actions; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find lags beyond the limits; values in ms."""
    chosen = [pair for pair in pairs(log) if not config.streams or pair.action.name in config.streams]
    return tuple(finding for pair in chosen for finding in _pair(log, pair, config))


def _pair(log: Log, pair: Pair, config: Config) -> Iterator[Finding]:
    (times, command), (seen, state) = signals(log, pair)
    if len(times) < 3 or len(seen) < 3:
        return
    span = max(int(times[0]), int(seen[0])), min(int(times[-1]), int(seen[-1])) + 1
    whole = _lag(times, command, seen, state, config)
    if whole is not None and whole.lag_ns - whole.error_ns > config.most_ms * 1e6:
        yield _finding(pair, whole, "follows", config.most_ms, span)
    if whole is not None and whole.lag_ns + whole.error_ns < config.least_ms * 1e6:
        yield _finding(pair, whole, "moves before", config.least_ms, span)
    middle = (span[0] + span[1]) // 2
    first, second = (
        _surest(*_within(times, command, part), *_within(seen, state, part), config)
        for part in ((span[0], middle), (middle, span[1]))
    )
    change, error = 0, 0.0
    if first is not None and second is not None:
        change, error = second.lag_ns - first.lag_ns, float(np.hypot(first.error_ns, second.error_ns))
        said = f"by {_said(first)} in the first half of the log and by {_said(second)} in the second"
    if abs(change) - error <= config.change_ms * 1e6:
        change, error = round(_growth(times, command, seen, state, whole, config) / 2), 0.0
        said = f"later and later, by {2 * change / 1e6:+.0f} ms over the log"
    if abs(change) - error > config.change_ms * 1e6:
        yield Finding(
            check="lag",
            stream=pair.state.name,
            message=f"follows {pair.action.name} {said}",
            value=abs(change) / 1e6,
            limit=config.change_ms,
            unit="ms",
            spans_ns=((middle, span[1]),),
        )


def _growth(
    times: IntArray, command: FloatArray, seen: IntArray, state: FloatArray, whole: Lag | None, config: Config
) -> float:
    """By how much the lag grows evenly over the log, in ns; 0 where that explains the state hardly better.

    The state is held against its command as if it had been on time: with the right growth taken out, they agree.
    """
    known = whole.correlation if whole is not None else 0.0
    if known >= _EXPLAINED:
        return 0.0
    share = (seen - seen[0]) / max(int(seen[-1] - seen[0]), 1)
    best, growth = config.correlation, 0.0
    for steps in range(-_STEPS, _STEPS + 1):
        each = steps / _STEPS * _MOST * config.search_s * SECOND
        lag = _lag(times, command, seen - np.rint(each * share).astype(np.int64), state, config)
        if lag is not None and lag.correlation > best:
            best, growth = lag.correlation, each
    return growth if 1.0 - known >= _BETTER * (1.0 - best) else 0.0


def _lag(times: IntArray, command: FloatArray, seen: IntArray, state: FloatArray, config: Config) -> Lag | None:
    found = correlate(times, command, seen, state, most_s=config.search_s)
    return found if found is not None and found.correlation >= config.correlation else None


def _surest(times: IntArray, command: FloatArray, seen: IntArray, state: FloatArray, config: Config) -> Lag | None:
    """The lag in a part of a log, over the range of lags that tells it best.

    A short part holds too little time for a wide range, and a lag that grows may leave a narrow one.
    """
    ranges = (replace(config, search_s=share * config.search_s) for share in _RANGES)
    found = [_lag(times, command, seen, state, each) for each in ranges]
    return min((lag for lag in found if lag is not None), key=lambda lag: lag.error_ns, default=None)


def _within(times: IntArray, values: FloatArray, span: tuple[int, int]) -> tuple[IntArray, FloatArray]:
    first, last = np.searchsorted(times, span)
    return times[first:last], values[first:last]


def _finding(pair: Pair, lag: Lag, verb: str, limit: float, span: tuple[int, int]) -> Finding:
    return Finding(
        check="lag",
        stream=pair.state.name,
        message=f"{verb} {pair.action.name} by {_said(lag)} (correlation {lag.correlation:.2f})",
        value=lag.lag_ns / 1e6,
        limit=limit,
        unit="ms",
        spans_ns=(span,),
    )


def _said(lag: Lag) -> str:
    return f"{lag.lag_ns / 1e6:.0f} ± {lag.error_ns / 1e6:.0f} ms"
