from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from worldgate.sim.clocks import ClockConfig, beats

CAMERA = ClockConfig(rate_hz=30.0, jitter_s=0.0015, transport_s=0.04)


def test_two_sensors_of_one_run_beat_independently_and_jitter() -> None:
    a, b = (beats(name, CAMERA, seed=1, duration_s=10.0) for name in ("front", "top"))
    steps_a, steps_b = np.diff(a.true_s), np.diff(b.true_s)
    assert steps_a.std() > 0.0005
    n = min(len(steps_a), len(steps_b))
    assert abs(np.corrcoef(steps_a[:n], steps_b[:n])[0, 1]) < 0.3
    assert a.true_s[0] != b.true_s[0]


@given(st.integers(0, 10_000), st.floats(1.0, 200.0), st.floats(0.0, 0.05))
def test_instants_and_arrivals_rise_and_no_message_arrives_before_it_was_made(
    seed: int, rate_hz: float, jitter_s: float
) -> None:
    found = beats("s", ClockConfig(rate_hz=rate_hz, jitter_s=jitter_s, transport_s=0.01), seed=seed, duration_s=3.0)
    assert (np.diff(found.true_s) > 0).all()
    assert (np.diff(found.log_ns) >= 0).all()
    assert (found.log_ns >= np.floor(found.true_s * 1e9)).all()
    assert abs(len(found.true_s) - 3.0 * rate_hz) <= 1


def test_drift_moves_the_stamps_and_nothing_else() -> None:
    plain = beats("front", CAMERA, seed=2, duration_s=5.0)
    drifting = beats("front", replace(CAMERA, drift_ppm=20_000.0), seed=2, duration_s=5.0)
    np.testing.assert_array_equal(plain.true_s, drifting.true_s)
    np.testing.assert_array_equal(plain.log_ns, drifting.log_ns)
    late = (drifting.stamp_ns - plain.stamp_ns) / 1e9
    np.testing.assert_allclose(late, 0.02 * plain.true_s, atol=1e-6)


def test_dropping_loses_messages_and_leaves_the_others_as_they_were() -> None:
    plain = beats("front", CAMERA, seed=2, duration_s=20.0)
    lossy = beats("front", replace(CAMERA, dropped=0.3), seed=2, duration_s=20.0)
    assert plain.kept.all()
    assert 0.2 < 1 - lossy.kept.mean() < 0.4
    np.testing.assert_array_equal(plain.stamp_ns, lossy.stamp_ns)


def test_a_run_shorter_than_a_sensors_phase_has_no_message() -> None:
    assert (
        len(beats("slow", ClockConfig(rate_hz=0.1, jitter_s=0.0, transport_s=0.0), seed=0, duration_s=0.0).true_s) == 0
    )
