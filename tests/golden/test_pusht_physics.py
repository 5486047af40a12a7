"""PushT goes where gym-pusht goes: poses of whole episodes that gym-pusht 0.1.8 made, with pymunk 6.11.

The tool chases the T for 60 steps from each start, against walls and round corners. Made in ``.venv-pusht`` with
``gymnasium.make("gym_pusht/PushT-v0", obs_type="state")`` and its ``reset(seed=…)``; every number as it was told.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from worldgate.sim.tasks import open_task

GOLDEN = json.loads((Path(__file__).parent / "gym_pusht.json").read_text())


@pytest.mark.parametrize("episode", GOLDEN["episodes"], ids=lambda episode: f"seed {episode['seed']}")
def test_the_same_starts_and_actions_lead_to_the_same_poses(episode: dict) -> None:
    task = open_task("pusht", {"size": 8})
    seen = task.reset(seed=episode["seed"])
    start = np.array(episode["start"])
    np.testing.assert_allclose(
        np.r_[seen["observation.state"], seen["observation.environment_state"]], start, atol=1e-9
    )
    moved = 0.0
    for row in episode["rows"]:
        transition = task.step(np.array(row[:2]))
        x, y, bx, by, turn = row[2:7]
        place, pose = (
            transition.observation["observation.state"],
            transition.observation["observation.environment_state"],
        )
        np.testing.assert_allclose([*place, *pose[:2]], [x, y, bx, by], atol=1e-6)
        assert abs((pose[2] - turn + np.pi) % (2 * np.pi) - np.pi) < 1e-9
        assert transition.facts["coverage"] == pytest.approx(row[7], abs=1e-9)
        moved = max(moved, float(np.hypot(*(pose[:2] - start[2:4]))))
    assert moved > 100, "the T was pushed"
