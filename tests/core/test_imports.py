"""The half of the import rules that only a running interpreter shows: torch is loaded where it is used, not before."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import worldgate

ROOMS_WITHOUT_TORCH = ("core", "record", "data", "sim", "evidence", "fleet", "cli")
SOURCE = Path(worldgate.__file__).parent

PROGRAM = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        assert error.name and not error.name.startswith("worldgate"), error  # an extra that is not installed
loaded = {name.split(".")[0] for name in sys.modules}
print(*sorted(loaded & {"torch", "gymnasium"}))
"""


def modules(room: str) -> list[str]:
    found = pkgutil.walk_packages([str(SOURCE / room)], f"worldgate.{room}.")
    return [f"worldgate.{room}", *(module.name for module in found)]


@pytest.mark.parametrize("room", ROOMS_WITHOUT_TORCH)
def test_importing_every_module_of_a_room_loads_no_torch(room: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *modules(room)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_importing_the_package_loads_nothing() -> None:
    code = "import worldgate, sys; print([m for m in sys.modules if m in {'numpy', 'torch', 'pydantic', 'rich'}])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_source_file_outgrows_its_reader(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 600
