"""Fixtures of the record's tests: a hand that changes the file behind the ledger's back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from worldgate.record.workspace import Workspace

Tamper = Callable[..., None]


@pytest.fixture
def tamper() -> Tamper:
    """Run SQL on a workspace's ledger with its guards removed."""

    def run(ws: Workspace | Path, *statements: str) -> None:
        root = ws if isinstance(ws, Path) else ws.root
        connection = sqlite3.connect(root / "ledger.db", isolation_level=None)
        try:
            connection.execute("DROP TRIGGER IF EXISTS events_stay")
            connection.execute("DROP TRIGGER IF EXISTS events_remain")
            for statement in statements:
                connection.execute(statement)
        finally:
            connection.close()

    return run


@pytest.fixture
def filled(workspace: Workspace) -> Workspace:
    """A workspace with a small history: a log, a dataset made of it, a decision; records 3 to 8."""
    from worldgate.record.events import Ref

    log = workspace.store.put_bytes(b"every message of the log")
    data = workspace.put_json({"episodes": [log]})
    workspace.record("log.ingested", body={"bytes": log}, outputs=[Ref("log", log, "run.mcap")])
    workspace.record(
        "dataset.made", body={"rows": 3}, inputs=[Ref("log", log)], outputs=[Ref("dataset", data, "kitchen")]
    )
    for i in range(3):
        workspace.record("trial.run", body={"success": i > 0, "seed": i}, inputs=[Ref("dataset", data)])
    workspace.record("gate.decided", body={"result": "HOLD"}, inputs=[Ref("dataset", data)], actor="tester")
    return workspace
