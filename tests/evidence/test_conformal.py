"""Conformal thresholds: published minimum sizes and coverage, exclusions above every score."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from worldgate.core.errors import UsageError
from worldgate.evidence.conformal import least_scores, threshold
from worldgate.evidence.scenes import Scenes, one_per_scene


def scenes(values: list[float | None]) -> Scenes:
    return one_per_scene([(str(i), value) for i, value in enumerate(values)])


@pytest.mark.parametrize(("alpha", "least"), [("0.05", 19), ("0.01", 99), ("0.001", 999), ("0.3", 3)])
def test_the_fewest_scores_are_the_published_ones(alpha: str, least: int) -> None:
    assert least_scores(alpha) == least
    assert threshold(scenes([float(i) for i in range(least)]), alpha).rank <= least
    with pytest.raises(UsageError, match="too few scores") as caught:
        threshold(scenes([float(i) for i in range(least - 1)]), alpha)
    assert str(least) in str(caught.value.hint)


@pytest.mark.parametrize(("n", "covers"), [(100, 0.911), (500, 0.933)])
def test_what_one_calibration_covers_is_as_published(n: int, covers: float) -> None:
    found = threshold(scenes([float(i) for i in range(n)]), "0.05")
    assert float(found.covers) == pytest.approx(covers, abs=0.001)
    assert float(found.covers) == pytest.approx(stats.beta.ppf(0.05, found.rank, n + 1 - found.rank), abs=1e-9)


@given(st.integers(19, 300))
def test_the_rank_is_the_formula(n: int) -> None:
    assert threshold(scenes([float(i) for i in range(n)]), "0.05").rank == math.ceil(round((n + 1) * 0.95, 9))


def test_an_excluded_run_counts_as_stranger_than_every_score() -> None:
    clean = threshold(scenes([float(i) for i in range(40)]), "0.1")
    worse = threshold(scenes([None, *[float(i) for i in range(1, 40)]]), "0.1")
    assert float(worse.value) == float(clean.value) + 1
    with pytest.raises(UsageError, match="too few"):
        threshold(scenes([None] * 30 + [1.0] * 10), "0.1")


def test_frames_of_one_run_are_refused_as_scores() -> None:
    with pytest.raises(UsageError, match="not independent"):
        one_per_scene([("run", 0.1), ("run", 0.2)])
    assert one_per_scene([("run", 0.1), ("run", 0.2)], rule="largest").n == 1


def test_a_new_run_exceeds_the_threshold_at_most_alpha_of_the_time() -> None:
    rng = np.random.default_rng(6)
    runs, n = 4000, 30
    rank = threshold(scenes([0.0] * n), "0.1").rank
    scores = np.sort(rng.gamma(0.7, 2.0, (runs, n)), axis=1)
    missed = rng.gamma(0.7, 2.0, runs) > scores[:, rank - 1]
    assert missed.mean() <= 0.1 + 3 * (0.1 * 0.9 / runs) ** 0.5


@pytest.mark.parametrize("bad", ["0", "1", "nan"])
def test_a_level_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(UsageError):
        threshold(scenes([1.0] * 30), bad)
