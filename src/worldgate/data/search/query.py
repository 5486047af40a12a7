"""SQL over what the record knows, by DuckDB in memory with every door to the outside shut and the lock thrown.

No file can be read or written, no extension loaded, no setting changed back: a query may come from anybody. It ends
after ``seconds`` at the latest, and no more than ``most`` rows come back. Only tables that the query names are made.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import Any

import duckdb

from worldgate.core.errors import UsageError
from worldgate.data.search.tables import SCHEMAS, table
from worldgate.record.workspace import Workspace

_WORD = re.compile(r"[A-Za-z_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a query gave."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool
    """Whether there were more rows than were asked for."""


def query(ws: Workspace, sql: str, *, most: int = 1000, seconds: float = 30.0) -> Answer:
    """Ask the record in SQL.

    Args:
        ws: the workspace.
        sql: one statement over the tables of :data:`worldgate.data.search.tables.SCHEMAS`.
        most: rows to return.
        seconds: after which the query is stopped.

    Raises:
        UsageError: not SQL, a table or column that there is not, something that is shut, or too slow; DuckDB's words.
    """
    assert most > 0 and seconds > 0
    connection = duckdb.connect(":memory:", config={"enable_external_access": "false", "threads": "2"})
    stopped = threading.Event()

    def stop() -> None:
        stopped.set()
        connection.interrupt()

    timer = threading.Timer(seconds, stop)
    try:
        for name in sorted({word.lower() for word in _WORD.findall(sql)} & set(SCHEMAS)):
            connection.register(name, table(ws, name))
        connection.execute("SET lock_configuration = true")
        timer.start()
        asked = connection.execute(sql)
        rows = asked.fetchmany(most + 1) if asked is not None and asked.description else []
        columns = tuple(str(column[0]) for column in asked.description or ()) if asked is not None else ()
    except duckdb.Error as error:
        what = f"the query took longer than {seconds:g} s" if stopped.is_set() else "the query cannot be answered"
        lines = str(error).splitlines()
        raise UsageError(what, got=" ".join(lines[:2]), where="query", hint=f"tables: {', '.join(SCHEMAS)}") from error
    finally:
        timer.cancel()
        connection.close()
    return Answer(columns=columns, rows=tuple(rows[:most]), more=len(rows) > most)
