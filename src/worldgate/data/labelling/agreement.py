"""Agreement between annotators: Krippendorff's alpha, for nominal, ordinal, interval and ratio values, with gaps.

``alpha = 1 - D_o / D_e``: the mean squared difference within units over that between all values. 1 is perfect, 0 what
chance gives, below 0 worse than chance. Source: Krippendorff, *Computing Krippendorff's Alpha-Reliability* (2011).
Notable choice: no table of coincidences. The observed part runs over pairs of annotators; the expected part has a
closed form for nominal and interval data, and an ordinal difference is an interval difference of mean ranks (the sum
of the counts between two values, less half of the ends' own, is the distance of their mean ranks), so a million
instants cost a sort. Held equal to the ``krippendorff`` package by ``benchmarks/agreement.py``, and to published
examples by the tests.

Shape legend: M annotators, N units, V different values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import combinations

import numpy as np

from worldgate.core.errors import UsageError
from worldgate.core.streams import Array, FloatArray, IntArray
from worldgate.data.labelling.schema import Extent, LabelRule, ValueType
from worldgate.data.labelling.sets import Label
from worldgate.data.labelling.spans import Span, inside

_BLOCK = 2048


class Level(StrEnum):
    """Which differences count: Stevens' levels of measurement."""

    NOMINAL = "nominal"
    """Different or not."""
    ORDINAL = "ordinal"
    """By how many ranks."""
    INTERVAL = "interval"
    """By how much."""
    RATIO = "ratio"
    """By how much of their sum; not below zero."""


def alpha(values: Array, level: Level | str = Level.NOMINAL) -> float:
    """Krippendorff's alpha.

    Args:
        values: (M, N) numbers; NaN where an annotator said nothing. Units with fewer than two values do not count.
        level: of measurement.

    Returns:
        At most 1; NaN where nothing can be said: no unit with two values, or no two different values in all of them.

    Raises:
        UsageError: not a table, infinite values, or negative ones at ratio level.
    """
    table: FloatArray = np.asarray(values, np.float64)
    if table.ndim != 2:
        raise UsageError("agreement takes annotators by units", got=table.shape)
    if np.isinf(table).any():
        raise UsageError("agreement of infinite values")
    table = table[:, np.isfinite(table).sum(axis=0) >= 2]
    if not table.size:
        return float("nan")
    kind = Level(level)
    if kind is Level.RATIO and np.nanmin(table) < 0:
        raise UsageError("ratio values are not below zero", got=float(np.nanmin(table)))
    if kind is Level.ORDINAL:
        table = _mean_ranks(table)
    known = np.isfinite(table)
    distinct, counts = np.unique(table[known], return_counts=True)
    if len(distinct) < 2:
        return float("nan")
    total = int(counts.sum())
    observed = _observed(table, known, kind) / total
    expected = _expected(distinct, counts, kind) / (total * (total - 1))
    return float(1.0 - observed / expected)


def _mean_ranks(table: FloatArray) -> FloatArray:
    """Each value replaced by its mean rank among all; NaN stays."""
    known = np.isfinite(table)
    _, place, counts = np.unique(table[known], return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - counts / 2
    out = np.full(table.shape, np.nan)
    out[known] = ranks[place]
    return out


def _differences(a: FloatArray, b: FloatArray, level: Level) -> FloatArray:
    """Squared differences, elementwise."""
    if level is Level.NOMINAL:
        return np.asarray(a != b, np.float64)
    apart: FloatArray = np.asarray((a - b) ** 2)
    if level is Level.RATIO:
        both = (a + b) ** 2
        share: FloatArray = np.zeros_like(apart)
        np.divide(apart, both, out=share, where=both > 0)
        return share
    return apart


def _observed(table: FloatArray, known: Array, level: Level) -> float:
    """Sum over units of the differences of all ordered pairs of values, each unit's by one over its values less one."""
    share = 1.0 / (known.sum(axis=0) - 1)
    total = 0.0
    for i, j in combinations(range(len(table)), 2):
        both = known[i] & known[j]
        total += 2.0 * float(_differences(table[i, both], table[j, both], level) @ share[both])
    return total


def _expected(distinct: FloatArray, counts: IntArray, level: Level) -> float:
    """Sum of the differences of all ordered pairs of values, whatever their unit."""
    n = counts.astype(np.float64)
    if level is Level.NOMINAL:
        return float(n.sum() ** 2 - (n**2).sum())
    if level is not Level.RATIO:
        centred = distinct - (n @ distinct) / n.sum()
        return float(2.0 * n.sum() * (n @ centred**2))
    total = 0.0
    for start in range(0, len(distinct), _BLOCK):
        part = slice(start, start + _BLOCK)
        a, b = np.broadcast_arrays(distinct[part, None], distinct[None, :])
        total += float(n[part] @ _differences(a, b, level) @ n)
    return total


def level_of(rule: LabelRule) -> Level:
    """The level of measurement of an entry of the vocabulary."""
    if rule.type is ValueType.NUMBER:
        return Level.INTERVAL
    return Level.ORDINAL if rule.ordered else Level.NOMINAL


def instants(whole: Span, grid_ns: int) -> IntArray:
    """The time grid over a log: every ``grid_ns`` from its start, its end left out."""
    return np.arange(whole[0], max(whole[1], whole[0] + 1), grid_ns, dtype=np.int64)


def on_grid(
    by_annotator: Sequence[Sequence[Label]],
    rule: LabelRule,
    times_ns: IntArray,
    combined: dict[tuple[int, ...], int] | None = None,
) -> FloatArray:
    """What each annotator says at each instant: (M, T) numbers for :func:`alpha`.

    A flag is 0 or 1. A category is its place among the values, and -1 where none is said, which is an answer too; of
    ordered ones it is missing. A number is itself, missing where none is said. Where spans of one label overlap, the
    set of values that hold together is one value of its own, numbered in ``combined``, which several logs may share.
    """
    out = np.full((len(by_annotator), len(times_ns)), np.nan)
    numbers = {} if combined is None else combined
    for row, labels in zip(out, by_annotator, strict=True):
        if rule.type is ValueType.FLAG:
            row[:] = inside([item.span for item in labels], times_ns)
        elif rule.type is ValueType.NUMBER:
            for item in labels:
                row[inside([item.span], times_ns)] = item.value
        else:
            row[:] = _categories(labels, rule, times_ns, numbers)
    return out


def _categories(
    labels: Sequence[Label], rule: LabelRule, times_ns: IntArray, combined: dict[tuple[int, ...], int]
) -> FloatArray:
    held = {value: inside([x.span for x in labels if x.value == value], times_ns) for value in rule.values}
    if not rule.overlap:
        out = np.full(len(times_ns), np.nan if rule.ordered else -1.0)
        for place, value in enumerate(rule.values):
            out[held[value]] = place
        return out
    together = np.stack([held[value] for value in rule.values], axis=1)
    patterns, which = np.unique(together, axis=0, return_inverse=True)
    codes = [combined.setdefault(tuple(map(int, pattern)), len(combined)) for pattern in patterns]
    return np.asarray(codes, np.float64)[which.reshape(-1)]


def log_values(values: Mapping[tuple[str, str], bool | float | str], rule: LabelRule) -> FloatArray:
    """Values of whole logs as (M, N) numbers for :func:`alpha`.

    Args:
        values: (annotator, log) to what was said.
        rule: the entry of the vocabulary.
    """
    people = {name: place for place, name in enumerate(sorted({who for who, _ in values}))}
    logs = {name: place for place, name in enumerate(sorted({log for _, log in values}))}
    out = np.full((len(people), len(logs)), np.nan)
    for (who, log), value in values.items():
        number = rule.values.index(str(value)) if rule.type is ValueType.CATEGORY else float(value)
        out[people[who], logs[log]] = number
    return out


def alpha_of(by_annotator: Sequence[Sequence[Label]], rule: LabelRule, whole: Span, grid_ns: int) -> float:
    """Alpha of spans on the time grid of one log; see :func:`alpha`."""
    assert rule.extent is Extent.SPAN and rule.type is not ValueType.TEXT
    return alpha(on_grid(by_annotator, rule, instants(whole, grid_ns)), level_of(rule))
