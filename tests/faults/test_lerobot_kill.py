"""A LeRobot recording killed at any operation: each episode whose ``add_episode`` returned is recovered, byte-equal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("lerobot_crash.py")
OPERATIONS = 260
"""A recording of four episodes takes about 250; the sweep ends at the first that is not killed."""


def sweep(scratch: Path, first: int, step: int) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(scratch), str(first), str(step), str(10 * OPERATIONS)],
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, int] = json.loads(done.stdout)
    assert told["failed"] == [], done.stderr
    return told


def test_a_killed_recording_keeps_every_finished_episode(tmp_path: Path) -> None:
    told = sweep(tmp_path, first=3, step=23)
    assert told["killed"] >= 8
    assert told["tried"] == told["killed"] + 1, "the last run was whole"


@pytest.mark.slow
def test_a_recording_killed_at_each_operation_keeps_every_finished_episode(tmp_path: Path) -> None:
    assert sweep(tmp_path, first=1, step=1)["killed"] >= OPERATIONS // 2
