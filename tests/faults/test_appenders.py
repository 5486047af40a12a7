"""Several processes appending at once queue: every event once, no place twice, one chain."""

from __future__ import annotations

import subprocess
import sys

from worldgate.record.events import Draft
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

APPENDER = """
import sys
from worldgate.record.workspace import Workspace
ws = Workspace.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for n in range(40):
    ws.record("trial.run", body={"who": sys.argv[2], "n": n})
"""


def test_processes_that_append_at_once_queue(workspace: Workspace) -> None:
    told = [sys.executable, "-c", APPENDER, str(workspace.root)]
    children = [
        subprocess.Popen([*told, who], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for who in "abc"
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    workspace.record_many([Draft(kind="dataset.made", body={"n": n}) for n in range(50)])
    for child in children:
        _, errors = child.communicate()
        assert child.returncode == 0, errors
    events = list(workspace.ledger.events("trial.run"))
    for who in "abc":
        assert [event.body["n"] for event in events if event.body["who"] == who] == list(range(40))
    assert [event.seq for event in workspace.ledger.events()] == list(range(1, 2 + 3 * 40 + 50 + 1))
    batch = [event.seq for event in workspace.ledger.events("dataset.made")]
    assert batch == list(range(batch[0], batch[0] + 50)), "nobody gets into a batch"
    assert verify(workspace).ok


def test_a_rebuild_waits_for_appenders_and_they_for_it(workspace: Workspace) -> None:
    told = [sys.executable, "-c", APPENDER, str(workspace.root), "a"]
    child = subprocess.Popen(told, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()
    for _ in range(10):
        workspace.ledger.rebuild()
    _, errors = child.communicate()
    assert child.returncode == 0, errors
    assert verify(workspace).ok
