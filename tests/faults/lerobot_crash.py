"""Write a LeRobot dataset in a process that is killed; run by ``test_lerobot_kill.py``, not by people.

Usage: ``lerobot_crash.py SCRATCH FIRST STEP LAST``. For each point a child writes episodes and says on a pipe which
``add_episode`` returned; at its nth operation (open, fsync, rename, mkdir, unlink) it is killed with SIGKILL. A second
child recovers. Prints one line of JSON: points tried, points killed, failures.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from worldgate.core.errors import AlreadyExists, NotFound
from worldgate.core.streams import Origin
from worldgate.data.logs import open_folder
from worldgate.data.logs.lerobot import Layout, LeRobotWriter, RowTimes

EPISODES = 4
CAMERA = "observation.images.front"


def numbers(episode: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(episode).normal(size=(5 + episode, 3)).astype(np.float32)


def pictures(episode: int) -> np.ndarray[Any, Any]:
    return np.full((5 + episode, 16, 16, 3), 40 * episode, dtype=np.uint8)


def stamps(episode: int) -> np.ndarray[Any, Any]:
    return 1_700_000_000_000_000_000 + episode + np.arange(5 + episode, dtype=np.int64) * 33_333_331


def add(writer: LeRobotWriter, episode: int) -> None:
    times = RowTimes(index=np.arange(5 + episode, dtype=np.int64), time_ns=stamps(episode))
    writer.add_episode(
        {"action": numbers(episode)}, {CAMERA: pictures(episode)}, task=f"task {episode}", times={"action": times}
    )


def write(root: Path, say: Callable[[str], None]) -> None:
    with LeRobotWriter(
        root, fps=30, robot_type="arm", origin=Origin.SIMULATED, layout=Layout(data_bytes=400, video_bytes=2000)
    ) as writer:
        for episode in range(EPISODES):
            add(writer, episode)
            say(str(episode))
    say("whole")


def check(root: Path, said: list[str]) -> None:
    """Each episode whose add returned is there; what stands under the name is whole; the writer goes on."""
    finished = root.exists()
    if "whole" in said:
        assert finished
    if not finished:
        try:
            writer = LeRobotWriter.recover(root)
        except NotFound:
            assert not said
            writer = LeRobotWriter(root, fps=30, robot_type="arm", origin=Origin.SIMULATED)
        assert writer.episodes - len(said) in (0, 1), "at most the episode in flight besides"
        while writer.episodes < EPISODES:
            add(writer, writer.episodes)
        writer.close()
    else:
        with contextlib.suppress(AlreadyExists, NotFound):
            LeRobotWriter.recover(root)
    same(root)
    left = [p.name for p in root.parent.iterdir() if p.name.endswith(".recording")]
    assert not left, left


def same(root: Path) -> None:
    folder = open_folder(root)
    assert folder.findings == ()
    assert len(folder.logs) == EPISODES
    for episode, log in enumerate(folder.logs):
        assert log.findings == ()
        action = log.read("action")
        assert action.array.tobytes() == numbers(episode).tobytes()
        assert action.times_ns.tobytes() == stamps(episode).tobytes()
        assert log.facts["task"] == f"task {episode}"
        shown = log.read(CAMERA).frames.read(np.arange(5 + episode)).astype(int)
        assert np.abs(shown - pictures(episode)).max() < 8


class Fuse:
    """Counts operations; kills the process when the count is reached."""

    def __init__(self, at: int) -> None:
        self.at, self.count = at, 0
        for name in ("open", "fsync", "replace", "rename", "mkdir", "unlink", "rmdir"):
            setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count == self.at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return wrapped


def forked(function: Callable[[Callable[[str], None]], None]) -> tuple[int, list[str]]:
    """Run in a child; its wait status and the whole lines it said."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            function(lambda line: (os.write(writing, line.encode() + b"\n"), None)[1])
        except BaseException:  # a child must never return into the parent's stack
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read().splitlines()
    return os.waitpid(pid, 0)[1], said


def main(scratch: Path, first: int, step: int, last: int) -> None:
    tried = killed = 0
    failed: list[int] = []
    for at in range(first, last, step):
        folder = scratch / str(at)
        folder.mkdir()

        def job(say: Callable[[str], None], at: int = at, folder: Path = folder) -> None:
            Fuse(at)
            write(folder / "set", say)

        status, said = forked(job)
        tried += 1
        killed += os.WIFSIGNALED(status)
        again, _ = forked(lambda _, folder=folder, said=said: check(folder / "set", said))  # type: ignore[misc]
        failed += [at] if again or not (os.WIFSIGNALED(status) or status == 0) else []
        shutil.rmtree(folder)
        if status == 0:
            break
    sys.stdout.write(json.dumps({"tried": tried, "killed": killed, "failed": failed}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
