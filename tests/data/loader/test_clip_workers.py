"""Workers change how fast batches come and nothing else; a dead one is an error, and the dead leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.conftest import FakeFrames, stream
from tests.data.loader.conftest import FRONT, STATE, Recording
from tests.data.loader.test_clip_loader import config, kept, loader, same

from worldgate.core.errors import LogUnreadable, UsageError, WorldgateError
from worldgate.core.streams import Kind
from worldgate.data.loader import ClipLoader

WAIT_S = 20


class Breaks(FakeFrames):
    """Frames of a recording of which one does not decode."""

    def read(self, indices: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if 30 in indices:
            raise LogUnreadable("a frame that does not decode", got=30, where="film")
        return super().read(indices)


class Slow(FakeFrames):
    """Frames that take their time."""

    def read(self, indices: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        time.sleep(0.03)
        return super().read(indices)


def filmed(record: Callable[..., Recording], frames: type[FakeFrames]) -> Recording:
    images = record(1).log.held[FRONT].frames.images  # type: ignore[attr-defined]  # a fake's
    extra = [stream("film", np.arange(41) * 50_000_000, frames(images), kind=Kind.IMAGE)]
    return record(1, extra=extra)


def test_the_number_of_workers_changes_nothing(three: list[Recording], tmp_path: Path) -> None:
    alone = [kept(batch) for _ in range(2) for batch in (loader(three, tmp_path))]
    for workers, ahead, keep in ((1, 1, 1), (3, 2, 2)):
        with loader(three, tmp_path, workers=workers, ahead=ahead, keep=keep) as many:
            first = [kept(batch) for batch in many]
            assert same(first, alone[: len(first)])
            got, held = [], []
            for batch in many:
                held = [*held, batch][-keep:]
                got.append(kept(batch))
            assert same([kept(batch) for batch in held], got[-keep:])


def test_breaking_off_loses_no_batch_and_a_state_counts_what_was_served(three: list[Recording], tmp_path: Path) -> None:
    whole = [kept(batch) for batch in loader(three, tmp_path)]
    with loader(three, tmp_path, workers=2) as many:
        got = []
        for batch in many:
            got.append(kept(batch))
            if len(got) == 4:
                break
        state = many.state()
        got += [kept(batch) for batch in many]
    assert same(got, whole)
    assert state.batch == 4
    later = loader(three, tmp_path)
    later.restore(state)
    assert same([kept(batch) for batch in later], whole[4:])


def test_a_workers_batch_can_lie_in_memory_of_the_callers_own(three: list[Recording], tmp_path: Path) -> None:
    blocks: list[np.ndarray[Any, Any]] = []

    def allocate(nbytes: int) -> np.ndarray[Any, Any]:
        blocks.append(np.zeros(nbytes, np.uint8))
        return blocks[-1]

    whole = [kept(batch) for batch in loader(three, tmp_path)]
    with ClipLoader(config(workers=2), [r.episode for r in three], cache=tmp_path, allocate=allocate) as many:
        got = []
        for batch in many:
            assert any(np.shares_memory(batch.numbers[STATE], block) for block in blocks)
            got.append(kept(batch))
    assert same(got, whole)


@pytest.mark.timeout(60)
def test_a_killed_worker_is_an_error_and_the_state_goes_on(record: Callable[..., Recording], tmp_path: Path) -> None:
    recording = filmed(record, Slow)
    served = loader([recording], tmp_path, cameras=("film",), codec="none", workers=2)
    got = []
    with pytest.raises(WorldgateError, match="worker of the clip loader died") as caught:
        for batch in served:
            got.append(kept(batch))
            if len(got) == 2:
                assert served._pool is not None
                os.kill(served._pool._workers[0].process.pid or 0, signal.SIGKILL)
    assert caught.value.got == "signal SIGKILL"
    assert served.state().batch == len(got)
    rest = [kept(batch) for batch in served]
    served.close()
    assert same([*got, *rest], [kept(b) for b in loader([recording], tmp_path, cameras=("film",), codec="none")])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_recording_that_does_not_decode_is_the_same_error_everywhere(
    record: Callable[..., Recording], tmp_path: Path, workers: int
) -> None:
    with (
        loader([filmed(record, Breaks)], tmp_path, cameras=("film",), codec="none", workers=workers) as served,
        pytest.raises(LogUnreadable, match="does not decode") as caught,
    ):
        list(served)
    assert (caught.value.got, caught.value.where) == (30, "film")


def test_a_file_that_is_damaged_under_the_workers_is_made_again(three: list[Recording], tmp_path: Path) -> None:
    good = [kept(batch) for batch in loader(three, tmp_path, codec="jpeg")]
    with loader(three, tmp_path, codec="jpeg", workers=2) as served:
        for path in (tmp_path / "clips").iterdir():
            data = bytearray(path.read_bytes())
            data[-300] ^= 1
            path.write_bytes(data)
        assert same([kept(batch) for batch in served], good)


def test_what_cannot_be_sent_is_refused_before_any_worker(record: Callable[..., Recording], tmp_path: Path) -> None:
    class Local(FakeFrames):
        pass

    with pytest.raises(UsageError, match="workers = 0, or a clip cache"):
        loader([filmed(record, Local)], tmp_path, cameras=("film",), codec="none", workers=1)


SCRIPT = """
import sys, time
from pathlib import Path
from tests.data.loader.conftest import SPEC, make_log
from tests.data.loader.test_clip_loader import config
from worldgate.data.alignment import align
from worldgate.data.loader import ClipLoader

if __name__ == "__main__":
    served = ClipLoader(config(workers=2), [align(make_log(1), SPEC)], cache=Path(sys.argv[1]))
    batches = iter(served)
    next(batches)
    print(*[worker.process.pid for worker in served._pool._workers], flush=True)
    time.sleep(60)
"""


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z"


@pytest.mark.timeout(120)
def test_workers_end_with_a_caller_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    root = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, str(script), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=root) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        process.kill()
        process.wait()
        until = time.monotonic() + WAIT_S
        while not all(gone(pid) for pid in pids) and time.monotonic() < until:
            time.sleep(0.05)
    assert all(gone(pid) for pid in pids)
