"""``worldgate query``: SQL over what the record knows of logs."""

from __future__ import annotations

from worldgate.cli._output import JsonFlag, Table, answer
from worldgate.cli._workspace import WorkspaceOption, open_workspace


def query(
    sql: str | None = None,
    /,
    *,
    rows: int = 1000,
    seconds: float = 30.0,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Ask the record in SQL: logs, streams, facts, findings, labels, datasets.

    For example:

        worldgate query
        worldgate query "SELECT site, count(*) AS logs, sum(seconds) AS s FROM logs GROUP BY site"
        worldgate query "SELECT name FROM logs WHERE facts['success'] = 'false' AND task LIKE '%cup%'"

    DuckDB in memory, with every door to files, network and settings shut; nothing it does can change the record.

    Args:
        sql: One statement; without one, the tables and their columns.
        rows: Most rows to print.
        seconds: Stop a query that takes longer.
    """
    from worldgate.core.errors import UsageError
    from worldgate.data.search import query as asking
    from worldgate.data.search.tables import SCHEMAS

    if rows < 1 or seconds <= 0:
        raise UsageError("a query gives at least one row in some time", got=f"rows {rows}, seconds {seconds:g}")
    if sql is None:
        columns = {name: [f"{field.name} {field.type}" for field in schema] for name, schema in SCHEMAS.items()}
        listed = [(name, ", ".join(fields)) for name, fields in columns.items()]
        answer("query.tables", {"tables": columns}, Table(columns=("table", "columns"), rows=listed), as_json=json)
        return
    with open_workspace(workspace) as ws:
        found = asking.query(ws, sql, most=rows, seconds=seconds)
    table = Table(columns=found.columns, rows=[[_shown(cell) for cell in row] for row in found.rows])
    more = f"the first {rows} rows; --rows N shows more" if found.more else f"{len(found.rows)} rows"
    body = {"columns": found.columns, "rows": [[_json(cell) for cell in row] for row in found.rows], "more": found.more}
    answer("query", body, *([table] if found.columns else []), more, as_json=json)


def _shown(cell: object) -> str:
    """A cell for people: digests short, nothing for NULL."""
    text = "" if cell is None else f"{cell:.6g}" if isinstance(cell, float) else str(cell)
    return text[:12] if len(text) == 64 and all(c in "0123456789abcdef" for c in text) else text


def _json(cell: object) -> object:
    plain = cell is None or isinstance(cell, bool | int | float | str)
    if isinstance(cell, list | tuple):
        return [_json(item) for item in cell]
    if isinstance(cell, dict):
        return {str(key): _json(value) for key, value in cell.items()}
    return cell if plain else str(cell)
