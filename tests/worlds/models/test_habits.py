"""What codes of pictures start from: how often each followed each other one at its place."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from worldgate.worlds.models._prior import Habits
from worldgate.worlds.models._tape import remembered, turns

DIGITS = torch.tensor([0, 1, 0, 1])


def fitted(now, after, tokens=3, codes=5):
    habits = Habits(tokens, DIGITS, codes)
    habits.fit(now, after)
    return habits


@given(seed=st.integers(0, 2**31), rows=st.integers(0, 40))
def test_habits_are_probabilities_however_little_was_seen(seed, rows):
    draw = torch.Generator().manual_seed(seed)
    now, after = (torch.randint(5, (rows, 3, 4), generator=draw) for _ in range(2))
    before = torch.randint(6, (2, 7, 3, 4), generator=draw)
    chances = fitted(now, after)(before).exp()
    assert chances.shape == (2, 7, 3, 4, 5)
    torch.testing.assert_close(chances.sum(dim=-1), torch.ones(2, 7, 3, 4))
    assert bool((chances > 0).all())


def test_a_place_that_never_changes_is_told_from_one_that_does():
    now = torch.randint(5, (400, 3, 4), generator=torch.Generator().manual_seed(0))
    after = now.clone()
    after[:, 0] = (now[:, 0] + 1) % 5
    said = fitted(now, after)(now[None, :1]).exp()
    stays = said.gather(-1, now[None, :1, ..., None]).squeeze(-1)[0, 0]
    assert float(stays[0].max()) < 0.1
    assert float(stays[1:].min()) > 0.9


def test_what_a_place_has_not_shown_comes_from_the_same_digit_elsewhere():
    now = torch.zeros(200, 3, 4, dtype=torch.long)
    now[:, 1:, 0::2] = 2
    after = now.clone()
    after[:, 1:, 0::2] = 4
    said = fitted(now, after)(torch.full((1, 1, 3, 4), 2)).exp()[0, 0, 0]
    assert said[0].argmax() == 4, "place 0 never showed 2 in this digit; elsewhere 4 follows it"
    assert float(said[1].max() - said[1].min()) < 1e-6, "nobody saw 2 in the other digit"


def test_an_unknown_code_before_says_what_the_place_usually_shows():
    now = torch.zeros(300, 3, 4, dtype=torch.long)
    now[:, 2] = 3
    said = fitted(now, now)(torch.full((1, 1, 3, 4), 5)).argmax(dim=-1)[0, 0]
    assert said.tolist() == [[0] * 4, [0] * 4, [3] * 4]


def test_most_windows_alternate_remembered_and_new_frames():
    torch.manual_seed(0)
    kept = remembered(2000, 6, 0.0, torch.device("cpu"))
    alternating = (kept[:, 1:] != kept[:, :-1]).all(dim=1)
    assert 0.6 < float(alternating.float().mean()) < 0.8
    assert not bool(kept[~alternating].any()), "a share of 0 remembers nothing"


@pytest.mark.parametrize(("plain", "share"), [([True, True], 1.0), ([False], 0.0), ([False, True], 0.25)])
def test_numbers_and_pictures_take_turns_where_there_are_both(plain, share):
    torch.manual_seed(0)
    first, _ = turns(2000, 6, plain, torch.device("cpu"))
    assert first.shape == (2000, 6, 1)
    assert abs(float(first.float().mean()) - share) < 0.02
