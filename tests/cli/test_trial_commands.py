"""``worldgate trial``: the server as a process, what it prints, and that what it called recorded survives its death."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.conftest import heeds_ctrl_c
from tests.plans_to_run import SLOT, workspace_with_plan

from worldgate.cli import main
from worldgate.core.times import now_ns
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace


@contextmanager
def served(root: Path, plan: str, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A server, and what it printed."""
    command = [sys.executable, "-m", "worldgate", "trial", "run", plan, "--port", "0", "--json", "-w", str(root)]
    process = subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=heeds_ctrl_c,
    )
    assert process.stdout is not None
    watch = threading.Timer(120, process.kill)
    watch.start()
    try:
        lines = ""
        for line in process.stdout:
            lines += line
            if line == "}\n":
                break
        assert lines, process.communicate()[1]
        yield process, json.loads(lines)
    finally:
        watch.cancel()
        process.kill()
        process.communicate()


class Tablet:
    """A device on the network."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.place = (parts.hostname, parts.port or 80)
        self.cookie = ""
        with closing(self.send("GET", f"/?{parts.query}")) as connection:
            reply = connection.getresponse()
            assert reply.status == 303
            self.cookie = (reply.getheader("set-cookie") or "").split(";")[0]

    def send(self, method: str, path: str, tree: Any = None) -> http.client.HTTPConnection:
        """Ask, and do not wait for an answer."""
        connection = http.client.HTTPConnection(*self.place, timeout=30)
        headers = {"content-type": "application/json", "cookie": self.cookie}
        connection.request(method, path, json.dumps(tree) if tree is not None else None, headers)
        return connection

    def ask(self, path: str, tree: Any) -> Any:
        with closing(self.send("POST", path, tree)) as connection:
            return json.loads(connection.getresponse().read())


def sheet(plan: str, row: int) -> dict[str, Any]:
    return {
        "schema": "worldgate/trial-sheet/1", "plan": plan, "row": row, "entry": f"entry-{row:04d}",
        "client": "tablet-one", "started_ns": str(now_ns()), "duration_s": 2.0, "success": True,
    }  # fmt: skip


def rows_on_ledger(root: Path) -> list[int]:
    with Workspace.open(root) as ws:
        assert verify(ws).ok
        return [ws.get_json(event.body["trial"])["row"] for event in ws.ledger.events("trial.run")]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    monkeypatch.setattr("tests.plans_to_run.NOW", 1)
    root = tmp_path / "cell"
    return root, workspace_with_plan(root)


def test_what_was_called_recorded_survives_kill_9_and_the_next_server_goes_on(place: tuple[Path, str]) -> None:
    root, plan = place
    with served(root, plan) as (process, told):
        assert told["url"].startswith("http://127.0.0.1:")
        assert (told["recorded"], told["rows"], told["secure"]) == (0, 4, True)
        tablet = Tablet(told["url"])
        tablet.ask("/api/lease", {"client": "tablet-one", "slot": SLOT})
        for row in (1, 2):
            assert tablet.ask("/api/record", sheet(plan, row))["state"] == "recorded"
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    assert rows_on_ledger(root) == [1, 2]
    first = urlsplit(told["url"]).query
    with served(root, plan) as (process, told):
        assert urlsplit(told["url"]).query == first  # devices need no new address
        tablet = Tablet(told["url"])
        assert tablet.ask("/api/record", sheet(plan, 2))["state"] == "recorded"  # sent again: it never heard
        assert tablet.ask("/api/record", sheet(plan, 3))["state"] == "recorded"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert "3 of 4 runs recorded; go on: worldgate trial run" in process.stderr.read()
    assert rows_on_ledger(root) == [1, 2, 3]


@pytest.mark.slow
def test_a_killed_server_never_leaves_half_a_trial(place: tuple[Path, str]) -> None:
    """Killed at once after the request, not after its answer: the row stands whole or not at all."""
    root, plan = place
    with served(root, plan) as (process, told):
        tablet = Tablet(told["url"])
        with closing(tablet.send("POST", "/api/record", sheet(plan, 1))):
            process.send_signal(signal.SIGKILL)
            process.wait(30)
    assert rows_on_ledger(root) in ([], [1])


def test_the_order_for_whoever_loads_names_the_release_of_every_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "cell"
    plan = workspace_with_plan(root, baseline=True, scenes=3)
    assert main(["trial", "order", plan[:8], "-w", str(root), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "worldgate.trial.order"
    assert [item["row"] for item in told["order"]] == [1, 2, 3, 4, 5, 6]
    assert len({item["release"] for item in told["order"]}) == 2
    assert main(["trial", "order", plan[:8], "-w", str(root)]) == 0
    assert "release" in capsys.readouterr().out


def test_a_plan_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    root = tmp_path / "cell"
    workspace_with_plan(root, scenes=1)
    assert main(["trial", "run", "feed", "-w", str(root)]) == 2
    assert main(["trial", "run", "cups", "--key", "nobody", "-w", str(root)]) == 2
