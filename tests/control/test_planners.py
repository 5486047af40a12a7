"""What is particular to single planners."""

from __future__ import annotations

import numpy as np
import pytest

from worldgate.control.planners import Deadline, Space, open_planner
from worldgate.control.planners._rounds import Pace, coloured
from worldgate.core.errors import CapabilityMissing


class Flat:
    """Tells costs, no slopes."""

    space = Space(knots=2, low_A=np.array([-1.0]), high_A=np.array([1.0]))

    def costs(self, plans_NKA):
        return np.zeros(len(plans_NKA))


def test_the_gradient_planner_asks_for_slopes():
    with pytest.raises(CapabilityMissing, match="slope"):
        open_planner("gradient").plan(Flat(), np.zeros((2, 1)), Deadline(), np.random.default_rng(0))


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_coloured_noise_has_unit_spread_and_changes_the_slower_the_redder(exponent):
    noise = coloured(np.random.default_rng(0), (4000, 16, 1), exponent)[..., 0]
    assert noise.std() == pytest.approx(1.0, abs=0.05)
    along = (noise[:, 1:] * noise[:, :-1]).mean()
    assert along == pytest.approx(0.0, abs=0.03) if exponent == 0 else along > 0.3 * exponent


def test_a_pace_learns_how_many_plans_fit():
    pace = Pace()
    assert pace.fit(300, 5, 1.0) == 300, "unknown: all of them"
    pace.note(100, 5, 0.1)
    assert pace.fit(300, 5, 1.0) == 300
    assert 70 < pace.fit(300, 5, 0.1) < 100
    assert pace.fit(300, 5, 0.001) == 0
    assert pace.fit(300, 10, 0.1) < 50, "twice the knots take twice the time"


def test_mppi_at_no_temperature_follows_the_best_alone():
    class Bowl(Flat):
        def costs(self, plans_NKA):
            return np.square(plans_NKA - 0.5).sum(axis=(1, 2))

    rng = np.random.default_rng(0)
    cold = open_planner("mppi", {"temperature": 1e-6}).plan(Bowl(), np.zeros((2, 1)), Deadline(), rng)
    assert cold.cost < 0.05
