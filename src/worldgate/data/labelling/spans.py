"""Half-open spans of int64 ns: unions, intersections, lengths, and membership on a grid of instants.

A span is ``(start_ns, end_ns)`` with ``start_ns < end_ns``; an instant is the span of one nanosecond that starts at it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

from worldgate.core.streams import BoolArray, IntArray

Span: TypeAlias = tuple[int, int]


def union(spans: Iterable[Span]) -> list[Span]:
    """Overlapping and touching spans joined, in time order."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def intersection(a: Iterable[Span], b: Iterable[Span]) -> list[Span]:
    """Where both hold."""
    left, right = union(a), union(b)
    out, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        start, end = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if start < end:
            out.append((start, end))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return out


def length_ns(spans: Iterable[Span]) -> int:
    """Time that at least one of them covers."""
    return sum(end - start for start, end in union(spans))


def covered(spans: Iterable[Span], whole: Span) -> float:
    """Share of ``whole`` that at least one span covers; 1 where ``whole`` is empty."""
    if whole[1] <= whole[0]:
        return 1.0
    return length_ns(intersection(spans, [whole])) / (whole[1] - whole[0])


def gaps(spans: Iterable[Span], whole: Span) -> list[Span]:
    """Where in ``whole`` no span holds."""
    out, at = [], whole[0]
    for start, end in intersection(spans, [whole]):
        if start > at:
            out.append((at, start))
        at = end
    if at < whole[1]:
        out.append((at, whole[1]))
    return out


def closed(spans: Iterable[Span], gap_ns: int) -> list[Span]:
    """The union with gaps of at most ``gap_ns`` filled."""
    joined: list[Span] = []
    for start, end in union(spans):
        if joined and start - joined[-1][1] <= gap_ns:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def overlapping(spans: Sequence[Span]) -> tuple[Span, Span] | None:
    """Two spans that overlap; None where none do. Touching is not overlapping."""
    ordered = sorted(spans)
    last = ordered[0] if ordered else None
    for span in ordered[1:]:
        assert last is not None
        if span[0] < last[1]:
            return last, span
        last = span
    return None


def inside(spans: Iterable[Span], times_ns: IntArray) -> BoolArray:
    """(T,) whether each instant lies in one of the spans."""
    joined = np.array(union(spans), dtype=np.int64).reshape(-1, 2)
    place = np.searchsorted(joined[:, 0], times_ns, side="right") - 1
    held = place >= 0
    held[held] = times_ns[held] < joined[place[held], 1]
    return held


def runs(mark: BoolArray, times_ns: IntArray, end_ns: int) -> list[Span]:
    """Spans of marked instants, each lasting until the next instant; the last until ``end_ns``.

    Args:
        mark: (T,) which instants.
        times_ns: (T,) strictly rising.
        end_ns: end of the last instant.
    """
    edges = np.diff(np.concatenate([[0], np.asarray(mark, np.int8), [0]]))
    borders = np.append(times_ns, np.int64(end_ns))
    starts, ends = borders[np.flatnonzero(edges == 1)], borders[np.flatnonzero(edges == -1)]
    return [(int(a), int(b)) for a, b in zip(starts, ends, strict=True) if a < b]
