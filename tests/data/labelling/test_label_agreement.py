"""Krippendorff's alpha: published examples, the properties it must have, and gaps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from worldgate.core.errors import UsageError
from worldgate.data.labelling.agreement import Level, alpha, alpha_of, instants, log_values, on_grid
from worldgate.data.labelling.schema import Extent, LabelRule, ValueType
from worldgate.data.labelling.sets import Label

N = math.nan
KRIPPENDORFF_2011 = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
    [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
]
"""Section D of *Computing Krippendorff's Alpha-Reliability*: four observers, twelve units, gaps."""
WIKIPEDIA = [
    [N, N, N, N, N, 3, 4, 1, 2, 1, 1, 3, 3, N, 3],
    [1, N, 2, 1, 3, 3, 4, 3, N, N, N, N, N, N, N],
    [N, N, 2, 1, 3, 4, 4, N, 2, 1, 1, 3, 3, N, 4],
]
TWO_OBSERVERS = [[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]
"""Section A of the same: two observers, binary; alpha 0.095."""
NOMINAL_B = [list("aabbdcccedda"), list("babbbccceddd")]
"""Section B: two observers, five nominal values; alpha 0.692."""


@pytest.mark.parametrize(
    ("table", "level", "expected"),
    [
        (KRIPPENDORFF_2011, "nominal", 0.743),
        (KRIPPENDORFF_2011, "ordinal", 0.815),
        (KRIPPENDORFF_2011, "interval", 0.849),
        (KRIPPENDORFF_2011, "ratio", 0.797),
        (WIKIPEDIA, "nominal", 0.691),
        (WIKIPEDIA, "interval", 0.811),
        (TWO_OBSERVERS, "nominal", 0.095),
        ([[ord(x) for x in row] for row in NOMINAL_B], "nominal", 0.692),
    ],
)
def test_the_published_examples_come_out(table: Any, level: str, expected: float) -> None:
    assert alpha(np.array(table, float), level) == pytest.approx(expected, abs=5e-4)


def by_the_book(table: Any, level: Level) -> float:
    """Alpha from the table of coincidences, as the paper writes it down: slow, and another way."""
    units = [[v for v in column if not math.isnan(v)] for column in np.asarray(table, float).T]
    units = [u for u in units if len(u) > 1]
    values = sorted({v for u in units for v in u})
    n = {v: sum(u.count(v) for u in units) for v in values}

    def squared(c: float, k: float) -> float:
        if level is Level.NOMINAL:
            return float(c != k)
        if level is Level.ORDINAL:
            low, high = min(c, k), max(c, k)
            return float((sum(n[g] for g in values if low <= g <= high) - (n[c] + n[k]) / 2) ** 2)
        if level is Level.INTERVAL:
            return (c - k) ** 2
        return ((c - k) / (c + k)) ** 2 if c + k else 0.0

    total = sum(n.values())
    seen = sum(squared(a, b) / (len(u) - 1) for u in units for i, a in enumerate(u) for j, b in enumerate(u) if i != j)
    chance = sum(n[c] * n[k] * squared(c, k) for c in values for k in values) / (total - 1)
    return 1 - seen / chance


tables = arrays(
    np.float64,
    st.tuples(st.integers(2, 5), st.integers(1, 12)),
    elements=st.sampled_from([N, 0.0, 1.0, 2.0, 3.5, 7.0]),
)
levels = st.sampled_from(list(Level))


@given(tables, levels)
@settings(max_examples=200, deadline=None)
def test_it_equals_the_definition(table: Any, level: Level) -> None:
    found = alpha(table, level)
    assume(not math.isnan(found))
    assert found == pytest.approx(by_the_book(table, level), abs=1e-9)


@given(tables, levels, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_neither_the_order_of_annotators_nor_of_units_matters(table: Any, level: Level, random: Any) -> None:
    found = alpha(table, level)
    rows, columns = list(range(table.shape[0])), list(range(table.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    again = alpha(table[rows][:, columns], level)
    assert (math.isnan(found) and math.isnan(again)) or again == pytest.approx(found, abs=1e-12)
    assert math.isnan(found) or found <= 1.0


@given(arrays(np.float64, st.integers(2, 30), elements=st.integers(0, 5).map(float)), levels, st.integers(2, 4))
@settings(max_examples=60, deadline=None)
def test_perfect_agreement_is_exactly_one(row: Any, level: Level, people: int) -> None:
    found = alpha(np.tile(row, (people, 1)), level)
    assert found == 1.0 if len(set(row)) > 1 else math.isnan(found)


@given(tables, st.permutations([0.0, 1.0, 2.0, 3.5, 7.0]))
@settings(max_examples=60, deadline=None)
def test_at_nominal_level_names_do_not_matter(table: Any, names: list[float]) -> None:
    renamed = table.copy()
    for old, new in zip([0.0, 1.0, 2.0, 3.5, 7.0], names, strict=True):
        renamed[table == old] = new
    a, b = alpha(table, "nominal"), alpha(renamed, "nominal")
    assert (math.isnan(a) and math.isnan(b)) or a == pytest.approx(b, abs=1e-12)


@given(tables, st.floats(0.1, 10), st.floats(-5, 5))
@settings(max_examples=60, deadline=None)
def test_scale_and_zero_do_not_matter_at_interval_level_nor_scale_at_ratio(
    table: Any, scale: float, zero: float
) -> None:
    a, b = alpha(table, "interval"), alpha(table * scale + zero, "interval")
    assert (math.isnan(a) and math.isnan(b)) or a == pytest.approx(b, abs=1e-6)
    c, d = alpha(table, "ratio"), alpha(table * scale, "ratio")
    assert (math.isnan(c) and math.isnan(d)) or c == pytest.approx(d, abs=1e-9)


def test_units_with_one_value_count_for_nothing() -> None:
    table = np.array(TWO_OBSERVERS, float)
    lonely = np.array([[1.0, N], [N, 9.0]])
    assert alpha(np.hstack([table, lonely])) == alpha(table)


@pytest.mark.parametrize("table", [np.zeros((2, 0)), np.full((2, 3), N), np.ones((1, 5)), np.ones((3, 4))])
def test_where_nothing_can_be_said_nothing_is(table: Any) -> None:
    assert math.isnan(alpha(table))


@pytest.mark.parametrize(
    ("table", "level", "words"),
    [
        (np.zeros(3), "nominal", "annotators by units"),
        (np.array([[1.0, -1.0], [1.0, 2.0]]), "ratio", "not below zero"),
        (np.array([[1.0, math.inf], [1.0, 2.0]]), "interval", "infinite"),
    ],
)
def test_what_is_no_table_of_values_is_refused(table: Any, level: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        alpha(table, level)


def test_systematic_disagreement_is_below_chance() -> None:
    assert alpha(np.array([[0, 1, 0, 1, 0, 1], [1, 0, 1, 0, 1, 0]], float)) < 0


def span(value: Any, start: int, end: int) -> Label:
    return Label(label="x", value=value, start_ns=start, end_ns=end)


def test_spans_agree_on_a_grid_of_time() -> None:
    flag = LabelRule(type=ValueType.FLAG)
    one, other = [span(True, 0, 500)], [span(True, 0, 400)]
    found = alpha_of([one, other], flag, (0, 1000), 1)
    expected = by_the_book(np.repeat([[1, 1, 0], [1, 0, 0]], [400, 100, 500], axis=1), Level.NOMINAL)
    assert found == pytest.approx(expected, abs=1e-9)
    assert alpha_of([one, one], flag, (0, 1000), 1) == 1.0
    assert math.isnan(alpha_of([[], []], flag, (0, 1000), 1)), "both say no, all the time: no variation to agree on"


def test_what_no_span_covers_is_an_answer_for_a_category_and_a_gap_for_an_order() -> None:
    times = instants((0, 10), 1)
    plain = LabelRule(type=ValueType.CATEGORY, values=("a", "b"))
    ranked = LabelRule(type=ValueType.CATEGORY, values=("a", "b"), ordered=True)
    labels = [span("b", 2, 4)]
    assert on_grid([labels], plain, times)[0].tolist() == [-1, -1, 1, 1, -1, -1, -1, -1, -1, -1]
    row = on_grid([labels], ranked, times)[0]
    assert row[2] == 1
    assert np.isnan(row[[0, 1, 4]]).all()
    number = LabelRule(type=ValueType.NUMBER)
    assert on_grid([[span(2.5, 2, 4)]], number, times)[0, 3] == 2.5


def test_overlapping_values_are_compared_as_the_set_that_holds() -> None:
    rule = LabelRule(type=ValueType.CATEGORY, values=("a", "b"), overlap=True)
    left = [span("a", 0, 6), span("b", 4, 8)]
    right = [span("b", 4, 8), span("a", 0, 6)]
    table = on_grid([left, right], rule, instants((0, 10), 1))
    assert (table[0] == table[1]).all()
    assert len(set(table[0])) == 4
    assert alpha_of([left, [span("a", 0, 6)]], rule, (0, 10), 1) < 1


def test_values_of_whole_logs_make_a_table_with_gaps() -> None:
    rule = LabelRule(type=ValueType.FLAG, extent=Extent.LOG)
    said = {("ada", "1"): True, ("ada", "2"): False, ("bob", "1"): True, ("eve", "3"): True}
    table = log_values(said, rule)
    assert table.shape == (3, 3)
    assert np.isfinite(table).sum() == 4
    ranked = LabelRule(type=ValueType.CATEGORY, extent=Extent.LOG, values=("low", "high"), ordered=True)
    assert log_values({("ada", "1"): "high"}, ranked).tolist() == [[1.0]]
