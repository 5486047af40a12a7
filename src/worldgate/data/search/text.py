"""Text search over what people and labellers wrote: tasks, facts, captions, notes and findings, best match first.

SQLite's own full-text index (FTS5, BM25, Porter's stemmer) is built in memory for each search, so none can go stale.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from worldgate.core.errors import UsageError
from worldgate.data.ingest import ingested
from worldgate.data.search.tables import plain, table
from worldgate.record.workspace import Workspace

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextHit:
    """A text that matches."""

    log: str
    name: str
    """Of the log."""
    field: str
    """What kind of text: ``fact task``, ``label phase``, ``finding frozen``."""
    text: str
    score: float
    """BM25; higher matches better."""
    start_ns: int | None
    """The span it speaks of; None: the whole log."""
    end_ns: int | None


def search(ws: Workspace, words: str, *, most: int = 20) -> list[TextHit]:
    """Texts that hold all of these words, in any form, best match first; where none holds all, those that hold any.

    Args:
        ws: the workspace.
        words: what to look for.
        most: hits to return.

    Raises:
        UsageError: no word in it.
    """
    found = _WORD.findall(words)
    if not found:
        raise UsageError("nothing to look for", got=ascii(words), hint="words of a task, a caption or a note")
    names = {digest: log.name for digest, log in ingested(ws).items()}
    db = sqlite3.connect(":memory:")
    try:
        kept = "log UNINDEXED, field UNINDEXED, start UNINDEXED, stop UNINDEXED"
        db.execute(f"CREATE VIRTUAL TABLE t USING fts5(text, {kept}, tokenize='porter unicode61')")
        db.executemany("INSERT INTO t (log, field, start, stop, text) VALUES (?, ?, ?, ?, ?)", _texts(ws))
        quoted = [f'"{word}"' for word in found]
        ask = "SELECT log, field, text, bm25(t), start, stop FROM t WHERE t MATCH ? ORDER BY bm25(t), rowid LIMIT ?"
        rows = db.execute(ask, (" AND ".join(quoted), most)).fetchall()
        rows = rows or db.execute(ask, (" OR ".join(quoted), most)).fetchall()
    finally:
        db.close()
    return [
        TextHit(log=log, name=names[log], field=field, text=text, score=-score, start_ns=start, end_ns=stop)
        for log, field, text, score, start, stop in rows
    ]


def _texts(ws: Workspace) -> Iterator[tuple[str, str, int | None, int | None, str]]:
    for digest, log in ingested(ws).items():
        yield digest, "name", None, None, log.name
        for key, value in log.facts.items():
            if isinstance(value, str) and value:
                yield digest, f"fact {key}", None, None, value
    for row in table(ws, "labels").to_pylist():
        words = " ".join(part for part in (row["label"], plain(row["value"]), row["note"]) if part not in ("", "true"))
        yield row["log"], f"label {row['label']}", row["start_ns"], row["end_ns"], words
    for row in table(ws, "findings").to_pylist():
        yield row["log"], f"finding {row['check']}", row["start_ns"], row["end_ns"], f"{row['stream']} {row['message']}"
