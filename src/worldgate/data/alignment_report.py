"""What alignment did to an episode, stream by stream: skew, staleness and gaps, as numbers that a gate can read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from worldgate.core.episodes import Episode, Rows
from worldgate.core.streams import BoolArray, IntArray
from worldgate.core.times import SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Quantiles of a length of time over the rows that have a message; nearest-rank, so each is a measured value."""

    p50_ns: int
    p95_ns: int
    p99_ns: int
    max_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Rows whose messages a clock stamped between two of its steps."""

    number: int
    """0 before the first step."""
    rows: int
    start_ns: int
    """First such row."""
    end_ns: int
    """Last such row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReport:
    """One stream of an episode."""

    clock: str
    rows: int
    used: int
    """Rows that have a message."""
    messages: int
    """Distinct messages used: far fewer than rows means the stream is slower than the grid."""
    skew: Spread
    """Of the distance between row and message, either way."""
    skew_bias_ns: int
    """Median signed skew; positive is from the future."""
    future: int
    """Rows whose message is stamped later than the row."""
    staleness: Spread
    """Of the age of the newest message at or before the row, over rows that have one."""
    gaps: int
    """Rows marked as gaps."""
    gap_spans_ns: tuple[tuple[int, int], ...]
    """Half-open spans of consecutive gap rows."""
    clock_model: str = ""
    """Numbers that every stamp was brought here by, as canonical JSON; empty: the stamps as they were recorded."""
    segments: tuple[Segment, ...] = ()
    """Rows by the piece of the clock that stamped their message; empty for a clock without steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentReport:
    """An episode's alignment in summary; :func:`worldgate.core.digest.to_json` gives its JSON form."""

    episode: str
    alignment: str
    rate_hz: float
    rows: int
    start_ns: int
    end_ns: int
    streams: Mapping[str, StreamReport]


def report(episode: Episode) -> AlignmentReport:
    """Summarise what alignment did to every row of every stream."""
    grid = episode.times_ns
    return AlignmentReport(
        episode=episode.id,
        alignment=episode.alignment,
        rate_hz=episode.rate_hz,
        rows=len(grid),
        start_ns=int(grid[0]) if len(grid) else 0,
        end_ns=int(grid[-1]) if len(grid) else 0,
        streams={name: _stream(rows, grid, episode.rate_hz) for name, rows in episode.streams.items()},
    )


def _stream(rows: Rows, grid: IntArray, rate_hz: float) -> StreamReport:
    used = rows.index >= 0
    skew = rows.skew_ns[used]
    return StreamReport(
        clock=rows.info.clock,
        rows=len(rows),
        used=int(used.sum()),
        messages=len(np.unique(rows.index[used])),
        skew=spread(np.abs(skew)),
        skew_bias_ns=_rank(skew, 0.5),
        future=int((skew > 0).sum()),
        staleness=spread(rows.staleness_ns[rows.staleness_ns >= 0]),
        gaps=int(rows.gap.sum()),
        gap_spans_ns=spans(rows.gap, grid, round(SECOND / rate_hz) if rate_hz else 1),
        clock_model=rows.clock_model,
        segments=tuple(_segments(rows, grid)),
    )


def _segments(rows: Rows, grid: IntArray) -> Iterator[Segment]:
    if rows.segment is None:
        return
    for number in np.unique(rows.segment[rows.segment >= 0]):
        where = grid[rows.segment == number]
        yield Segment(number=int(number), rows=len(where), start_ns=int(where[0]), end_ns=int(where[-1]))


def spread(values: IntArray) -> Spread:
    """Nearest-rank quantiles; zeros where there are no values."""
    return Spread(
        p50_ns=_rank(values, 0.5), p95_ns=_rank(values, 0.95), p99_ns=_rank(values, 0.99), max_ns=_rank(values, 1.0)
    )


def _rank(values: IntArray, share: float) -> int:
    if len(values) == 0:
        return 0
    return int(np.sort(values)[max(0, int(np.ceil(share * len(values))) - 1)])


def spans(marked: BoolArray, times_ns: IntArray, period_ns: int) -> tuple[tuple[int, int], ...]:
    """Half-open spans of consecutive marked rows; the last row of the grid lasts one period."""
    edges = np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8))
    ends = np.append(times_ns[1:], times_ns[-1:] + period_ns)
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    return tuple((int(times_ns[a]), int(ends[b])) for a, b in zip(starts, stops, strict=True))
