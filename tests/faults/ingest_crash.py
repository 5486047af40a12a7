"""Ingest, check and snapshot under faults; run by ``test_ingest_faults.py``, not by people.

Usage: ``ingest_crash.py SCRATCH MODE:STEP:OFFSET ...``. A child does the whole work on a copy of a fresh workspace and
says on a pipe what was acknowledged. Modes:

``kill``    SIGKILL at the nth operation (open, fsync, rename, mkdir, unlink, link, write, SQL statement)
``enospc``  from the nth operation that needs room on, there is none: ``OSError(ENOSPC)``
``eio``     the nth such operation alone fails: ``OSError(EIO)``
``pages``   the ledger may grow by n pages and no more: SQLite's own "database or disk is full"
``fsize``   the kernel refuses to let any file grow beyond n * 512 bytes (RLIMIT_FSIZE)

A second child then looks at what is left, finishes the work with nothing in the way, and compares it with what an
undisturbed run made. Prints one line of JSON.
"""

from __future__ import annotations

import errno
import importlib.util
import io
import json
import logging
import os
import resource
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import crash
from sqlalchemy import Engine, event

from worldgate.core import seams
from worldgate.core.errors import WorldgateError
from worldgate.core.streams import Origin, log_digest
from worldgate.data import contracts, datasets
from worldgate.data.ingest import Shelf, ingest, ingested
from worldgate.data.logs.mcap import write_log
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

Say = Callable[[str], None]

CONTRACT = """
name = "small"
[streams."observation.state"]
kind = "vector"
[streams.action]
kind = "action"
[alignment]
rate_hz = 10.0
[checks.finite]
[checks.stamps]
"""
LOGS = 4
PATCHED = ("open", "fsync", "replace", "mkdir", "unlink", "symlink", "link", "rename")
NEEDS_ROOM = ("open", "fsync", "replace", "mkdir", "symlink", "link", "rename")


class Fault:
    """Counts operations of Python and SQL; acts from the nth on."""

    def __init__(self, at: int, act: Callable[[], None], names: tuple[str, ...], *, sql: bool, again: bool) -> None:
        self.at, self.act, self.again = at, act, again
        self.count = 0
        self.acted = ""
        for name in names:
            setattr(os, name, self._counted(getattr(os, name), creates_only=name == "open" and not sql))
        whole = io.open

        def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            held = whole(file, mode, *args, **kwargs)
            if isinstance(held, io.BufferedWriter):
                raw = _Counting(held.raw.name, held.raw.mode.replace("+", ""), self.burn)
                held.close()
                return io.BufferedWriter(raw)
            return held

        io.open = opened  # what pathlib calls
        if sql:
            event.listen(Engine, "connect", lambda held, _: held.set_trace_callback(lambda _: self.burn()))

    def burn(self) -> None:
        self.count += 1
        if self.count == self.at or (self.again and self.count > self.at):
            self.acted = self.acted or traceback.format_stack()[-3].split("\n")[0]
            self.act()

    def _counted(self, function: Callable[..., Any], *, creates_only: bool) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if not creates_only or args[1] & os.O_CREAT:
                self.burn()
            return function(*args, **kwargs)

        return wrapped


class _Counting(io.FileIO):
    """A file whose every write is an operation."""

    def __init__(self, path: Any, mode: str, burn: Callable[[], None]) -> None:
        super().__init__(path, mode)
        self._burn = burn

    def write(self, data: Any, /) -> int:
        self._burn()
        return super().write(data)


def fails(number: int) -> Callable[[], None]:
    def act() -> None:
        raise OSError(number, os.strerror(number))

    return act


def dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def begin(mode: str, at: int) -> Fault | None:
    """Put the fault in the way of this process."""
    if mode == "kill":
        return Fault(at, dies, PATCHED, sql=True, again=False)
    if mode in {"enospc", "eio"}:
        number = errno.ENOSPC if mode == "enospc" else errno.EIO
        return Fault(at, fails(number), NEEDS_ROOM, sql=False, again=mode == "enospc")
    if mode == "pages":

        def limit(held: Any, _: Any) -> None:
            pages = held.execute("PRAGMA page_count").fetchone()[0]
            held.execute(f"PRAGMA max_page_count = {pages + at - 1}")

        event.listen(Engine, "connect", limit)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (at * 512, resource.RLIM_INFINITY))
    return None


def work(root: Path, say: Say) -> None:
    """Ingest, check, freeze: each acknowledgement is said as soon as it is had."""
    ws = Workspace.open(root)
    for path in sorted((root.parent / "logs").iterdir()):
        for ref in ingest(ws, path):
            say(f"log {ref.digest}")
    contract = contracts.add(ws, contracts.read(root.parent / "small.toml"))
    say(f"contract {contract.digest}")
    say(f"dataset {datasets.snapshot(ws, contract, name='small-1').digest}")


def disturbed(root: Path, say: Say, mode: str, at: int) -> None:
    """The work with the fault in its way: done, killed, or an error that a person can read.

    A cache that could not be written, or a sync that failed after the fact, need not stop it.
    """
    fault = begin(mode, at)
    try:
        work(root, say)
        say("finished" if fault is None or not fault.acted else f"finished in spite of it: {fault.acted.strip()}")
    except (WorldgateError, OSError) as error:
        say(f"refused {type(error).__name__}")


def check(root: Path, said: list[str], wanted: list[str]) -> None:
    """What was acknowledged is there, nothing is half there, and the rest can follow to the same end."""
    ws = Workspace.open(root)
    report = verify(ws)
    assert report.ok, report.problems
    told = [line for line in said if line.partition(" ")[0] in {"log", "contract", "dataset"}]
    known = ingested(ws)
    for line in told:
        kind, _, digest = line.partition(" ")
        assert digest in (known if kind == "log" else {ref.digest for ref in ws.artifacts(kind)}), line
    shelf = Shelf(ws)
    for digest in known:
        assert log_digest(shelf.open(digest)) == digest, "half an ingested log"
    for ref in ws.artifacts("dataset"):
        assert len(datasets.load(ws, ref.digest)) == LOGS, "half a dataset"
    assert len(known) <= sum(line.startswith("log") for line in told) + 1, "at most the one in flight besides"
    again: list[str] = []
    work(root, again.append)
    assert again == wanted, "the same end, whatever was in the way"
    count = {kind: len(list(ws.ledger.events(kind))) for kind in ("log.ingested", "log.checked", "dataset.snapshot")}
    assert count == {"log.ingested": LOGS, "log.checked": LOGS, "dataset.snapshot": 1}, count
    assert verify(ws).ok


def prepare(scratch: Path) -> list[str]:
    """Logs, a contract, a template; what an undisturbed run says. Everything is imported and keyed before any fork."""
    spec = importlib.util.spec_from_file_location("fakes", Path(__file__).parents[1] / "data" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    fakes = importlib.util.module_from_spec(spec)
    sys.modules["fakes"] = fakes
    spec.loader.exec_module(fakes)
    (scratch / "logs").mkdir()
    for seed in range(LOGS):
        streams = fakes.recorded(seed, seconds=1.0)[:2]
        write_log(scratch / "logs" / f"{seed}.mcap", streams, origin=Origin.REAL, facts={"success": True})
    (scratch / "small.toml").write_text(CONTRACT)
    for name in seams.cards("logs"):
        seams.load("logs", name)
    for mode in ("first", "template"):
        crash.forked(lambda _, mode=mode: crash.void(Workspace.init(scratch / mode, person="tester")))  # type: ignore[misc]
    said: list[str] = []
    work(scratch / "first", said.append)
    return said


def sweep(mode: str, scratch: Path, wanted: list[str], *, step: int, offset: int) -> dict[str, Any]:
    """Every point from ``offset`` in steps of ``step``, until a child gets through undisturbed."""
    points = broken = 0
    ends: dict[str, int] = {}
    at = offset
    while True:
        root = scratch / "workspace"
        shutil.copytree(scratch / "template", root, symlinks=True)
        status, said = crash.forked(lambda say, root=root, at=at: disturbed(root, say, mode, at))  # type: ignore[misc]
        assert status in {0, signal.SIGKILL}, status
        end = "killed" if status else said[-1]
        ends[end] = ends.get(end, 0) + 1
        result, _ = crash.forked(lambda _, root=root, said=said: check(root, said, wanted))  # type: ignore[misc]
        points += 1
        if result != 0:
            broken += 1
            sys.stderr.write(f"{mode} at {at}: {end}, {len(said)} said\n")
        shutil.rmtree(root)
        if end == "finished":
            return {"points": points, "reached": at, "broken": broken, "ends": ends}
        at += step


def main() -> None:
    """Run the sweeps that were asked for."""
    scratch = Path(sys.argv[1])
    logging.disable(logging.WARNING)
    wanted = prepare(scratch)
    found = {}
    for asked in sys.argv[2:]:
        mode, step, offset = asked.split(":")
        found[mode] = sweep(mode, scratch, wanted, step=int(step), offset=int(offset))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
