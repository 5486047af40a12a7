"""Two releases and two world models: the right one of each passes, and the recipe says after how much."""

from __future__ import annotations

import numpy as np
import pytest

from worldgate.core.worlds import Prompt
from worldgate.recipes import two_releases
from worldgate.recipes._kinematic import REACH_M, Kinematic
from worldgate.sim.sensing import AROUND


def ahead(pull: float, tool: tuple[float, float], steps: int = 1) -> np.ndarray:
    row = np.array([0.1, 0.0, 0.3, -0.2, 0.0, 0.9, 0.0])
    unrolling = Kinematic(pull=pull).open(Prompt(states={AROUND.name: row[None]}), samples=2, seed=0)
    frame = unrolling.step(np.tile(np.array(tool), (2, steps, 1)))
    return np.asarray(frame.states[AROUND.name])


def test_an_object_that_is_not_touched_stays_and_one_that_is_keeps_its_distance() -> None:
    far = ahead(0.0, (0.5, 0.0))
    assert far.shape == (2, 1, 7)
    np.testing.assert_allclose(far[0, 0, :2], (0.1, 0.0))
    near = ahead(0.0, (0.08, 0.0))
    np.testing.assert_allclose(np.linalg.norm(near[0, 0, :2] - (0.08, 0.0)), REACH_M)


def test_the_optimistic_one_brings_the_object_to_the_bay_by_itself() -> None:
    slid = ahead(0.15, (0.5, 0.0), steps=10)[0, :, 0]
    assert (np.diff(slid) < 0).all() and slid[-1] < -0.1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_both_gates_find_what_was_seeded(tmp_path) -> None:
    found = two_releases.run(tmp_path / "workspace")
    assert found.as_told
    assert found.facts["world_models"] == ["ADMIT", "REJECT"]
    assert found.facts["quicker"]["verdict"] == "PROMOTE"
    assert found.facts["hasty"]["caught"] == ["strata scene=wet"]
    assert found.facts["hasty"]["trials"] < 144
