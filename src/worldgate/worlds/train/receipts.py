"""Which recording every training sample came from: 16 bytes a sample, in the order of use.

``receipts/phase-N.bin`` of a run holds the receipts of :mod:`worldgate.data.loader.receipts`, step after step;
``phase-N.json`` beside it holds their table and how many samples make a step. Together with the episodes they say, for
any step, which frames of which log it learned from, and :func:`worldgate.data.loader.prove` reads those frames again.

Shape legend: R samples of a step.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from worldgate.core.atomic import write_atomic
from worldgate.core.config import decode
from worldgate.core.digest import canonical, read_json, sha256
from worldgate.core.errors import NotFound
from worldgate.core.streams import Array
from worldgate.data.loader import RECEIPT, ReceiptTable

FOLDER = "receipts"


class Receipts:
    """The receipts of one phase, while it trains.

    Args:
        run_dir: the run's folder.
        phase: its number.
        table: what all receipts share.
        samples: R.
    """

    def __init__(self, run_dir: Path, phase: int, table: ReceiptTable, samples: int) -> None:
        self._path, self._step = _path(run_dir, phase), samples * RECEIPT.itemsize
        about = canonical({"samples": samples, "table": table})
        write_atomic(self._path.with_suffix(".json"), about, overwrite=True)

    def rewind(self, step: int) -> None:
        """Forget what came after a snapshot.

        Raises:
            NotFound: fewer receipts than the snapshot has steps.
        """
        self._path.touch()
        if self._path.stat().st_size < step * self._step:
            raise NotFound("receipts of steps that were trained are missing", got=f"step {step}", where=self._path)
        os.truncate(self._path, step * self._step)

    def add(self, receipts: Array) -> None:
        """Those of the next step, (R,)."""
        data = np.ascontiguousarray(receipts, RECEIPT).tobytes()
        assert len(data) == self._step
        with self._path.open("ab") as file:
            file.write(data)

    def sync(self) -> None:
        """Make what was added survive power loss: before a snapshot says that these steps are done."""
        fd = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def taken(run_dir: Path, phase: int, step: int) -> tuple[Array, ReceiptTable]:
    """The samples of a step, counted from 1, and the table they belong to.

    Raises:
        NotFound: this run or phase keeps no receipts, or no such step.
    """
    path = _path(run_dir, phase)
    if not path.is_file():
        hint = "phases that learn from clips keep them; those on states or tokens in memory do not"
        raise NotFound("no receipts", got=f"phase {phase}", where=run_dir, hint=hint)
    about = read_json(path.with_suffix(".json").read_bytes())
    assert isinstance(about, dict)
    table = decode(ReceiptTable, about["table"], where=str(path))
    samples = int(str(about["samples"]))
    held = np.fromfile(path, RECEIPT)
    if not 0 < step <= len(held) // samples:
        raise NotFound("no such step", got=step, where=path, hint=f"1 to {len(held) // samples}")
    return held[(step - 1) * samples : step * samples], table


def digests(run_dir: Path) -> dict[str, str]:
    """Of every phase's receipts and of their table, by file name."""
    folder = run_dir / FOLDER
    return {path.name: sha256(path.read_bytes()) for path in sorted(folder.glob("phase-*"))}


def _path(run_dir: Path, phase: int) -> Path:
    return run_dir / FOLDER / f"phase-{phase}.bin"
