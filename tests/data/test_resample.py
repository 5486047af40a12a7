"""Every policy against an oracle that walks rows and messages one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from worldgate.data.resample import BETWEEN, WINDOWS, Policy, combine, pick, slerp, timeline

# Few distinct integers, so that ties, repeats and exact hits are common.
STAMPS = st.lists(st.integers(0, 60), max_size=25)
GRIDS = st.lists(st.integers(-5, 65), min_size=1, max_size=15, unique=True).map(sorted)
LIMITS = st.one_of(st.none(), st.integers(0, 20))


def nearest_source(times: list[int], row: int, policy: Policy, window: int) -> tuple[int | None, int | None]:
    """Recorded positions of the one or two messages a row uses: the rules in words, one message at a time."""
    by_time = sorted(range(len(times)), key=lambda i: (times[i], i))
    past = [i for i in by_time if times[i] <= row]
    future = [i for i in by_time if times[i] >= row]
    first_future = max((i for i in future if times[i] == times[future[0]]), default=None) if future else None
    newest = past[-1] if past else None
    if policy is Policy.NEAREST:
        if newest is None or first_future is None:
            one = first_future if newest is None else newest
        else:
            one = first_future if times[first_future] - row < row - times[newest] else newest
        return one, one
    if policy in BETWEEN:
        return (newest, first_future) if newest is not None and first_future is not None else (None, None)
    if policy is Policy.HOLD or (newest is not None and times[newest] > row - window):
        return newest, newest
    return None, None


@settings(deadline=None, max_examples=300)
@given(
    times=STAMPS,
    grid=GRIDS,
    policy=st.sampled_from(list(Policy)),
    tolerance=LIMITS,
    stale=LIMITS,
    window=st.integers(1, 20),
)
def test_every_policy_picks_what_the_oracle_picks(
    times: list[int], grid: list[int], policy: Policy, tolerance: int | None, stale: int | None, window: int
) -> None:
    line = timeline(np.asarray(times, np.int64))
    picks = pick(
        line,
        np.asarray(grid, np.int64),
        policy,
        tolerance_ns=tolerance,
        max_staleness_ns=stale,
        window_ns=window,
    )
    for t, row in enumerate(grid):
        one, two = nearest_source(times, row, policy, window)
        limit = 1000 if tolerance is None else tolerance
        if one is not None and two is not None and max(abs(times[one] - row), abs(times[two] - row)) > limit:
            one = two = None
        past = [s for s in times if s <= row]
        staleness = row - max(past) if past else -1
        assert picks.index[t] == (-1 if one is None else one)
        assert picks.after[t] == (-1 if two is None else two)
        assert picks.source_ns[t] == (0 if one is None else times[one])
        assert picks.skew_ns[t] == (0 if one is None else times[one] - row)
        assert picks.staleness_ns[t] == staleness
        assert picks.gap[t] == (one is None or (stale is not None and (staleness < 0 or staleness > stale)))
        assert picks.future[t] == (one is not None and two is not None and max(times[one], times[two]) > row)


@settings(deadline=None, max_examples=200)
@given(
    times=STAMPS.filter(bool),
    grid=GRIDS,
    policy=st.sampled_from(sorted(set(Policy) - {Policy.SLERP})),
    window=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_every_policy_combines_numbers_as_the_oracle_does(
    times: list[int], grid: list[int], policy: Policy, window: int, seed: int
) -> None:
    values = np.random.default_rng(seed).normal(size=(len(times), 2))
    line = timeline(np.asarray(times, np.int64))
    rows = np.asarray(grid, np.int64)
    picks = pick(line, rows, policy, tolerance_ns=None, max_staleness_ns=None, window_ns=window)
    out = combine(values, picks, line, policy)
    for t, row in enumerate(grid):
        one, two = nearest_source(times, row, policy, window)
        if one is None or two is None:
            assert np.isnan(out[t]).all()
            continue
        inside = [values[i] for i in range(len(times)) if row - window < times[i] <= row]
        span = max(times[two] - times[one], 1)
        share = (row - times[one]) / span
        expected: Any = {
            Policy.LINEAR: lambda s=share, a=one, b=two: (1 - s) * values[a] + s * values[b],
            Policy.WINDOW_MEAN: lambda i=inside: np.mean(i, axis=0),
            Policy.WINDOW_RMS: lambda i=inside: np.sqrt(np.mean(np.square(i), axis=0)),
            Policy.WINDOW_PEAK: lambda i=inside: [max(column, key=abs) for column in np.transpose(i)],
            Policy.WINDOW_MIN: lambda i=inside: np.min(i, axis=0),
            Policy.WINDOW_MAX: lambda i=inside: np.max(i, axis=0),
        }.get(policy, lambda a=one: values[a])()
        np.testing.assert_allclose(out[t], expected, rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 10_000), share=st.floats(0, 1))
def test_slerp_agrees_with_scipy(seed: int, share: float) -> None:
    ends = Rotation.random(2, random_state=np.random.default_rng(seed))
    ours = slerp(ends.as_quat()[:1], -ends.as_quat()[1:], np.array([share]))
    theirs = Slerp([0.0, 1.0], ends)([share])
    assert (Rotation.from_quat(ours) * theirs.inv()).magnitude()[0] < 1e-6


def test_slerp_of_equal_rotations_is_that_rotation() -> None:
    one = np.array([[0.0, 0.0, 0.0, 1.0]])
    np.testing.assert_array_equal(slerp(one, one, np.array([0.3])), one)


@settings(deadline=None, max_examples=100)
@given(times=STAMPS, grid=GRIDS, policy=st.sampled_from(list(Policy)))
def test_recorded_order_matters_only_among_equal_stamps(times: list[int], grid: list[int], policy: Policy) -> None:
    distinct = sorted(set(times))
    shuffled = np.random.default_rng(len(times)).permutation(np.asarray(distinct, np.int64))
    rows = np.asarray(grid, np.int64)
    limits = {"tolerance_ns": None, "max_staleness_ns": None, "window_ns": 7}
    ordered = pick(timeline(np.asarray(distinct, np.int64)), rows, policy, **limits)
    mixed = pick(timeline(shuffled.astype(np.int64)), rows, policy, **limits)
    np.testing.assert_array_equal(ordered.source_ns, mixed.source_ns)
    np.testing.assert_array_equal(ordered.gap, mixed.gap)


def test_integers_become_floats_only_so_that_gaps_can_be_nan() -> None:
    line = timeline(np.array([10], np.int64))
    picks = pick(line, np.array([5, 10], np.int64), Policy.HOLD, tolerance_ns=None, max_staleness_ns=None, window_ns=1)
    out = combine(np.array([[7]], np.uint8), picks, line, Policy.HOLD)
    assert out.dtype == np.float64
    assert np.isnan(out[0, 0])
    assert out[1, 0] == 7


@pytest.mark.parametrize("policy", sorted(WINDOWS | {Policy.HOLD}))
def test_windows_and_hold_never_read_the_future(policy: Policy) -> None:
    line = timeline(np.arange(0, 100, 3, dtype=np.int64))
    rows = np.arange(0, 99, 2, dtype=np.int64)
    picks = pick(line, rows, policy, tolerance_ns=None, max_staleness_ns=None, window_ns=10)
    assert not picks.future.any()
    assert picks.skew_ns.max() == 0
