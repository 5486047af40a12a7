"""Voting: windows that lie close say "that log, at that offset"; where several agree, a comparison is worth its cost.

The idea of audio fingerprinting (Wang 2003): one window alike means nothing, many at one offset mean one recording.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Final, TypeAlias

import numpy as np

from worldgate.core.streams import FloatArray, IntArray
from worldgate.data.duplicates.index import nearest
from worldgate.data.duplicates.rules import MatchConfig
from worldgate.data.duplicates.sketches import TICK_NS, Sketch
from worldgate.data.duplicates.vectors import CROPS, STRIDE, WINDOW, Windows, of_film, of_numbers

_BIN_NS: Final = STRIDE * TICK_NS
_NUMBERS: Final = 0.8
"""Least cosine of a vote by numbers."""
_PICTURES: Final = 0.5
_OFFSETS: Final = 2
"""Most offsets at which a pair is compared."""
_ROWS_ALIKE: Final = 5
"""Least rows that are the same to the bit at one offset."""
_COMMON: Final = 16
"""Rows that stand in more streams than these say nothing."""

Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Two logs that may hold the same evidence, by their places among the sketches."""

    first: int
    second: int
    offsets_ns: tuple[int, ...]
    """Instants of the second minus those of the first; the one with most votes first."""


def candidates(sketches: Sequence[Sketch], config: MatchConfig, *, graph: bool | None = None) -> list[Candidate]:
    """Pairs that are worth a comparison, each with the offsets to compare at.

    Args:
        sketches: of all logs.
        config: how many neighbours vote, and how many votes are enough.
        graph: see :func:`worldgate.data.duplicates.index.nearest`.
    """
    offsets: dict[Pair, list[int]] = defaultdict(list)
    for pair, offset in _equal(sketches):
        offsets[pair].append(offset)
    for pair, said in _rows(sketches).items():
        offsets[pair] += [middle for middle, _ in _peaks(np.asarray(said, dtype=np.int64), _ROWS_ALIKE)]
    votes: dict[Pair, list[int]] = defaultdict(list)
    for pair, offset in _votes(sketches, config, graph):
        votes[pair].append(offset)
    peaks: dict[Pair, list[tuple[int, int]]] = {}
    for pair, said in votes.items():
        shortest = min(_windows(sketches[pair[0]]), _windows(sketches[pair[1]]))
        peaks[pair] = _peaks(np.asarray(said, dtype=np.int64), min(config.votes, max(1, shortest // 2)))
    for pair in _foremost({pair: found[0][1] for pair, found in peaks.items() if found}, config.partners):
        offsets[pair] += [middle for middle, _ in peaks[pair]]
    return [
        Candidate(first=first, second=second, offsets_ns=tuple(dict.fromkeys(held)))
        for (first, second), held in sorted(offsets.items())
        if held
    ]


def _foremost(strongest: Mapping[Pair, int], partners: int) -> list[Pair]:
    """Pairs in which at least one log has the other among the so many that its windows agree with most; 0: all pairs.

    Logs of one task done again and again share windows by chance with as many others as there are neighbours to name.
    """
    if not partners:
        return sorted(strongest)
    held: dict[int, list[tuple[int, Pair]]] = defaultdict(list)
    for pair, count in strongest.items():
        for log in pair:
            held[log].append((-count, pair))
    return sorted({pair for found in held.values() for _, pair in sorted(found)[:partners]})


def _windows(held: Sketch) -> int:
    """How many windows the longest stream of a log can have."""
    return max(((len(item) - WINDOW) // STRIDE + 1 for item in held.parts), default=0)


def _equal(sketches: Sequence[Sketch]) -> Iterator[tuple[Pair, int]]:
    """Pairs that hold a stream with the same content; of many copies each with the one before."""
    seen: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for place, held in enumerate(sketches):
        for item in held.parts:
            seen[item.content].append((place, item.start_ns))
    for found in seen.values():
        for (first, start), (second, other) in pairwise(found):
            if first != second:
                yield (first, second), other - start


def _rows(sketches: Sequence[Sketch]) -> dict[Pair, list[int]]:
    """Offsets at which rows of two logs are the same to the bit; rows of many logs, as of a home pose, say nothing."""
    parts = [(place, item) for place, held in enumerate(sketches) for item in held.numbers if item.width > 1]
    said: dict[Pair, list[int]] = defaultdict(list)
    if not parts:
        return said
    rows = np.concatenate([item.rows for _, item in parts])
    owners = np.concatenate([np.full(len(item.rows), place) for place, item in parts])
    at_ns = np.concatenate([item.start_ns + item.row_ns for _, item in parts])
    order = np.lexsort((owners, rows))
    edges = np.concatenate([[0], np.flatnonzero(np.diff(rows[order])) + 1, [len(order)]])
    sizes = np.diff(edges)
    for run in np.flatnonzero((sizes > 1) & (sizes <= _COMMON)):
        for a, b in combinations(order[edges[run] : edges[run + 1]].tolist(), 2):
            if owners[a] != owners[b]:
                said[int(owners[a]), int(owners[b])].append(int(at_ns[b] - at_ns[a]))
    return said


def _votes(sketches: Sequence[Sketch], config: MatchConfig, graph: bool | None) -> Iterator[tuple[Pair, int]]:
    widths = sorted({item.width for held in sketches for item in held.numbers})
    for width in widths:
        base = _pile([[of_numbers(n) for n in held.numbers if n.width == width] for held in sketches])
        yield from _heard(base, base, config.nearest, _NUMBERS, graph)
    films = [[of_film(f, floor=config.floor) for f in held.films] for held in sketches]
    base = _pile(films)
    for crop in CROPS:
        asked = (
            base
            if crop == 1.0
            else _pile([[of_film(f, floor=config.floor, crop=crop) for f in held.films] for held in sketches])
        )
        yield from _heard(base, asked, config.nearest, _PICTURES, graph)


_Pile: TypeAlias = tuple[FloatArray, IntArray, IntArray]
"""Vectors, the log of each, the start of each in ns."""


def _pile(logs: Sequence[Sequence[Windows]]) -> _Pile:
    parts = [(w, place) for place, windows in enumerate(logs) for w in windows if len(w.starts_ns)]
    if not parts:
        return np.zeros((0, 1), dtype=np.float32), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    owners = np.concatenate([np.full(len(w.starts_ns), place, dtype=np.int64) for w, place in parts])
    return np.concatenate([w.vectors for w, _ in parts]), owners, np.concatenate([w.starts_ns for w, _ in parts])


def _heard(base: _Pile, asked: _Pile, count: int, least: float, graph: bool | None) -> Iterator[tuple[Pair, int]]:
    rows, cosines = nearest(base[0], base[1], asked[0], asked[1], count, graph=graph)
    for window, place in zip(*np.nonzero((rows >= 0) & (cosines >= least)), strict=True):
        row = rows[window, place]
        mine, other = int(asked[1][window]), int(base[1][row])
        apart = int(base[2][row] - asked[2][window])
        yield ((mine, other), apart) if mine < other else ((other, mine), -apart)


def _peaks(offsets: IntArray, least: int) -> list[tuple[int, int]]:
    """Middles of the best offsets, none within three bins of a better one, and how many votes each has."""
    ordered = np.sort(offsets)
    # Votes within a bin's width of each start: no bin's edge can split a peak.
    ends = np.searchsorted(ordered, ordered + _BIN_NS, side="right")
    counts = ends - np.arange(len(ordered))
    peaks: list[tuple[int, int]] = []
    while len(peaks) < _OFFSETS and len(counts) and counts.max() >= least:
        at = int(np.argmax(counts))
        middle = int(np.median(ordered[at : ends[at]]))
        peaks.append((middle, int(counts[at])))
        counts[np.abs(ordered - middle) <= 3 * _BIN_NS] = 0
    return peaks
