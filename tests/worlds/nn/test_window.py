"""What stands in a window where nothing was measured, and that nothing of the future is in it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgate.worlds.nn.window import Window, filled, noted

STRAIGHT = torch.zeros(1)


def window(values, known, *, pace=None, age=None, circular=STRAIGHT):
    states = torch.tensor(values, dtype=torch.float32).view(1, -1, 1)
    seen = torch.tensor(known, dtype=torch.bool).view(1, -1, 1)
    paces = torch.ones(1, len(values)) if pace is None else torch.tensor([pace], dtype=torch.float32)
    ages = torch.zeros_like(states) if age is None else torch.tensor(age, dtype=torch.float32).view(1, -1, 1)
    return filled(states, seen, ages, paces, circular)


def test_between_two_measured_rows_stands_the_line_between_them():
    made = window([1.0, 99.0, 99.0, 4.0], [1, 0, 0, 1])
    assert made.states_XCD.flatten().tolist() == pytest.approx([1, 2, 3, 4])
    assert float(made.age_XD) == 0


def test_after_the_last_measured_row_it_is_held_and_its_age_and_drift_are_told():
    made = window([1.0, 3.0, 99.0, 99.0], [1, 1, 0, 0])
    assert made.states_XCD.flatten().tolist() == [1, 3, 3, 3]
    assert float(made.age_XD) == 2
    assert float(made.drift_XD) == 4


def test_uneven_rows_are_told_by_their_pace():
    made = window([0.0, 99.0, 4.0], [1, 0, 1], pace=[1.0, 3.0, 1.0])
    assert made.states_XCD.flatten().tolist() == pytest.approx([0, 3, 4])
    assert made.span_XCD.flatten().tolist() == [3, 1]


def test_a_number_measured_a_little_before_its_row_is_that_old():
    made = window([0.0, 1.0], [1, 1], age=[0.0, 0.4])
    assert float(made.age_XD) == pytest.approx(0.4)


def test_angles_are_filled_the_short_way_round():
    made = window([3.0, 0.0, -3.0], [1, 0, 1], circular=torch.ones(1))
    assert abs(abs(float(made.states_XCD[0, 1, 0])) - math.pi) < 1e-5


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=2, max_size=8).filter(lambda r: any(k for _, k in r))
)
def test_what_was_measured_stays_and_what_is_filled_lies_within_it(rows):
    values, known = [v for v, _ in rows], [k for _, k in rows]
    made = window(values, known).states_XCD.flatten().numpy()
    measured = np.asarray(values, np.float32)[np.asarray(known)]
    assert np.array_equal(made[np.asarray(known)], measured)
    assert made.min() >= measured.min() - 1e-5
    assert made.max() <= measured.max() + 1e-5


def test_a_step_on_takes_in_how_old_the_last_number_was():
    made = window([1.0, 3.0, 99.0], [1, 1, 0]).push(torch.tensor([[9.0]]))
    assert made.states_XCD.flatten().tolist() == [3, 3, 9]
    assert made.span_XCD.flatten().tolist() == [1, 2]
    assert float(made.age_XD) == 0


def test_a_prompt_says_with_nan_what_was_not_measured():
    made = noted(torch.tensor([[[1.0], [math.nan], [3.0]]]), STRAIGHT)
    assert made.states_XCD.flatten().tolist() == pytest.approx([1, 2, 3])
    whole = torch.tensor([[[1.0], [2.0]]])
    assert torch.equal(noted(whole, STRAIGHT).states_XCD, Window.even(whole).states_XCD)
