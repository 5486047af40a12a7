"""Ingest, check and snapshot, killed or starved at any point: nothing acknowledged is lost, nothing is half visible."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.data.logs import samples

from worldgate.core.errors import DataRefused
from worldgate.data.ingest import ingest, ingested
from worldgate.record.workspace import Workspace

SCRIPT = Path(__file__).with_name("ingest_crash.py")


def sweep(tmp_path: Path, *asked: str) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path), *asked], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    assert all(part["broken"] == 0 for part in found.values()), done.stderr
    return found


@pytest.mark.timeout(900)
def test_a_tenth_of_all_points_of_ingest_and_snapshot(tmp_path: Path) -> None:
    found = sweep(tmp_path, "kill:10:3", "enospc:60:9", "eio:60:19", "pages:4:1", "fsize:250:70")
    assert found["kill"]["points"] >= 50
    assert found["kill"]["ends"]["killed"] == found["kill"]["points"] - 1
    for mode in ("enospc", "pages", "fsize"):
        assert sum(count for end, count in found[mode]["ends"].items() if end.startswith("refused")) >= 1, mode


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_point_of_ingest_and_snapshot(tmp_path: Path) -> None:
    found = sweep(tmp_path, "kill:1:1", "enospc:1:1", "eio:1:1", "pages:1:1", "fsize:10:1")
    assert found["kill"]["ends"]["killed"] >= 500


READ_ONLY = """
import os
import sys
from pathlib import Path
from worldgate.core import seams
from worldgate.core.errors import WorldgateError
from worldgate.data.ingest import ingest
from worldgate.record.workspace import Workspace
for name in seams.cards("logs"):
    seams.load("logs", name)
ws = Workspace.open(sys.argv[1])
for path in (ws.root, *ws.root.rglob("*")):
    path.chmod(0o555 if path.is_dir() else 0o444)
ws.close()
if os.getuid() == 0:
    os.setuid(65534)  # root may write anywhere; everything is imported by now
try:
    ingest(Workspace.open(sys.argv[1]), Path(sys.argv[2]))
except (WorldgateError, OSError) as error:
    print(type(error).__name__, error, sep="\\n")
"""


def test_a_workspace_that_may_not_be_written_says_so_and_stays_as_it_was(
    workspace: Workspace, tmp_path: Path, mcap: Callable[[Path], Path]
) -> None:
    log = mcap(tmp_path / "a.mcap")
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    head = workspace.ledger.head()
    workspace.close()
    told = [sys.executable, "-c", READ_ONLY, str(workspace.root), str(log)]
    done = subprocess.run(told, capture_output=True, text=True, check=False)
    for path in (workspace.root, *workspace.root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] in {"RecordError", "PermissionError"}, done.stdout
    with Workspace.open(workspace.root) as ws:
        assert ws.ledger.head() == head
        assert len(ingest(ws, log)) == 1


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("target", ["/etc", "/etc/hostname", "../outside.mcap", "nowhere"])
def test_a_link_out_of_the_folder_is_refused_before_a_byte_is_kept(
    workspace: Workspace, tmp_path: Path, target: str, mcap: Callable[[Path], Path], more: bool
) -> None:
    mcap(tmp_path / "outside.mcap")
    (tmp_path / "logs").mkdir()
    mcap(tmp_path / "logs" / "good.mcap")
    if more:
        samples.make_ulog(tmp_path / "logs" / "another.ulg")
    (tmp_path / "logs" / "link.mcap").symlink_to(target)
    with pytest.raises(DataRefused):
        ingest(workspace, tmp_path / "logs")
    assert not ingested(workspace)


@pytest.fixture
def mcap() -> Callable[[Path], Path]:
    """Writes a small log."""
    import numpy as np

    from worldgate.core.streams import Kind, Origin, Stream, StreamInfo
    from worldgate.data.logs.mcap import write_log

    def write(path: Path) -> Path:
        times = np.arange(20, dtype=np.int64) * 50_000_000 + 1_800_000_000_000_000_000
        info = StreamInfo(name="observation.state", kind=Kind.VECTOR, count=20, shape=(1,))
        write_log(path, [Stream(info=info, times_ns=times, values=np.sin(times / 1e9)[:, None])], origin=Origin.REAL)
        return path

    return write
