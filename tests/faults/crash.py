"""Kill a process at the nth operation and look at what is left; run by ``test_kill.py``, not by people.

Usage: ``crash.py SCRATCH STEP OFFSET``. The process forks for each point, so that nothing is imported twice. A child
does a fixed piece of work on a copy of a workspace and says on a pipe what was acknowledged; at its nth operation
(open, fsync, rename, SQL statement) it is killed with SIGKILL. A second child then checks. Prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from worldgate.core.errors import AlreadyExists, NotFound
from worldgate.record.events import Draft, Ref
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace


class Fuse:
    """Counts operations; kills the process when the count is reached."""

    def __init__(self, at: int) -> None:
        self.at, self.count = at, 0
        for name in ("open", "fsync", "replace", "mkdir", "unlink", "symlink"):
            setattr(os, name, self._counted(getattr(os, name)))
        event.listen(Engine, "connect", lambda connection, _: connection.set_trace_callback(lambda _: self.burn()))

    def burn(self) -> None:
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.burn()
            return function(*args, **kwargs)

        return wrapped


def work(root: Path, say: Callable[[str], None]) -> None:
    """Put, record, batch, add a key: each acknowledgement is said as soon as it is had."""
    ws = Workspace.open(root)
    say("o " + ws.store.put_bytes(b"first"))
    say("e " + ws.record("log.ingested", body={"bytes": ws.store.put_bytes(b"log")}).digest)
    tree = ws.store.put_tree(root.parent / "folder")
    say("o " + tree)
    say("e " + ws.record("dataset.made", body={"tree": tree}, outputs=[Ref("dataset", tree, "kitchen")]).digest)
    ws.store.checkout(tree, under=ws.cache)
    for made in ws.record_many([Draft(kind="trial.run", body={"n": n}) for n in range(3)]):
        say("e " + made.digest)
    ws.add_key("bea", owner="bea")
    say("e " + ws.record("gate.approved", body={}, actor="bea").digest)


def endless(root: Path, say: Callable[[str], None]) -> None:
    """Put and record until killed."""
    ws = Workspace.open(root)
    for n in range(10**6):
        digest = ws.store.put_bytes(f"object {n}".encode())
        say("e " + ws.record("a.b", body={"object": digest}, outputs=[Ref("log", digest)]).digest)


def making(root: Path, say: Callable[[str], None]) -> None:
    """Make a workspace."""
    Workspace.init(root, person="tester")
    say("w made")


def check(root: Path, said: list[str]) -> None:
    """Nothing acknowledged is lost, nothing is half visible, the ledger verifies and goes on."""
    ws = Workspace.open(root)
    report = verify(ws)
    assert report.ok, report.problems
    for line in said:
        kind, digest = line.split(" ")
        if kind == "e":
            for held in ws.ledger.get(digest).objects:
                ws.store.check(held)
        else:
            ws.store.check(digest)
    for digest in ws.store.digests():
        ws.store.check(digest)
    batch = list(ws.ledger.events("trial.run"))
    assert len(batch) in {0, 3}, "a batch is whole or absent"
    acknowledged = sum(line.startswith("e ") for line in said)
    assert report.records - acknowledged - 2 in range(5), "at most the event in flight, its batch and a key besides"
    for tree in ws.artifacts("dataset"):
        assert sorted(p.name for p in ws.store.checkout(tree.digest, under=ws.cache).iterdir()) == ["a", "b"]
    ws.record("after.crash", body={})
    assert verify(ws).ok


def check_made(root: Path, said: list[str]) -> None:
    """A workspace is there and good, or not there and says so."""
    try:
        ws = Workspace.open(root)
    except NotFound:
        assert not said
        try:
            Workspace.init(root, person="tester")
        except AlreadyExists as error:
            if "broke off" not in str(error):
                raise
        return
    assert verify(ws).ok
    assert ws.ledger.head().seq == 2
    for name in ("tester", "service"):
        ws.record("after.crash", body={}, actor=name)


def forked(
    function: Callable[[Callable[[str], None]], None], *, kill_after_s: float | None = None
) -> tuple[int, list[str]]:
    """Run in a child; its wait status and the whole lines it said."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            function(lambda line: void(os.write(writing, line.encode() + b"\n")))
        except BaseException:  # a child must never return into the parent's stack
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(reading) as pipe:
        said = pipe.read().splitlines()
    return os.waitpid(pid, 0)[1], said


def void(_: object) -> None:
    """Drop a value."""


def sweep(
    scratch: Path, job: Callable[[Path, Callable[[str], None]], None], test: Callable[[Path, list[str]], None],
    *, step: int, offset: int, template: Path | None,
) -> dict[str, int]:  # fmt: skip
    """Kill at operation ``offset``, ``offset + step`` … until a child gets through."""
    points = broken = 0
    at = offset
    while True:
        root = scratch / f"{job.__name__}-{at}"
        if template is not None:
            shutil.copytree(template, root, symlinks=True)

        def child(say: Callable[[str], None], root: Path = root, at: int = at) -> None:
            Fuse(at)
            job(root, say)

        status, said = forked(child)
        assert status in {0, signal.SIGKILL}, status
        points += 1
        result, _ = forked(lambda _, root=root, said=said: test(root, said))  # type: ignore[misc]
        if result != 0:
            broken += 1
            sys.stderr.write(f"operation {at} of {job.__name__}: {len(said)} acknowledged\n")
        shutil.rmtree(root, ignore_errors=True)
        if status == 0:
            return {"points": points, "operations": at, "broken": broken}
        at += step


def main() -> None:
    """Run every sweep."""
    scratch, step, offset = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    template = scratch / "template"
    (scratch / "folder").mkdir()
    for name in "ab":
        (scratch / "folder" / name).write_bytes(name.encode())
    forked(lambda _: void(Workspace.init(template, person="tester")))
    found = {
        "init": sweep(scratch, making, check_made, step=step, offset=offset, template=None),
        "work": sweep(scratch, work, check, step=step, offset=offset, template=template),
    }
    broken = 0
    kills = max(5, 320 // step)
    for n in range(kills):
        root = scratch / f"endless-{n}"
        shutil.copytree(template, root)
        status, said = forked(lambda say, root=root: endless(root, say), kill_after_s=0.05 + 0.3 * n / kills)  # type: ignore[misc]
        assert status == signal.SIGKILL
        result, _ = forked(lambda _, root=root, said=said: check(root, said))  # type: ignore[misc]
        broken += result != 0
        shutil.rmtree(root, ignore_errors=True)
    sys.stdout.write(json.dumps({**found, "timed": {"points": kills, "broken": broken}}))


if __name__ == "__main__":
    main()
