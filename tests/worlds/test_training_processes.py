"""Two processes train one model together, under torchrun with gloo; what they began, one process ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.worlds.processes import HELD_OUT, LEARNABLE, STOP, pictures, telemetry

from worldgate.worlds import checkpoint
from worldgate.worlds.train.loop import resume, train

SCRIPT = Path(__file__).with_name("processes.py")


def losses(run):
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def weights(folder):
    return {name: tensor.numpy() for name, tensor in checkpoint.restore(folder)[1].state_dict().items()}


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The runs of two processes."""
    root = tmp_path_factory.mktemp("together")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT)]
    path = os.pathsep.join([str(SCRIPT.parents[2]), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, str(root)], capture_output=True, text=True, env=env, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(done.stdout.split("\n"))[1:] == [
        f"{rank} stopped {name}" for rank in (0, 1) for name in ("stopped-ddp", "stopped-fsdp")
    ]
    return root


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same, by one process that accumulates two batches."""
    root = tmp_path_factory.mktemp("alone")
    train("fsq", LEARNABLE, HELD_OUT, pictures(accumulate=2), root / "fsq")
    train("state", LEARNABLE, HELD_OUT, telemetry(accumulate=2), root / "state")
    return root


@pytest.mark.parametrize(("run", "same"), [("ddp", "fsq"), ("fsdp", "fsq"), ("state", "state")])
def test_two_processes_learn_what_one_learns_from_twice_the_batches(together, alone, run, same):
    np.testing.assert_allclose(losses(together / run), losses(alone / same), rtol=2e-4)
    ours, theirs = (weights(root / "model") for root in (together / run, alone / same))
    assert set(ours) == set(theirs)
    for name, held in ours.items():
        np.testing.assert_allclose(held, theirs[name], rtol=2e-2, atol=2e-3, err_msg=name)


def test_they_take_the_same_samples_in_the_same_order(together, alone):
    served = [(root / "receipts" / "phase-0.bin").read_bytes() for root in (together / "ddp", together / "fsdp")]
    assert served[0] == served[1] == (alone / "fsq" / "receipts" / "phase-0.bin").read_bytes()


@pytest.mark.parametrize("run", ["stopped-ddp", "stopped-fsdp"])
def test_what_two_processes_began_one_process_ends(together, alone, run):
    assert len(losses(together / run)) in {STOP, STOP + 1}, "asked in one step, heard by all in it or the next"
    assert json.loads((together / run / "config.json").read_text())["ranks"] == 2
    folder = resume(together / run, LEARNABLE, HELD_OUT)
    np.testing.assert_allclose(losses(together / run), losses(alone / "fsq"), rtol=2e-4)
    served = together / run / "receipts" / "phase-0.bin"
    assert served.read_bytes() == (alone / "fsq" / "receipts" / "phase-0.bin").read_bytes()
    assert json.loads((folder / "config.json").read_text())["about"]["processes"] == 2
