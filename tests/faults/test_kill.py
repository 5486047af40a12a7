"""kill -9 at any point loses nothing that was acknowledged and leaves nothing half visible."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("crash.py")


def _sweep(tmp_path: Path, *, step: int, offset: int) -> dict[str, dict[str, int]]:
    told = [sys.executable, str(SCRIPT), str(tmp_path), str(step), str(offset)]
    done = subprocess.run(told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    assert all(part["broken"] == 0 for part in found.values()), done.stderr
    return found


def test_a_process_killed_at_a_tenth_of_all_operations_loses_nothing(tmp_path: Path) -> None:
    found = _sweep(tmp_path, step=10, offset=3)
    assert found["work"]["points"] >= 10
    assert found["init"]["points"] >= 5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_process_killed_at_every_operation_loses_nothing(tmp_path: Path) -> None:
    found = _sweep(tmp_path, step=1, offset=1)
    assert sum(part["points"] for part in found.values()) >= 500
