"""Offset and drift under one-sided delays: exact without any, and as sure as claimed with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgate.data.clocks.envelope import LEAST, block_minima, envelope, hull_slope

SECOND = 1_000_000_000
START = 1_767_600_000 * SECOND


def delays(kind: str, count: int, rng: np.random.Generator) -> Any:
    """Seconds from a stamp to its arrival, as networks make them."""
    if kind == "gamma":
        return 0.02 * (0.6 + rng.gamma(2, 0.2, count))
    if kind == "exponential":
        return 0.003 + rng.exponential(0.01, count)
    if kind == "two-sided":
        return 0.05 + rng.normal(0, 0.004, count)
    late = 0.003 + rng.exponential(0.002, count)
    for _ in range(3):
        first = int(rng.integers(0, count))
        late[first : first + count // 12] += rng.uniform(0.01, 0.05)
    return late


def recorded(kind: str, count: int, rate_hz: float, drift_ppm: float, rng: np.random.Generator) -> tuple[Any, Any]:
    """(N,) stamps of a clock that runs slow by ``drift_ppm``, and arrivals."""
    true = np.sort(np.arange(count) / rate_hz + rng.normal(0, 0.02 / rate_hz, count))
    arrived = np.maximum.accumulate(true + delays(kind, count, rng))
    return START + (true * (1 - drift_ppm * 1e-6) * SECOND).astype(np.int64), START + (arrived * SECOND).astype(
        np.int64
    )


@pytest.mark.parametrize("kind", ["gamma", "exponential", "two-sided", "bursts"])
@pytest.mark.parametrize(("count", "rate_hz"), [(60, 10.0), (360, 30.0), (1200, 100.0)])
def test_the_error_of_the_drift_covers_the_truth_as_often_as_it_claims(kind: str, count: int, rate_hz: float) -> None:
    rng = np.random.default_rng([count, len(kind)])
    covered = []
    for _ in range(120):
        drift = float(rng.normal(0, 100))
        found = envelope(*recorded(kind, count, rate_hz, drift, rng))
        assert found is not None
        covered.append(abs(found.drift_ppm - drift) <= found.drift_error_ppm + 0.1)
    assert np.mean(covered) >= 0.9, "claimed 0.95, and 120 runs stray by 0.02"


@pytest.mark.parametrize("kind", ["gamma", "exponential", "bursts"])
def test_the_offset_is_the_least_delay_and_its_error_covers_it(kind: str) -> None:
    rng = np.random.default_rng(1)
    found = [envelope(*recorded(kind, 600, 100.0, 0.0, rng)) for _ in range(120)]
    offsets = np.asarray([f.offset_ns for f in found if f is not None])
    errors = np.asarray([f.offset_error_ns for f in found if f is not None])
    assert np.mean(np.abs(offsets - np.median(offsets)) <= errors) >= 0.9
    least = {"gamma": 12e6, "exponential": 3e6, "bursts": 3e6}[kind]
    assert least < np.median(offsets) < least + 2e6


def test_more_messages_make_the_drift_surer() -> None:
    rng = np.random.default_rng(2)
    short, long = (envelope(*recorded("gamma", count, 100.0, 50.0, rng)) for count in (600, 6000))
    assert short is not None
    assert long is not None
    assert long.drift_error_ppm < 0.2 * short.drift_error_ppm
    assert long.drift_ppm == pytest.approx(50, abs=long.drift_error_ppm)


@settings(deadline=None, max_examples=60)
@given(
    offset=st.integers(-START, START),
    drift=st.floats(-20_000, 20_000),
    count=st.integers(LEAST, 300),
    seed=st.integers(0, 1000),
)
def test_without_any_delay_the_line_is_exact(offset: int, drift: float, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    stamps = START + np.cumsum(rng.integers(1_000_000, 100_000_000, count))
    log = stamps + offset + np.rint((stamps - stamps[0]) * drift * 1e-6).astype(np.int64)
    found = envelope(stamps, log)
    assert found is not None
    assert found.drift_ppm == pytest.approx(drift, abs=0.01)
    assert np.abs(found.at(stamps) - (log - stamps)).max() <= 1_000


@settings(deadline=None, max_examples=100)
@given(
    y=st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=40),
    gaps=st.lists(st.floats(0.1, 10), min_size=40, max_size=40),
)
def test_the_hull_edge_lies_under_every_point_and_no_line_under_them_is_nearer(
    y: list[float], gaps: list[float]
) -> None:
    x, heights = np.cumsum(gaps[: len(y)]), np.asarray(y)
    slope = hull_slope(x, heights)
    under = heights - slope * x
    ours = float(np.sum(under - under.min()))
    for other in slope + np.linspace(-5, 5, 41):
        apart = heights - other * x
        assert ours <= float(np.sum(apart - apart.min())) + 1e-6 * max(1.0, ours)


def test_every_block_gives_its_own_least() -> None:
    values = np.tile([3.0, 1.0, 2.0, 5.0, 4.0, 6.0, 7.0, 8.0], 10)
    assert block_minima(values).tolist() == [8 * k + 1 for k in range(10)]


def test_too_few_messages_and_a_clock_that_stands_still_have_no_line() -> None:
    few = START + np.arange(LEAST - 1, dtype=np.int64)
    assert envelope(few, few) is None
    still = np.full(100, START, np.int64)
    assert envelope(still, still + np.arange(100)) is None
