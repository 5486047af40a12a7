"""Training under faults; run by ``test_training_faults.py``, not by people.

Usage: ``training_crash.py SCRATCH WHAT MODE:STEP:OFFSET ...``. A child trains WHAT (``state``: telemetry from memory;
``fsq``: a tokenizer on clips) in a fresh folder with a fault in its way: the modes of ``ingest_crash.py``, and

``ctrlc``   SIGINT while the nth step is reported

A second child then goes on with nothing in the way. What it ends with is held against an undisturbed run: the same
losses, the same receipts, the same weights, all to the bit. Prints one line of JSON.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import crash
import ingest_crash
import torch
from tests.worlds.synthetic import CAMERA, SIZE, debug_config, episodes, replace_inputs

from worldgate.core.config import decode
from worldgate.core.errors import Interrupted, WorldgateError
from worldgate.worlds.family import load_trainable
from worldgate.worlds.tokenizers import fsq
from worldgate.worlds.tracks import Inputs
from worldgate.worlds.train import snapshots
from worldgate.worlds.train.loop import resume, train
from worldgate.worlds.train.monitor import Progress

LOGS, HELD_OUT = episodes(4, length=24), episodes(1, first=50, length=24)
STEPS = 7


def configured(what: str) -> Any:
    """A few steps, with a snapshot at every other one."""
    if what == "state":
        made: Any = debug_config("state")
    else:
        made = replace_inputs(fsq.debug(), Inputs(states=(), action="", cameras=(CAMERA,), size=SIZE))
    phase = dataclasses.replace(made.phase, steps=STEPS, batch=4)
    return dataclasses.replace(
        made, phase=phase, loop=dataclasses.replace(made.loop, checkpoint_every=2, evaluate_every=5)
    )


def work(run: Path, what: str, report: Any = None) -> None:
    """Train, or go on with what is there."""
    if (run / "config.json").is_file():
        resume(run, LOGS, HELD_OUT, report)
    else:
        train(what, LOGS, HELD_OUT, configured(what), run, report)


def ends(run: Path) -> dict[str, Any]:
    """What a finished run holds."""
    losses = [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    held = run / "receipts" / "phase-0.bin"
    receipts = held.read_bytes().hex() if held.exists() else ""
    return {"losses": losses, "receipts": receipts, "weights": (run / "model" / "model.safetensors").read_bytes().hex()}


def disturbed(run: Path, what: str, say: ingest_crash.Say, mode: str, at: int) -> None:
    """The work with the fault in its way."""

    def interrupt(progress: Progress) -> None:
        if progress.step == at:
            os.kill(os.getpid(), signal.SIGINT)

    fault = None if mode == "ctrlc" else ingest_crash.begin(mode, at)
    try:
        work(run, what, interrupt if mode == "ctrlc" else None)
        acted = fault.acted if fault is not None else at <= STEPS
        say("finished in spite of it" if acted else "finished")
    except (WorldgateError, OSError) as error:
        say("interrupted" if isinstance(error, Interrupted) else f"refused {type(error).__name__}")


def check(run: Path, what: str, wanted: dict[str, Any]) -> None:
    """A snapshot that is pointed at is whole, and the run can be ended as if nothing had been."""
    if (run / "latest").exists():
        snapshots.load(run)
    if run.exists():
        config = json.loads((run / "config.json").read_bytes())
        decode(load_trainable(what).Config, config["config"], where="config.json")
    work(run, what)
    assert ends(run) == wanted
    left = {path.name for path in (run / "snapshots").iterdir()}
    assert left == {(run / "latest").read_text().splitlines()[0]}, left


def sweep(mode: str, scratch: Path, what: str, wanted: dict[str, Any], *, step: int, offset: int) -> dict[str, Any]:
    """Every point from ``offset`` in steps of ``step``, until a child gets through undisturbed."""
    points = broken = 0
    told: dict[str, int] = {}
    at = offset
    while True:
        run = scratch / "runs" / "run"
        shutil.rmtree(scratch / "runs", ignore_errors=True)
        status, said = crash.forked(lambda say, at=at: disturbed(run, what, say, mode, at))  # type: ignore[misc]  # noqa: B023
        assert status in {0, signal.SIGKILL}, status
        end = "killed" if status else said[-1]
        told[end] = told.get(end, 0) + 1
        result, _ = crash.forked(lambda _: check(run, what, wanted))  # noqa: B023
        points += 1
        if result != 0:
            broken += 1
            sys.stderr.write(f"{mode} at {at}: {end}\n")
        if end == "finished":
            return {"points": points, "reached": at, "broken": broken, "ends": told}
        at += step


def main() -> None:
    """Run the sweeps that were asked for."""
    scratch, what = Path(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    work(scratch / "first" / "run", what)
    wanted = ends(scratch / "first" / "run")
    found = {}
    for asked in sys.argv[3:]:
        mode, step, offset = asked.split(":")
        found[mode] = sweep(mode, scratch, what, wanted, step=int(step), offset=int(offset))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
