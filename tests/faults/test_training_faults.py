"""Training, killed, starved of disk or interrupted at any point, ends as if nothing had been: to the bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("training_crash.py")


def sweep(tmp_path: Path, what: str, *asked: str) -> dict[str, dict[str, Any]]:
    env = os.environ | {"PYTHONPATH": str(SCRIPT.parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(tmp_path), what, *asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    assert all(part["broken"] == 0 for part in found.values()), done.stderr
    return found


@pytest.mark.timeout(600)
def test_some_points_of_a_run_on_clips(tmp_path: Path) -> None:
    found = sweep(tmp_path, "fsq", "kill:47:3", "enospc:83:11", "eio:120:31", "fsize:700:90", "ctrlc:5:1")
    assert found["kill"]["ends"]["killed"] == found["kill"]["points"] - 1 >= 5
    assert found["ctrlc"]["ends"]["interrupted"] == 2
    for mode in ("enospc", "fsize"):
        assert sum(count for end, count in found[mode]["ends"].items() if end.startswith("refused")) >= 1, mode


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("what", ["state", "fsq"])
def test_every_point_of_a_run(tmp_path: Path, what: str) -> None:
    found = sweep(tmp_path, what, "kill:1:1", "enospc:1:1", "eio:1:1", "fsize:20:1", "ctrlc:1:1")
    assert found["kill"]["ends"]["killed"] >= 100
    assert found["ctrlc"]["ends"]["interrupted"] == 7
