"""Episodes as models see them."""

from __future__ import annotations

import numpy as np
import pytest
from tests.worlds.synthetic import CAMERA, episode, episodes, make

from worldgate.core.errors import DataRefused, NotFound
from worldgate.worlds.tracks import Inputs, make_tracks, resolve_layout, shuffle_actions


def test_windows_never_touch_a_gap_or_a_nan():
    gap = np.zeros(48, bool)
    gap[20] = True
    held = episode(1, gap=gap)
    held.streams["action"].values[35, 0] = np.nan
    track = make_tracks([held], resolve_layout([held], Inputs()))[0]
    starts = track.starts(3, 5)
    for now in starts:
        assert track.valid_T[now - 2 : now + 6].all()
    assert set(starts) == {n for n in range(2, 43) if track.valid_T[n - 2 : n + 6].all()}


def test_an_episode_shorter_than_a_window_gives_none():
    held = episode(1, length=6)
    assert len(make_tracks([held], resolve_layout([held], Inputs()))[0].starts(4, 5)) == 0


def test_episodes_in_other_units_are_refused_by_name():
    with pytest.raises(DataRefused, match="disagree") as caught:
        resolve_layout([episode(1), episode(2, unit="mm")], Inputs())
    assert "[mm]" in str(caught.value)
    assert "episode-2" in str(caught.value)


def test_episodes_at_another_rate_are_refused():
    slow = make("slow", np.zeros((20, 3)), np.zeros((20, 2)), rate_hz=5.0)
    with pytest.raises(DataRefused, match="rate"):
        resolve_layout([episode(1), slow], Inputs())


def test_a_missing_camera_is_named():
    with pytest.raises(NotFound) as caught:
        resolve_layout([make("blind", np.zeros((20, 3)), np.zeros((20, 2)))], Inputs(cameras=(CAMERA,)))
    assert CAMERA in str(caught.value)
    assert "blind" in str(caught.value)


def test_no_episode_is_refused():
    with pytest.raises(DataRefused):
        resolve_layout([], Inputs())


def test_shuffled_actions_keep_their_values_and_lose_their_order():
    held = episodes(3)
    tracks = make_tracks(held, resolve_layout(held, Inputs()))
    broken = shuffle_actions(tracks, seed=3)
    pool = {tuple(a) for t in tracks for a in t.actions_TA}
    assert all(tuple(a) in pool for t in broken for a in t.actions_TA)
    assert not np.array_equal(broken[0].actions_TA, tracks[0].actions_TA)
    assert np.array_equal(broken[0].states_TD, tracks[0].states_TD)
