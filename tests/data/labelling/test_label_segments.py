"""Spans and their agreement: set algebra against a bitmap, matching against brute force."""

from __future__ import annotations

import math
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgate.data.labelling.segments import Hits, bootstrap, macro_f1, matched, segment_hits
from worldgate.data.labelling.sets import Label
from worldgate.data.labelling.spans import (
    closed,
    covered,
    gaps,
    inside,
    intersection,
    length_ns,
    overlapping,
    runs,
    union,
)

END = 40
span_lists = st.lists(
    st.tuples(st.integers(0, END - 1), st.integers(1, 12)).map(lambda x: (x[0], min(END, x[0] + x[1]))), max_size=7
)


def bits(spans: Any) -> Any:
    out = np.zeros(END, bool)
    for start, end in spans:
        out[start:end] = True
    return out


@given(span_lists, span_lists)
@settings(max_examples=200, deadline=None)
def test_spans_are_sets_of_nanoseconds(a: Any, b: Any) -> None:
    grid = np.arange(END, dtype=np.int64)
    assert (inside(a, grid) == bits(a)).all()
    assert (bits(union(a)) == bits(a)).all()
    assert (bits(intersection(a, b)) == (bits(a) & bits(b))).all()
    assert (bits(gaps(a, (0, END))) == ~bits(a)).all()
    assert length_ns(a) == bits(a).sum()
    assert covered(a, (0, END)) == pytest.approx(bits(a).mean())
    assert all(x[1] < y[0] for x, y in pairwise(union(a)))
    assert runs(bits(a), grid, END) == union(a)
    assert bool(overlapping(a)) == (length_ns(a) < sum(e - s for s, e in a))


@given(span_lists, st.integers(0, 10))
def test_closing_fills_gaps_up_to_a_length_and_no_longer_ones(a: Any, gap: int) -> None:
    found = closed(a, gap)
    assert all(y[0] - x[1] > gap for x, y in pairwise(found))
    assert (bits(found) | ~bits(a)).all()
    assert closed(a, 0) == union(a)


def test_a_stamp_of_today_keeps_its_last_nanosecond() -> None:
    at = 1_800_000_000_000_000_001
    assert inside([(at, at + 1)], np.array([at - 1, at, at + 1], np.int64)).tolist() == [False, True, False]


def best(a: Any, b: Any, tolerance: int) -> int:
    """Most pairs, by trying every order."""
    small, large = sorted((a, b), key=len)

    def fits(x: Any, y: Any) -> bool:
        return abs(x[0] - y[0]) <= tolerance and abs(x[1] - y[1]) <= tolerance

    return max(
        (sum(fits(x, y) for x, y in zip(small, order, strict=True)) for order in permutations(large, len(small))),
        default=0,
    )


short_lists = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6)).map(lambda x: (x[0], x[0] + x[1])), max_size=5)


@given(short_lists, short_lists, st.integers(0, 4))
@settings(max_examples=150, deadline=None)
def test_the_pairing_is_one_of_most_pairs(a: Any, b: Any, tolerance: int) -> None:
    pairs = matched(a, b, tolerance)
    assert len(pairs) == best(a, b, tolerance)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert all(abs(a[i][k] - b[j][k]) <= tolerance for i, j in pairs for k in (0, 1))


def test_a_greedy_pairing_would_lose_one() -> None:
    left, right = [(0, 10), (4, 14)], [(2, 12), (0, 10)]
    assert len(matched(left, right, 4)) == 2


@given(short_lists, short_lists, st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_f1_is_symmetric_between_0_and_1_and_1_with_itself(a: Any, b: Any, tolerance: int) -> None:
    left, right = ([Label(label="x", start_ns=s, end_ns=e) for s, e in spans] for spans in (a, b))
    one, other = segment_hits(left, right, tolerance), segment_hits(right, left, tolerance)
    assert one.f1 == other.f1
    assert 0 <= one.f1 <= 1
    assert segment_hits(left, left, 0).f1 == 1.0
    assert segment_hits(left, right, tolerance).same <= segment_hits(left, right, tolerance + 1).same


def test_a_span_of_another_value_is_another_span() -> None:
    push = Label(label="phase", value="push", start_ns=0, end_ns=9)
    rest = Label(label="phase", value="rest", start_ns=0, end_ns=9)
    assert segment_hits([push], [rest], 100).same == 0


def test_a_boundary_exactly_at_the_tolerance_is_the_same() -> None:
    assert matched([(0, 100)], [(50, 150)], 50) == [(0, 0)]
    assert matched([(0, 100)], [(51, 150)], 50) == []


def test_nothing_on_either_side_agrees_and_has_neither_precision_nor_recall() -> None:
    nothing = Hits()
    assert nothing.f1 == 1.0
    assert math.isnan(nothing.precision)
    assert math.isnan(nothing.recall)
    assert macro_f1({}) == 1.0
    assert macro_f1({"a": Hits(same=1, left=1, right=1), "b": Hits(same=0, left=1, right=1)}) == 0.5


def test_the_bootstrap_covers_its_estimate_repeats_and_says_when_it_cannot() -> None:
    rng = np.random.default_rng(0)
    parts = [Hits(same=float(rng.integers(2, 9)), left=10.0, right=10.0) for _ in range(30)]
    found = bootstrap(parts, "f1")
    assert found.lower < found.value < found.upper
    assert found == bootstrap(parts, "f1")
    assert bootstrap(parts, "f1", level=0.5).lower > found.lower
    assert math.isnan(bootstrap(parts[:1], "f1").lower)
    assert math.isnan(bootstrap([Hits(), Hits()], "recall").value)
    assert bootstrap([], "f1").value == 1.0
