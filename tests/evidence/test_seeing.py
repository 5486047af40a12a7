"""Overlap and pose errors: exact on arrays one can count by hand, and intervals over episodes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from worldgate.core.errors import UsageError
from worldgate.evidence.seeing import Tally, figures, table, tally

TRUE = np.array([[[0, 0], [1, 1]]])
SAID = np.array([[[0, 1], [1, 1]]])
POSE = np.array([[0.0, 0.0, 0.0]])


def made(said: np.ndarray = SAID, pose: tuple[float, float, float] = (0.03, 0.04, 0.0)) -> Tally:
    return tally(TRUE, said, POSE, np.array([pose]), count=3, turns=4)


def test_sums_are_those_that_one_counts() -> None:
    found = made()
    assert (found.shared, found.either, found.true) == ((1, 2, 0), (2, 3, 0), (2, 2, 0))
    assert found.metres == pytest.approx(0.05)
    assert found.poses == 1


@pytest.mark.parametrize(("yaw", "apart"), [(0.1, 0.1), (math.pi / 2, 0.0), (math.pi / 4, math.pi / 4), (-3.2, 0.0584)])
def test_a_turn_that_looks_alike_is_no_error(yaw: float, apart: float) -> None:
    assert made(pose=(0.0, 0.0, yaw)).radians == pytest.approx(apart, abs=1e-4)


def test_figures_pool_pixels_and_hold_their_estimate() -> None:
    found = figures([made(), made(TRUE), made()], ["ground", "thing", "never"])
    assert set(found.by_class) == {"ground", "thing"}
    assert found.by_class["ground"].estimate == pytest.approx(4 / 6)
    assert found.overlap is not None and found.centimetres is not None and found.degrees is not None
    assert found.overlap.estimate == pytest.approx((4 / 6 + 6 / 8) / 2)
    for one in (found.overlap, found.by_class["thing"], found.centimetres):
        assert float(one.lower) <= one.estimate <= float(one.upper)
    assert found.centimetres.estimate == pytest.approx(5.0)
    said = table({"simulated, north": {"network": found}}, one="thing")
    assert said.rows[0][:2] == ("simulated, north (3)", "network")
    assert said.rows[0][4].startswith("5.00 [")


def test_one_episode_has_no_interval_and_labels_may_be_missing() -> None:
    alone = figures([made()], ["a", "b", "c"])
    assert (alone.overlap, alone.centimetres, dict(alone.by_class)) == (None, None, {})
    unlabelled = tally(None, SAID, None, np.zeros((1, 3)), count=3, turns=4)
    both = figures([unlabelled, unlabelled], ["a", "b", "c"])
    assert (both.episodes, both.overlap, both.degrees) == (2, None, None)
    assert "-" in table({"real": {"network": both}}).rows[0]


def test_other_pictures_are_refused() -> None:
    with pytest.raises(UsageError, match="classes of other pictures"):
        tally(TRUE, SAID[:, :1], None, POSE, count=3, turns=4)
    with pytest.raises(UsageError, match="poses of other pictures"):
        tally(None, SAID, POSE, np.zeros((2, 3)), count=3, turns=4)
