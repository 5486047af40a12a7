"""What two processes do together; started by ``test_training_processes.py`` under torchrun, not by people.

Usage: ``processes.py FOLDER``. Trains the debug configurations side by side, one of them only until somebody asks it to
stop, and leaves the runs in the folder.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from pathlib import Path

import torch
from tests.worlds.synthetic import CAMERA, SIZE, debug_config, episodes, replace_inputs

from worldgate.core.errors import Interrupted
from worldgate.worlds.tokenizers import fsq
from worldgate.worlds.tracks import Inputs
from worldgate.worlds.train import parallel
from worldgate.worlds.train.loop import train

LEARNABLE, HELD_OUT = episodes(4), episodes(1, first=50)
STOP = 13


def pictures(**options):
    """The tokenizer, whose blocks can be shared out."""
    made = replace_inputs(fsq.debug(), Inputs(states=(), action="", cameras=(CAMERA,), size=SIZE))
    phase = dataclasses.replace(made.phase, batch=4, accumulate=options.pop("accumulate", 1))
    return dataclasses.replace(made, phase=phase, loop=dataclasses.replace(made.loop, **options))


def telemetry(accumulate=1):
    """The ensemble, whose batches are drawn from memory."""
    made = debug_config("state")
    return dataclasses.replace(made, phase=dataclasses.replace(made.phase, accumulate=accumulate))


def main():
    """Train together."""
    root = Path(sys.argv[1])
    torch.set_num_threads(1)
    with parallel.group() as ranks:
        assert ranks.count == 2

        def stop(progress):
            if progress.step == STOP:
                os.kill(os.getpid(), signal.SIGTERM)

        train("state", LEARNABLE, HELD_OUT, telemetry(), root / "state")
        train("fsq", LEARNABLE, HELD_OUT, pictures(), root / "ddp")
        train("fsq", LEARNABLE, HELD_OUT, pictures(parallel="fsdp", recompute=True), root / "fsdp")
        for name, options in (("stopped-ddp", {}), ("stopped-fsdp", {"parallel": "fsdp"})):
            try:
                train("fsq", LEARNABLE, HELD_OUT, pictures(**options), root / name, stop)
            except Interrupted:
                sys.stdout.write(f"{ranks.rank} stopped {name}\n")
        rest = ranks.all({"rank": ranks.rank, "big": 2**100, "longer": "x" * 50 * ranks.rank})
        assert [held["rank"] for held in rest] == [0, 1]
        assert rest[0]["big"] == rest[1]["big"] == 2**100
        assert ranks.mean([float(ranks.rank)]) == [0.5]
        assert ranks.same(ranks.rank) == 0


if __name__ == "__main__":
    main()
