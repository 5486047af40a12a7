"""Scene g of the demo: somebody flips one byte of a failed trial, and an outsider's program names the record."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import worldgate
from worldgate.core.digest import short
from worldgate.core.errors import NotFound
from worldgate.core.report import Section, Table
from worldgate.evidence.recompute import RECOMPUTE
from worldgate.recipes._cell_gates import Gated
from worldgate.recipes._cell_stage import Stage
from worldgate.record.verify import verify


def outsider() -> Path:
    """Where the outsider's verifier lies: in the checkout's ``tools``, or beside the installed package.

    Raises:
        NotFound: neither.
    """
    package = Path(worldgate.__file__).parent
    for path in (package.parent.parent / "tools" / "verify.py", package / "tools" / "verify.py"):
        if path.is_file():
            return path
    raise NotFound("the outsider's verifier is not here", got="tools/verify.py", where=package)


def run_outsider(folder: Path) -> tuple[int, str]:
    """Its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, str(outsider()), str(folder)], capture_output=True, text=True, timeout=300, check=False
    )
    return done.returncode, (done.stdout + done.stderr).strip()


def flip_a_byte(path: Path) -> None:
    """Change one byte of where a trial says that it failed."""
    held = bytearray(path.read_bytes())
    place = held.index(b'"success":false') + len(b'"success":')
    held[place] ^= 0x01
    path.chmod(0o644)
    path.write_bytes(held)


def tamper(stage: Stage, failed: Gated) -> Section:
    """Verify the workspace, then a copy of it in which one byte of a failed trial says something else."""
    own = verify(stage.ws, recompute=RECOMPUTE)
    before, clean = run_outsider(stage.folder)
    trial = next(ref for ref, ran in zip(failed.refs, failed.trials, strict=True) if not ran.success)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "copy"
        shutil.copytree(stage.folder, copy, ignore=shutil.ignore_patterns("cache", "runs", "logs", "field"))
        flip_a_byte(copy / "objects" / trial.digest[:2] / trial.digest[2:])
        after, told = run_outsider(copy)
    named = trial.digest[:12] in told
    stage.facts["tamper"] = {"before": before, "after": after, "named": named}
    lines = told.splitlines()
    return Section(
        title="g. One byte of a failed trial is flipped",
        verdict="found: the outsider's verifier names the record" if after == 1 and named else "not found",
        tone="good" if own.ok and before == 0 and after == 1 and named else "bad",
        words=(
            f"The record as it stands: {own.records} records verified, {own.recomputed} decisions recomputed to"
            " the byte;"
            f" tools/verify.py, which shares no code with Worldgate, agrees ({clean.splitlines()[0]}).",
            f"In a copy, one byte of trial {short(trial.digest)} was changed, the one that says that r2 failed:",
        ),
        tables=(Table(headings=("what tools/verify.py then prints",), rows=tuple((line,) for line in lines[:6])),),
        commands=("worldgate record verify", "python tools/verify.py worldgate-demo"),
    )
