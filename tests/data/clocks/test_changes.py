"""Clocks that were set: found at their message with their size, told apart from late messages, silent otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from worldgate.data.clocks.changes import changes, set_back

SECOND = 1_000_000_000
MS = 1_000_000
START = 1_767_600_000 * SECOND


def run(
    count: int, rate_hz: float, rng: np.random.Generator, *, step_s: float = 0.0, at: int = 0, late_s: float = 0.0,
    scale: float = 0.02,
) -> tuple[Any, Any]:  # fmt: skip
    """Stamps and arrivals; from ``at`` on the clock is set by ``step_s``, or messages come ``late_s`` later."""
    true = np.arange(count) / rate_hz + rng.normal(0, 0.03 / rate_hz, count)
    arrived = true + scale * (0.6 + rng.gamma(2, 0.2, count))
    arrived[at:] += late_s
    stamps = true * (1 - 50e-6)
    stamps[at:] += step_s
    ns = (stamps * SECOND).astype(np.int64), (np.maximum.accumulate(arrived) * SECOND).astype(np.int64)
    return START + ns[0], START + ns[1]


@pytest.mark.parametrize("step_s", [0.05, -0.05, 0.4, -0.4, 3600.0, -1.7676e9])
@pytest.mark.parametrize(("count", "rate_hz"), [(100, 10.0), (360, 30.0), (800, 100.0)])
def test_a_step_is_found_at_its_message_with_its_size(step_s: float, count: int, rate_hz: float) -> None:
    rng = np.random.default_rng([count, abs(int(step_s * 100))])
    hits, sized = 0, 0
    for _ in range(25):
        at = int(rng.integers(count // 6, 5 * count // 6))
        stamps, log = run(count, rate_hz, rng, step_s=step_s, at=at)
        found = [c for c in changes(stamps, log) if c.who == "stamp"]
        if len(found) == 1 and abs(found[0].message - at) <= 1:
            hits += 1
            sized += abs(found[0].offset_ns + round(step_s * SECOND)) <= found[0].error_ns
    assert hits >= 24
    assert sized >= 0.88 * hits, "claimed 0.95"


@pytest.mark.parametrize(("count", "rate_hz"), [(100, 10.0), (360, 30.0), (800, 100.0)])
def test_a_clock_that_nobody_set_has_no_steps(count: int, rate_hz: float) -> None:
    rng = np.random.default_rng(count)
    assert sum(bool(changes(*run(count, rate_hz, rng))) for _ in range(200)) <= 1


def test_messages_that_come_late_are_no_step_of_the_sensors_clock() -> None:
    rng = np.random.default_rng(0)
    blamed = told = 0
    for _ in range(60):
        found = changes(*run(360, 30.0, rng, late_s=0.08, at=int(rng.integers(60, 300))))
        told += any(c.who == "log" for c in found)
        blamed += any(c.who == "stamp" for c in found)
    assert told >= 57
    assert blamed <= 1


def test_a_pause_is_no_step_however_long() -> None:
    rng = np.random.default_rng(3)
    stamps, log = run(300, 30.0, rng)
    keep = np.r_[0:120, 210:300]
    assert changes(stamps[keep], log[keep]) == ()


def test_a_single_stray_stamp_sets_no_clock() -> None:
    rng = np.random.default_rng(4)
    stamps, log = run(300, 30.0, rng)
    stamps[150] = 0
    assert [c for c in changes(stamps, log) if abs(c.offset_ns) > SECOND] == []


def test_several_steps_are_found_in_order() -> None:
    rng = np.random.default_rng(5)
    stamps, log = run(600, 100.0, rng, scale=0.002)
    stamps[200:] -= 300 * MS
    stamps[400:] += 120 * MS
    found = changes(stamps, log)
    assert [c.message for c in found] == [200, 400]
    assert found[0].offset_ns == pytest.approx(300 * MS, abs=2 * MS)
    assert found[1].offset_ns == pytest.approx(-120 * MS, abs=2 * MS)


def test_without_a_recorders_clock_only_what_is_impossible_is_a_step() -> None:
    steady = START + np.arange(200, dtype=np.int64) * 10 * MS
    back = steady.copy()
    back[80:] -= 5 * SECOND
    (found,) = set_back(back)
    assert (found.message, found.offset_ns, found.who) == (80, 5 * SECOND, "stamp")
    paused = steady.copy()
    paused[80:] += 5 * SECOND
    assert set_back(paused) == ()
    reset = steady.copy()
    reset[50:] -= START
    assert [c.message for c in set_back(reset)] == [50]
    stray = steady.copy()
    stray[120] = 0
    assert set_back(stray) == ()
    assert set_back(steady[:5]) == ()
