"""Skill over standing still: zero for a copy, one for the truth, and blind to what never moved."""

from __future__ import annotations

import pytest
import torch

from worldgate.worlds import skill

HORIZONS = {"1": 1, "3": 3}


def clip():
    """A bright square that moves one pixel a step over a dark ground: (N, K + 1, V, P, P, 3)."""
    out = torch.full((2, 4, 1, 12, 12, 3), 0.1)
    for t in range(4):
        out[:, t, :, 3:6, 2 + t : 5 + t] = 0.9
    return out


def test_a_copy_has_none_and_the_truth_has_all():
    now, real = clip()[:, 0], clip()[:, 1:]
    copy = now.unsqueeze(1).expand_as(real)
    out = skill.pictures(copy, real, now, real, HORIZONS)
    assert out["video_skill_over_copy_last_1"] == pytest.approx(0)
    assert out["video_skill_over_copy_last_3"] == pytest.approx(0)
    assert skill.pictures(real, copy, now, real, HORIZONS)["video_skill_over_copy_last_3"] == pytest.approx(1)
    assert skill.pictures(real, copy, now, real, HORIZONS)["video_action_sensitivity_3"] > 100


def test_erasing_what_moves_is_worth_half():
    now, real = clip()[:, 0], clip()[:, 1:]
    empty = torch.full_like(real, 0.1)
    got = skill.pictures(empty, empty, now, real, HORIZONS)["video_skill_over_copy_last_3"]
    assert got == pytest.approx(0.5, abs=0.01), "the square is missing where it went, and gone from where it was"


def test_what_never_moves_does_not_count():
    now, real = clip()[:, 0], clip()[:, 1:]
    odd = real.clone()
    odd[:, :, :, 9:, 9:] = 1.0
    assert skill.pictures(odd, odd, now, real, HORIZONS)["video_skill_over_copy_last_3"] == pytest.approx(1)


def test_states_are_held_against_the_last_ones():
    now = torch.zeros(5, 2)
    real = torch.arange(1.0, 4.0).reshape(1, 3, 1).expand(5, 3, 2)
    half = real / 2
    out = skill.states(half, now.unsqueeze(1).expand_as(real), now, real, HORIZONS)
    assert out["skill_over_hold_last_3"] == pytest.approx(0.75)
    assert out["action_sensitivity_3"] == pytest.approx(4)
