"""Files that are whole or absent, whatever interrupts the writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from worldgate.core.atomic import DONE, atomic_dir, atomic_path, is_done, write_atomic
from worldgate.core.errors import AlreadyExists

SLOW_FILE = """
import sys, time
from pathlib import Path
from worldgate.core.atomic import atomic_path
with atomic_path(Path(sys.argv[1])) as partial:
    partial.write_bytes(b"half")
    print("written", flush=True)
    time.sleep(60)
"""
SLOW_FOLDER = """
import sys, time
from pathlib import Path
from worldgate.core.atomic import atomic_dir
with atomic_dir(Path(sys.argv[1])) as partial:
    (partial / "a").write_bytes(b"half")
    print("written", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("program", [SLOW_FILE, SLOW_FOLDER], ids=["file", "folder"])
def test_a_writer_killed_in_the_middle_leaves_nothing_visible(tmp_path: Path, program: str) -> None:
    target = tmp_path / "target"
    with subprocess.Popen([sys.executable, "-c", program, str(target)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        os.kill(writer.pid, signal.SIGKILL)
        assert writer.wait(timeout=10) == -signal.SIGKILL
    assert not target.exists()
    assert all(p.name.startswith(".") and p.name.endswith(".partial") for p in tmp_path.iterdir())
    write_atomic(target, b"whole")
    assert target.read_bytes() == b"whole"


def test_a_failing_writer_leaves_the_old_file_and_no_trace(tmp_path: Path) -> None:
    target = tmp_path / "f"
    write_atomic(target, b"old")
    with pytest.raises(ZeroDivisionError), atomic_path(target, overwrite=True) as partial:
        partial.write_bytes(b"new")
        raise ZeroDivisionError
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_failing_folder_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_dir(tmp_path / "d") as partial:
        (partial / "x").write_text("x")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_nothing_existing_is_overwritten_unless_asked(tmp_path: Path) -> None:
    target = tmp_path / "f"
    write_atomic(target, b"old")
    with pytest.raises(AlreadyExists):
        write_atomic(target, b"new")
    assert target.read_bytes() == b"old"
    write_atomic(target, b"new", overwrite=True)
    assert target.read_bytes() == b"new"
    with pytest.raises(AlreadyExists), atomic_dir(target):
        pass


def test_a_private_file_is_private_before_its_first_byte(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "key", mode=0o600) as partial:
        assert partial.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_a_finished_folder_carries_its_mark_and_an_unfinished_one_does_not(tmp_path: Path) -> None:
    with atomic_dir(tmp_path / "d") as partial:
        (partial / "deep").mkdir()
        (partial / "deep" / "x").write_text("x")
        assert not is_done(partial)
    assert is_done(tmp_path / "d")
    assert (tmp_path / "d" / "deep" / "x").read_text() == "x"
    assert (tmp_path / "d" / DONE).read_bytes() == b""
