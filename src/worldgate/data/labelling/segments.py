"""Boundary-tolerant segment F1: how many spans of one annotator are spans of another.

Two spans are the same when they carry the same value and neither boundary is further apart than the tolerance. Each
span may be used once; the pairing is one of most pairs (Hopcroft and Karp 1973), so that no order of the spans can
change the figure. The bootstrap draws logs, because spans of one log are not independent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from worldgate.core.streams import FloatArray
from worldgate.data.labelling.sets import Label
from worldgate.data.labelling.spans import Span

RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """How two sets of spans agree."""

    same: float = 0.0
    """Pairs, or time in ns, that both have."""
    left: float = 0.0
    """All of the first: predicted."""
    right: float = 0.0
    """All of the second: true."""

    def __add__(self, other: Hits) -> Hits:
        return Hits(same=self.same + other.same, left=self.left + other.left, right=self.right + other.right)

    @property
    def precision(self) -> float:
        """Share of the first that the second has; NaN where the first is empty."""
        return self.same / self.left if self.left else float("nan")

    @property
    def recall(self) -> float:
        """Share of the second that the first has; NaN where the second is empty."""
        return self.same / self.right if self.right else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of both; 1 where both are empty, because nothing differs."""
        return 2 * self.same / (self.left + self.right) if self.left + self.right else 1.0


def matched(left: Sequence[Span], right: Sequence[Span], tolerance_ns: int) -> list[tuple[int, int]]:
    """The most pairs (i, j) of spans whose starts and ends are at most ``tolerance_ns`` apart, each used once."""
    if not left or not right:
        return []
    order = sorted(range(len(right)), key=lambda j: right[j])
    starts = np.array([right[j][0] for j in order], dtype=np.int64)
    rows, columns = [], []
    for i, (start, end) in enumerate(left):
        low = int(np.searchsorted(starts, start - tolerance_ns, side="left"))
        high = int(np.searchsorted(starts, start + tolerance_ns, side="right"))
        near = [order[k] for k in range(low, high) if abs(right[order[k]][1] - end) <= tolerance_ns]
        rows += [i] * len(near)
        columns += near
    graph = csr_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(len(left), len(right)))
    partner = maximum_bipartite_matching(graph, perm_type="column")
    return [(i, int(j)) for i, j in enumerate(partner) if j >= 0]


def segment_hits(left: Sequence[Label], right: Sequence[Label], tolerance_ns: int) -> Hits:
    """Spans of one label by two annotators, paired within each value."""
    by_value: dict[object, tuple[list[Span], list[Span]]] = defaultdict(lambda: ([], []))
    for side, labels in enumerate((left, right)):
        for item in labels:
            by_value[item.value][side].append(item.span)
    same = sum(len(matched(a, b, tolerance_ns)) for a, b in by_value.values())
    return Hits(same=same, left=len(left), right=len(right))


def macro_f1(by_label: Mapping[str, Hits]) -> float:
    """Mean F1 over labels; 1 where there is none."""
    return float(np.mean([hits.f1 for hits in by_label.values()])) if by_label else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A figure over several logs with its bootstrap interval; NaN bounds where one log or nothing can be divided."""

    value: float
    lower: float
    upper: float
    logs: int


def bootstrap(parts: Sequence[Hits], what: str, *, level: float = 0.95, seed: int = 0) -> Measured:
    """A figure of the sum over logs, with the percentile interval over logs drawn with replacement.

    Args:
        parts: one a log.
        what: ``precision``, ``recall`` or ``f1``.
        level: of the two-sided interval.
        seed: of the draws.
    """
    table = np.array([[p.same, p.left, p.right] for p in parts], np.float64).reshape(-1, 3)
    value = float(_ratio(table.sum(axis=0, keepdims=True), what)[0])
    if len(parts) < 2:
        return Measured(value=value, lower=float("nan"), upper=float("nan"), logs=len(parts))
    draws = np.random.default_rng(seed).integers(0, len(parts), (RESAMPLES, len(parts)))
    found = _ratio(table[draws].sum(axis=1), what)
    found = found[np.isfinite(found)]
    if not len(found):
        return Measured(value=value, lower=float("nan"), upper=float("nan"), logs=len(parts))
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Measured(value=value, lower=float(low), upper=float(high), logs=len(parts))


def _ratio(sums: FloatArray, what: str) -> FloatArray:
    same, left, right = sums.T
    over, empty = {
        "precision": (left, np.nan),
        "recall": (right, np.nan),
        "f1": ((left + right) / 2, 1.0),
    }[what]
    return np.asarray(np.divide(same, over, out=np.full(len(same), empty), where=over > 0))
