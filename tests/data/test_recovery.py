"""Recovering: an interrupted LeRobot recording is finished once, a cut MCAP is told for what it holds."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from worldgate.cli import main
from worldgate.core.errors import AlreadyExists, DataRefused
from worldgate.core.streams import Kind, Origin, Stream, StreamInfo
from worldgate.data.logs import open_folder
from worldgate.data.logs.lerobot import LeRobotWriter, working_folder
from worldgate.data.logs.mcap import write_log
from worldgate.data.recovery import recover


def writer(root: Path) -> LeRobotWriter:
    return LeRobotWriter(root, fps=30, robot_type="arm", origin=Origin.REAL)


def interrupted(root: Path, episodes: int, *, half: bool) -> None:
    """What a killed process leaves: its finished episodes, and perhaps one that it was writing."""
    pid = os.fork()
    if pid == 0:
        made = writer(root)
        for episode in range(episodes):
            made.add_episode({"action": np.full((10, 2), float(episode), np.float32)}, {}, task="stack")
        if half:
            (working_folder(root) / f".episode-{episodes:06d}.0badcafe.partial").mkdir()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("named", ["dataset", "recording"])
def test_an_interrupted_recording_is_finished_once(tmp_path: Path, named: str) -> None:
    root = tmp_path / "teleop"
    interrupted(root, 3, half=True)
    assert not root.exists()
    found = recover(root if named == "dataset" else working_folder(root))
    assert (found.path, found.format, found.finished, found.logs, found.dropped) == (root, "lerobot", True, 3, 1)
    assert found.messages == 30 and not found.findings
    last = open_folder(root).logs[2].read("action")
    assert np.array_equal(last.array, np.full((10, 2), 2.0, np.float32))
    before = tree(tmp_path)
    again = recover(root if named == "dataset" else working_folder(root))
    assert (again.finished, again.logs, again.dropped) == (False, 3, 0)
    assert tree(tmp_path) == before


def test_what_a_finished_dataset_left_beside_it_is_cleared_away(tmp_path: Path) -> None:
    root = tmp_path / "teleop"
    interrupted(root, 1, half=False)
    left = tree(working_folder(root))
    recover(root)
    for name, data in left.items():
        path = working_folder(root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert not recover(root).finished
    assert not working_folder(root).exists() and len(open_folder(root).logs) == 1


def test_a_recording_that_runs_is_left_alone(tmp_path: Path) -> None:
    with writer(tmp_path / "teleop") as made:
        made.add_episode({"action": np.zeros((4, 1), np.float32)}, {}, task="stack")
        with pytest.raises(AlreadyExists, match="another process is writing"):
            recover(tmp_path / "teleop")
        made.add_episode({"action": np.zeros((4, 1), np.float32)}, {}, task="stack")
    assert recover(tmp_path / "teleop").logs == 2


def test_a_recording_without_a_finished_episode_is_refused_and_kept(tmp_path: Path) -> None:
    interrupted(tmp_path / "teleop", 0, half=True)
    for _ in range(2):
        with pytest.raises(DataRefused, match="no episode of this recording was finished"):
            recover(tmp_path / "teleop")
        assert working_folder(tmp_path / "teleop").is_dir()


def cut_mcap(path: Path) -> int:
    info = StreamInfo(name="joints", kind=Kind.VECTOR, count=-1)
    times = np.arange(80_000, dtype=np.int64) * 1_000_000
    values = np.random.default_rng(0).normal(size=(80_000, 6))
    write_log(path, [Stream(info=info, times_ns=times, values=values)], origin=Origin.REAL)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return len(times)


def test_an_mcap_without_its_end_is_told_and_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.mcap"
    recorded = cut_mcap(path)
    data = path.read_bytes()
    assert main(["data", "recover", str(path), "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    found = body["recovered"]
    assert (body["schema"], found["format"], found["finished"]) == ("worldgate.data.recover", "mcap", False)
    assert 0 < found["messages"] < recorded
    assert any(finding["check"] == "data_lost" for finding in found["findings"])
    assert path.read_bytes() == data


def test_the_command_says_what_was_kept_and_what_was_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    interrupted(tmp_path / "teleop", 2, half=True)
    assert main(["data", "recover", str(tmp_path / "teleop")]) == 0
    said = capsys.readouterr().out
    assert "finished; kept 2 episodes, 20 messages" in said and "lost 1 half-written episode\n" in said
    assert main(["data", "recover", str(tmp_path / "teleop")]) == 0
    said = capsys.readouterr().out
    assert "nothing had to be finished; kept 2 episodes" in said and "lost nothing" in said
    assert main(["data", "recover", str(tmp_path / "nowhere")]) == 2
    (tmp_path / "bad.mcap").write_bytes(b"\x89MCAP0\r\n" + bytes(100))
    assert main(["data", "recover", str(tmp_path / "bad.mcap")]) == 4


@pytest.mark.parametrize("left", ["run.mcap.partial", ".run.mcap.0badcafe.partial"])
@pytest.mark.parametrize("by", ["its name", "what was left"])
def test_what_an_mcaps_writer_left_gets_its_name_with_every_byte(tmp_path: Path, left: str, by: str) -> None:
    cut_mcap(tmp_path / "whole.mcap")
    data = (tmp_path / "whole.mcap").read_bytes()
    (tmp_path / "whole.mcap").rename(tmp_path / left)
    os.utime(tmp_path / left, (0, 0))
    named = tmp_path / ("run.mcap" if by == "its name" else left)
    found = recover(named)
    assert (found.path, found.format, found.finished) == (tmp_path / "run.mcap", "mcap", True)
    assert found.messages > 0 and any(f.check == "data_lost" for f in found.findings)
    assert tree(tmp_path) == {"run.mcap": data}
    assert not recover(named).finished


def test_a_partial_mcap_that_may_be_written_or_has_a_log_beside_it_stays(tmp_path: Path) -> None:
    path, left = tmp_path / "run.mcap", tmp_path / ".run.mcap.0badcafe.partial"
    cut_mcap(path)
    left.write_bytes(path.read_bytes())
    with pytest.raises(AlreadyExists, match="a log of this name"):
        recover(left)
    path.unlink()
    with pytest.raises(AlreadyExists, match="may be writing"):
        recover(path)
    os.utime(left, (0, 0))
    (tmp_path / "run.mcap.partial").write_bytes(left.read_bytes())
    with pytest.raises(DataRefused, match="several"):
        recover(path)
    assert len(tree(tmp_path)) == 2


def test_an_empty_partial_file_is_no_log(tmp_path: Path) -> None:
    left = tmp_path / ".run.mcap.0badcafe.partial"
    left.write_bytes(b"")
    with pytest.raises(DataRefused):
        recover(tmp_path / "run.mcap")
    assert left.exists()
