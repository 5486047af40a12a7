"""Local processes: Ctrl-C ends them, a driver that is killed takes them along, what was reported stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conftest import heeds_ctrl_c

DRIVER = """
import sys
from worldgate.engines import Call, EngineConfig, Place, Stage, run, start

if __name__ == "__main__":
    root, tally, wait_s, engine = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]
    place = Place(store=root + "/objects", cache=root + "/cache")
    stage = Stage(function="stages_for_tests:touch_and_wait")
    calls = [
        Call(stage=stage, name=f"input-{n}", inputs=(), config={"n": n, "tally": tally, "wait_s": (n > 2) * wait_s})
        for n in range(12)
    ]
    for result in run(calls, place=place, engine=start(EngineConfig(name=engine, workers=2))):
        print(result.value, "reused" if result.reused else "done", flush=True)
"""


def drive(tmp_path: Path, wait_s: float, engine: str = "processes") -> subprocess.Popen[str]:
    (tmp_path / "driver.py").write_text(DRIVER)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    told = [sys.executable, str(tmp_path / "driver.py"), str(tmp_path), str(tmp_path / "tally"), str(wait_s), engine]
    return subprocess.Popen(
        told, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=heeds_ctrl_c
    )


def tally(tmp_path: Path) -> list[list[str]]:
    path = tmp_path / "tally"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def until_busy(tmp_path: Path) -> set[int]:
    """Wait until the workers are at calls that take long; their process ids."""
    for _ in range(400):
        held = [line for line in tally(tmp_path) if line[0] == "start" and int(line[1]) > 2]
        if len(held) >= 2:
            return {int(line[2]) for line in held}
        time.sleep(0.05)
    raise AssertionError("the workers never began")


def gone(pids: set[int]) -> bool:
    """Whether these processes end within some seconds."""
    for _ in range(200):
        if not any(Path(f"/proc/{pid}/stat").exists() and state(pid) != "Z" for pid in pids):
            return True
        time.sleep(0.05)
    return False


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_driver_that_is_stopped_leaves_no_worker_and_repeats_nothing_it_reported(
    tmp_path: Path, how: signal.Signals
) -> None:
    driver = drive(tmp_path, wait_s=300)
    workers = until_busy(tmp_path)
    os.kill(driver.pid, how)
    out, err = driver.communicate(timeout=60)
    assert driver.returncode != 0
    assert gone(workers), "a worker lives on"
    assert out.split("\n")[:3] == ["0 done", "1 done", "2 done"]
    if how is signal.SIGINT:
        assert "KeyboardInterrupt" in err
        assert err.count("Traceback") == 1, "the driver's own"
    again = drive(tmp_path, wait_s=0)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert out.split("\n")[:3] == ["0 reused", "1 reused", "2 reused"]
    done = [line[1] for line in tally(tmp_path) if line[0] == "done"]
    assert sorted(done, key=int) == [str(n) for n in range(12)], "each was finished once"
