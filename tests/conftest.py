"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from worldgate.record.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent

# Under load a maths library may take fewer threads, and with them another order of summation: tests that compare bits
# need one. It must be said before numpy or torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def skip_or_fail(reason: str) -> NoReturn:
    """Skip; with ``WORLDGATE_REQUIRE=all``, as CI sets it, a skip is a failure."""
    if os.environ.get("WORLDGATE_REQUIRE") == "all":
        pytest.fail(f"WORLDGATE_REQUIRE=all and {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real robot logs; its README says what each is."""
    path = Path(os.environ.get("WORLDGATE_DATA") or ROOT.parent / "shared" / "data" / "real")
    if not path.is_dir():
        skip_or_fail(f"no real logs at {path}; set WORLDGATE_DATA to the folder that holds them")
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A fresh workspace with its first keys."""
    from worldgate.record.workspace import Workspace

    return Workspace.init(tmp_path / "workspace", person="tester")
