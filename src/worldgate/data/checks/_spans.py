"""Evidence shared by the checks: which streams have a clock worth checking, and spans of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from worldgate.core.streams import BoolArray, FloatArray, IntArray, Kind, Log, Stream, StreamInfo
from worldgate.core.times import SECOND

Spans = tuple[tuple[int, int], ...]

KEPT = 64
"""Spans kept as evidence by one finding; the value still measures all of them."""


def sampled(log: Log, wanted: Sequence[str] = ()) -> Iterator[Stream]:
    """Streams that are sampled over time, which events and text are not; all of them or those wanted."""
    for info in log.streams():
        if info.kind not in {Kind.EVENT, Kind.TEXT} and (not wanted or info.name in wanted):
            yield log.read(info.name)


def period_ns(info: StreamInfo, sorted_ns: IntArray) -> int:
    """Expected time between messages: declared where it is, else the median; 0 where nothing can be said."""
    if info.rate_hz > 0:
        return round(SECOND / info.rate_hz)
    steps = np.diff(sorted_ns)
    steps = steps[steps > 0]
    return int(np.median(steps)) if len(steps) else 0


def columns(stream: Stream) -> FloatArray:
    """(N, D) numbers of a stream, whatever the shape of one message."""
    return np.asarray(stream.array, np.float64).reshape(len(stream), int(np.prod(stream.array.shape[1:])))


def merge(starts: IntArray, ends: IntArray) -> Spans:
    """Overlapping or touching half-open spans joined, in time order, the longest ``KEPT`` of them; none is empty."""
    joined: list[list[int]] = []
    for start, end in sorted(zip(starts.tolist(), np.maximum(ends, starts + 1).tolist(), strict=True)):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    longest = sorted(joined, key=lambda s: s[0] - s[1])[:KEPT]
    return tuple((a, b) for a, b in sorted(longest))


def marked(times_ns: IntArray, mark: BoolArray, length_ns: int) -> Spans:
    """Spans of marked messages, each lasting until the next message, or ``length_ns`` where that is far off."""
    order = np.argsort(times_ns, kind="stable")
    times, length = times_ns[order], max(length_ns, 1)
    following = np.append(times[1:], times[-1:] + length)
    ends = np.where(following - times <= 2 * length, following, times + length)
    chosen = mark[order]
    return merge(times[chosen], ends[chosen])
