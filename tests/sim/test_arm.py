from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldgate.sim.arm import BASE, REACH_M, TIP_M, forward, inverse


@given(st.floats(-0.17, 0.30), st.floats(-0.30, 0.30))
def test_inverse_kinematics_brings_the_tip_where_it_was_asked(x: float, y: float) -> None:
    assert forward(inverse(x, y)) == pytest.approx((x, y, TIP_M), abs=1e-9)


@given(st.floats(-0.17, 0.30), st.floats(-0.30, 0.30))
def test_the_tool_stays_vertical(x: float, y: float) -> None:
    _, shoulder, elbow, wrist = inverse(x, y)
    assert shoulder + elbow + wrist == pytest.approx(-math.pi / 2)


def test_a_point_out_of_reach_is_drawn_into_reach_in_its_direction() -> None:
    x, y, _ = forward(inverse(2.0, 1.0))
    assert math.hypot(x - BASE[0], y - BASE[1]) == pytest.approx(REACH_M)
    assert math.atan2(y - BASE[1], x - BASE[0]) == pytest.approx(math.atan2(1.0, 2.4))
