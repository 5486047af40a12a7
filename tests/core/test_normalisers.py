"""Normaliser statistics: round trips, constant channels, angles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldgate.core.errors import DataRefused, UsageError, WeightsRefused
from worldgate.core.normalisers import Normaliser, Statistics, fit

RNG = np.random.default_rng(0)


@given(st.integers(0, 10_000), st.floats(1e-6, 1e6), st.floats(-1e6, 1e6))
def test_encoding_and_decoding_give_the_values_back(seed, scale, shift):
    values = np.random.default_rng(seed).normal(shift, scale, (20, 3))
    found = fit([values])
    assert np.allclose(found.invert(found.apply(values)), values, rtol=1e-9, atol=1e-9 * scale)


def test_encoded_training_rows_have_zero_mean_and_unit_spread():
    encoded = fit([values := RNG.normal(5, 3, (400, 2))]).apply(values)
    assert np.allclose(encoded.mean(axis=0), 0, atol=1e-9)
    assert np.allclose(encoded.std(axis=0), 1, atol=1e-9)


def test_a_constant_channel_is_marked_and_not_blown_up():
    values = np.column_stack([RNG.normal(0, 1, 50), np.full(50, 3.2)])
    found = fit([values])
    assert found.constant == (False, True)
    assert found.std[1] == 1.0
    assert np.isfinite(found.apply(values + 0.1)).all()


def test_an_angle_that_wraps_is_circular_and_a_fast_joint_is_not():
    turning = (np.arange(60) * 0.3 + np.pi) % (2 * np.pi) - np.pi
    joint = np.where(np.arange(60) % 2, 2.0, -2.0)
    found = fit([np.column_stack([turning, joint])])
    assert found.circular == (True, False)
    assert found.step[0] == pytest.approx(0.3, rel=1e-6)


def test_statistics_survive_json_to_the_bit():
    made = Normaliser(streams={"a": fit([RNG.normal(0, 1e-7, (30, 4))], unit="rad")})
    again = Normaliser.from_bytes(made.to_bytes())
    assert again == made
    assert again.digest == made.digest


def test_another_scale_is_another_digest():
    values = RNG.normal(0, 1, (30, 2))
    one, two = (Normaliser(streams={"a": fit([values * f])}) for f in (1.0, 1.0 + 1e-9))
    assert one.digest != two.digest


def test_rows_that_are_all_nan_are_refused():
    with pytest.raises(DataRefused, match="no finite row"):
        fit([np.full((5, 2), np.nan)])


def test_nan_rows_do_not_touch_the_statistics():
    values = RNG.normal(0, 1, (40, 2))
    holed = np.insert(values, 20, np.nan, axis=0)
    assert fit([holed]).mean == pytest.approx(fit([values]).mean)
    assert fit([holed]).rows == 40


@pytest.mark.parametrize("data", [b"", b"[]", b'{"streams": {"a": {"unit": "m"}}}', b"\x80\x04pickle"])
def test_statistics_that_are_not_of_this_form_are_refused(data):
    with pytest.raises((WeightsRefused, UsageError)):
        Normaliser.from_bytes(data)


def test_channels_hold_one_value_a_channel():
    found = fit([RNG.normal(0, 1, (30, 5))])
    assert isinstance(found, Statistics)
    assert {len(getattr(found, name)) for name in ("mean", "std", "step", "min", "max", "q01", "q99", "circular")} == {
        5
    }
