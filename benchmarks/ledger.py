"""How fast the ledger appends durably, in one and in batches, and verifies.

The physical limit is measured in the same run: a plain SQLite commit with one row (WAL, synchronous=FULL), Ed25519
signatures and verifications alone. ``--quick`` takes a few seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from worldgate.core.digest import sha256
from worldgate.record.events import Draft, Ref
from worldgate.record.ledger import GENESIS, chain_hash
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace


def rate(count: int, function: Callable[[], object]) -> float:
    """Units a second."""
    start = time.perf_counter()
    function()
    return count / (time.perf_counter() - start)


def drafts(start: int, count: int) -> list[Draft]:
    """Events as trials make them."""
    return [
        Draft(kind="trial.run", body={"seed": i, "success": True}, outputs=[Ref("trial", f"{i:064x}")])
        for i in range(start, start + count)
    ]


def commits(path: Path, count: int) -> None:
    """One row a transaction, as durable as the ledger's."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE t (a BLOB)")
    for _ in range(count):
        db.execute("INSERT INTO t VALUES (?)", (b"x" * 600,))
    db.close()


def links(ws: Workspace) -> None:
    """The chain alone: payload digests and links, no signature."""
    prev = GENESIS
    connection = sqlite3.connect(ws.root / "ledger.db")
    for seq, payload, origin in connection.execute("SELECT seq, payload, origin_seq FROM events ORDER BY seq"):
        prev = chain_hash(seq=seq, prev=prev, event=sha256(payload), origin_seq=origin)
    connection.close()
    assert prev == ws.ledger.head().hash


def measure(scratch: Path, scale: int) -> list[dict[str, object]]:
    """Every row of the table."""
    ws = Workspace.init(scratch / "w", person="bench")
    key = Ed25519PrivateKey.generate()
    data = b"x" * 600
    signature, public = key.sign(data), key.public_key()
    single, batch = 100 * scale, 2000 * scale
    ws.record_many(drafts(0, 10))
    one = rate(single, lambda: [ws.record_many([draft]) for draft in drafts(1000, single)])
    many = rate(batch, lambda: [ws.record_many(drafts(10**6 + at, 1000)) for at in range(0, batch, 1000)])
    records = ws.ledger.head().seq
    whole = rate(records, lambda: verify(ws))
    chain = rate(records, lambda: links(ws))
    floor = rate(single, lambda: commits(scratch / "floor.db", single))
    signs = rate(2000, lambda: [key.sign(data) for _ in range(2000)])
    checks = rate(2000, lambda: [public.verify(signature, data) for _ in range(2000)])
    rows = [
        ("durable appends, one a transaction", one, "SQLite commits of one row", floor, 1_000),
        ("durable appends, 1,000 a transaction", many, "Ed25519 signatures alone", signs, 50_000),
        (
            "records verified, signatures and projections included",
            whole,
            "Ed25519 verifications alone",
            checks,
            300_000,
        ),
        ("records verified, chain and digests only", chain, "", None, 300_000),
    ]
    return [
        {
            "what": what,
            "value": round(value),
            "unit": "1/s",
            "peer": peer,
            "peer_value": round(limit) if limit else None,
            "ratio": round(value / limit, 3) if limit else None,
            "bar": bar,
            "ok": value >= bar,
        }
        for what, value, peer, limit, bar in rows
    ]


def machine() -> str:
    """Where these figures were measured."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"


def main() -> None:
    """Print the table, or one JSON object."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--quick", action="store_true", help="a tenth of the work")
    arguments.add_argument("--json", action="store_true", help="one JSON object")
    told = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(Path(scratch), 1 if told.quick else 10)
    if told.json:
        print(json.dumps({"name": "ledger", "machine": machine(), "rows": rows}))
        return
    for row in rows:
        limit = f"; {row['peer']} {row['peer_value']:,}" if row["peer_value"] else ""
        told_bar = f"bar {row['bar']:,} {'ok' if row['ok'] else 'short'}"
        print(f"{row['what']:55} {row['value']:>9,} {row['unit']}  {told_bar}{limit}")


if __name__ == "__main__":
    main()
