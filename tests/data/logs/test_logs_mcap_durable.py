"""A recording that is killed: every chunk that was closed is read back, from a file that no one takes for whole."""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import Kind, Origin, StreamInfo
from worldgate.data.logs import _mcap_write as mcap_write
from worldgate.data.logs import open_folder
from worldgate.data.logs.mcap import McapLog, McapWriter

INFO = StreamInfo(name="a", kind=Kind.VECTOR, count=-1, shape=(2,), clock="header")


def record(path: Path, told: Connection, durable_s: float | None) -> None:
    """Write numbers without end; after a flush say how many there are."""
    with McapWriter(path, origin=Origin.REAL, chunk_bytes=1500, durable_s=durable_s) as writer:
        writer.add_stream(INFO)
        for i in range(10**9):
            writer.write("a", 1000 + i, np.array([i, -i], dtype=np.float64))
            if durable_s is None and i % 50 == 49:
                writer.flush()
                told.send(i + 1)


def killed(path: Path, after_s: float, durable_s: float | None = None) -> int:
    """Kill a recorder; how many messages it had said to be safe."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=record, args=(path, theirs, durable_s))
    process.start()
    theirs.close()
    time.sleep(after_s)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    safe = 0
    try:
        while ours.poll():
            safe = ours.recv()
    except EOFError:
        pass
    return safe


def the_partial(folder: Path) -> Path:
    (partial,) = folder.iterdir()
    assert partial.name.startswith(".run.mcap.") and partial.name.endswith(".partial")
    return partial


def test_a_killed_recorder_loses_at_most_the_chunk_that_it_was_filling(tmp_path: Path) -> None:
    rng, most = random.Random(5), 0
    for attempt in range(12):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        safe = killed(folder / "run.mcap", rng.uniform(0.01, 0.15))
        with pytest.raises((NotFound, LogUnreadable)):
            open_folder(folder)
        if not safe:
            continue
        log = McapLog(the_partial(folder))
        assert log.origin is Origin.REAL
        assert [f.check for f in log.findings] == ["data_lost"]
        values = log.read("a").array[:, 0]
        np.testing.assert_array_equal(values, np.arange(len(values)))
        assert len(values) >= safe
        most = max(most, safe)
    assert most > 0


def test_a_recorder_syncs_by_itself_as_often_as_it_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(fd))
    now = [0.0]
    monkeypatch.setattr("worldgate.data.logs._mcap_write.time.monotonic", lambda: now[0])
    with McapWriter(tmp_path / "run.mcap", origin=Origin.REAL, durable_s=0.5) as writer:
        writer.add_stream(INFO)
        for i in range(21):
            now[0] += 0.1
            writer.write("a", i, np.zeros(2))
            if i == 4:
                (partial,) = tmp_path.iterdir()
                assert len(McapLog(partial).read("a")) == 5
        assert len(synced) == 4
    assert McapLog(tmp_path / "run.mcap").findings == ()


def test_what_was_recorded_before_an_error_is_kept_where_it_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    with pytest.raises(RuntimeError, match="stop"), McapWriter(path, origin=Origin.REAL, durable_s=60) as writer:
        writer.add_stream(INFO)
        for i in range(9):
            writer.write("a", i, np.full(2, i, dtype=np.float64))
        raise RuntimeError("stop")
    assert [p.name for p in tmp_path.iterdir()] == ["run.mcap.partial"]
    assert len(McapLog(tmp_path / "run.mcap.partial").read("a")) == 9


def test_a_full_disk_keeps_what_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, left = tmp_path / "run.mcap", [4000]
    write = mcap_write._Through.write

    def full(self: Any, data: bytes) -> int:
        left[0] -= len(data)
        if left[0] < 0:
            write(self, bytes(data)[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(mcap_write._Through, "write", full)
    rng = np.random.default_rng(0)
    with (
        pytest.raises(OSError, match="No space"),
        McapWriter(path, origin=Origin.REAL, durable_s=60, chunk_bytes=800) as writer,
    ):
        writer.add_stream(INFO)
        for i in range(10_000):
            writer.write("a", i, rng.normal(size=2))
    assert [p.name for p in tmp_path.iterdir()] == ["run.mcap.partial"]
    log = McapLog(tmp_path / "run.mcap.partial")
    assert len(log.read("a")) >= 10
    assert log.findings
