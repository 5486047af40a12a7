"""Nothing stays in the folder of temporary files: of the alignment stage, or of injectors whose process was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldgate.data import episode_cache
from worldgate.data.alignment import AlignmentSpec, align
from worldgate.data.injectors import _wrap

ENCODE = """
import os, signal, sys
import numpy as np
from worldgate.data.injectors._wrap import encode
pixels = np.zeros((4, 32, 32, 3), np.uint8)
print(encode(pixels, "h264", gop=2, rate_hz=30.0).parent, flush=True)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


def encode(temporary: Path, how: str) -> tuple[Path, int]:
    """The scratch folder of a process that encoded a video and ended in this way."""
    done = subprocess.run(
        [sys.executable, "-c", ENCODE, how],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
        check=False,
    )
    return Path(done.stdout.strip()), done.returncode


def old(folder: Path) -> None:
    os.utime(folder, (0, 0))


def test_a_process_that_ends_takes_its_videos_along(tmp_path: Path) -> None:
    folder, code = encode(tmp_path, "ended")
    assert code == 0 and folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_and_what_is_in_use_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, code = encode(tmp_path, "killed")
    assert code == -signal.SIGKILL and list(left.glob("*.mp4"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    _wrap._sweep(tmp_path)
    assert left.is_dir(), "a folder this young may belong to a process that starts"
    fresh = _wrap._scratch.__wrapped__()  # one that is in use, by this process
    old(fresh)
    old(left)
    nobody = tmp_path / "worldgate-injected-by-an-older-version"
    nobody.mkdir()
    old(nobody)
    encode(tmp_path, "ended")
    assert sorted(tmp_path.iterdir()) == sorted([fresh, nobody])


def test_an_episodes_file_is_made_without_a_folder(fakes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = fakes.log(fakes.stream("a", [0, 10, 20]), fakes.stream("b", [0, 10, 20]))
    episode = align(log, AlignmentSpec(reference="a"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    data = episode_cache.encoded(episode)
    assert data is not None
    episode_cache.save(tmp_path, episode)
    assert episode_cache.path_of(tmp_path, episode.id).read_bytes() == data
    assert np.array_equal(episode.times_ns, [0, 10, 20])
