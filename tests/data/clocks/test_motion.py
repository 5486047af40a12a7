"""Lags of motion: the truth lies within the error as often as claimed, and no evidence gives no answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from worldgate.core.streams import Kind
from worldgate.data.clocks.motion import correlate, flow, speed

SECOND = 1_000_000_000
FINE = 0.002


def motion(duration_s: float, rng: np.random.Generator) -> tuple[Any, Any]:
    """(G,) instants in s and (G, 2) a smooth motion that never repeats."""
    count = int((duration_s + 3) / FINE)
    raw = gaussian_filter1d(rng.normal(size=(count + 1000, 2)), 0.3 / FINE, axis=0)[500:-500]
    return np.arange(count) * FINE, raw / raw.std()


def seen(instants: Any, at: Any, values: Any, lag_s: float, noise: float, rng: np.random.Generator) -> Any:
    delayed = [np.interp(at - lag_s, instants, values[:, channel]) for channel in range(values.shape[1])]
    return np.stack(delayed, axis=1) + rng.normal(0, noise, (len(at), values.shape[1]))


@pytest.mark.parametrize(
    ("command_s", "state_s", "noise"),
    [(0.1, 0.01, 0.002), (0.1, 0.01, 0.02), (1 / 15, 1 / 15, 0.01), (1 / 30, 1 / 30, 0.01)],
)
@pytest.mark.parametrize("duration_s", [8.0, 20.0])
def test_the_error_covers_the_true_lag_as_often_as_it_claims(
    command_s: float, state_s: float, noise: float, duration_s: float
) -> None:
    rng = np.random.default_rng([int(command_s * 1000), int(noise * 1000), int(duration_s)])
    covered, errors = [], []
    for _ in range(40):
        instants, values = motion(duration_s, rng)
        lag = float(rng.uniform(-0.1, 0.25))
        command = np.arange(1, 1 + duration_s, command_s)
        state = np.arange(1, 1 + duration_s, state_s)
        a, b = seen(instants, command, values, 0.0, 0.0, rng), seen(instants, state, values, lag, noise, rng)
        found = correlate((command * SECOND).astype(np.int64), a, (state * SECOND).astype(np.int64), b)
        assert found is not None
        covered.append(abs(found.lag_ns / SECOND - lag) <= found.error_ns / SECOND)
        errors.append(found.error_ns / SECOND)
    assert np.mean(covered) >= 0.92
    assert np.median(errors) < 0.012, "sure to a few ms, or the cover says nothing"


def test_motions_that_have_nothing_to_do_with_each_other_give_no_lag() -> None:
    rng = np.random.default_rng(0)
    at = np.arange(1, 11, 0.02)
    stamps = (at * SECOND).astype(np.int64)
    answers = []
    for _ in range(30):
        one, other = (seen(*(m := motion(10, rng))[:1], at, m[1], 0.0, 0.0, rng) for _ in range(2))
        found = correlate(stamps, one, stamps, other, least=0.6)
        answers.append(found)
    assert sum(a is not None for a in answers) <= 3


def test_a_motion_that_repeats_itself_is_no_evidence_for_one_lag() -> None:
    at = np.arange(0, 10, 0.02)
    stamps = (at * SECOND).astype(np.int64)
    rng = np.random.default_rng(1)
    wave = np.sin(2 * np.pi * at / 0.4)[:, None]
    found = correlate(stamps, wave + rng.normal(0, 0.3, wave.shape), stamps, wave + rng.normal(0, 0.3, wave.shape))
    assert found is None or found.error_ns > 0.3 * SECOND


@pytest.mark.parametrize("still", [0, 1])
def test_nothing_that_moves_and_too_short_a_time_give_no_lag(still: int) -> None:
    rng = np.random.default_rng(2)
    instants, values = motion(8, rng)
    at = np.arange(1, 9, 0.02)
    stamps = (at * SECOND).astype(np.int64)
    pair = [seen(instants, at, values, 0.0, 0.0, rng), seen(instants, at, values, 0.1, 0.0, rng)]
    pair[still] = np.zeros_like(pair[still])
    assert correlate(stamps, pair[0], stamps, pair[1]) is None
    assert correlate(stamps[:20], pair[0][:20], stamps[:20], pair[1][:20]) is None
    assert correlate(stamps[:0], pair[0][:0], stamps, pair[1]) is None


def test_a_cameras_flow_shows_how_late_its_stamps_are(fakes: Any) -> None:
    rng = np.random.default_rng(3)
    instants, values = motion(12, rng)
    joints = np.arange(1, 13, 0.01)
    shutter = np.arange(1, 13, 1 / 30)
    scene = rng.integers(0, 255, (16, 200), dtype=np.uint8).repeat(6, axis=0).repeat(6, axis=1)
    late = 0.06
    places = np.interp(shutter - late, instants, values[:, 0])
    frames = []
    for place in places:
        left = int(np.clip(300 + 40 * place, 0, 1000))
        frames.append(scene[:, left : left + 128, None].repeat(3, axis=2))
    camera = fakes.stream(
        "camera", (shutter * SECOND).astype(np.int64), fakes.Frames(np.stack(frames)), kind=Kind.IMAGE
    )
    at, fast = speed((joints * SECOND).astype(np.int64), np.interp(joints, instants, values[:, 0])[:, None])
    shown, moved = flow(camera)
    found = correlate(at, fast, shown, moved, signal="level")
    assert found is not None
    assert abs(found.lag_ns / SECOND - late) <= max(found.error_ns / SECOND, 0.01)
    assert found.correlation > 0.6
