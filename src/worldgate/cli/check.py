"""``worldgate check``: logs against a contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldgate.cli._contract import find_contract, find_logs
from worldgate.cli._engine import EngineOption, WorkersOption, chosen_engine
from worldgate.cli._output import JsonFlag, Table, answer, progress
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worldgate.data.check import CheckedLog

SPANS = 3


def check(
    contract: str,
    /,
    *logs: str,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> int:
    """Check logs against a contract.

    For example:

        worldgate check kitchen.toml
        worldgate check kitchen.v1 4c7a9a17 5d01b2aa

    Every finding is recorded with its time spans; the contract says which refuse a log and which only flag it. What was
    found before on the same bytes, with the same code and parameters, is not computed again. Exit code 4 if a log is
    refused.

    Args:
        contract: A TOML file, a contract that ships with Worldgate, or the id or name of a recorded one.
        logs: Ids or names of logs; without any, all logs of the workspace.
    """
    from worldgate.data.check import check as hold
    from worldgate.data.ingest import ingested

    with open_workspace(workspace) as ws, chosen_engine(ws, engine, workers) as where, progress("check") as tell:
        ref = find_contract(ws, contract)
        checked = hold(ws, find_logs(ws, logs), ref, progress=tell, engine=where)
        known = ingested(ws)
    refused = [log for log in checked if not log.accepted]
    rows = [row for log in checked for row in _rows(log, zero_ns=known[log.log].span_ns[0])]
    columns = ("log", "verdict", "check", "stream", "finding", "measured", "limit", "spans from the log's start")
    tables = [Table(columns=columns, rows=rows)] if rows else []
    accepted = len(checked) - len(refused)
    said = f"{len(checked)} logs checked against {ref.name}: {accepted} accepted, {len(refused)} refused"
    answer("check", {"contract": ref, "logs": checked, "ok": not refused}, *tables, said, as_json=json)
    return 4 if refused else 0


def _rows(log: CheckedLog, *, zero_ns: int) -> Iterator[tuple[str, ...]]:
    """What is true of several streams alike is said once."""
    from worldgate.core.times import format_span

    streams: dict[tuple[str, ...], list[str]] = {}
    for outcome in log.outcomes:
        for finding in outcome.findings:
            spans = [format_span(start, end, zero_ns=zero_ns) for start, end in finding.spans_ns[:SPANS]]
            more = len(finding.spans_ns) - SPANS
            measured, limit = (f"{value:g} {finding.unit}".strip() for value in (finding.value, finding.limit))
            shown = ", ".join(spans) + (f" and {more} more" if more > 0 else "")
            said = (outcome.severity, finding.check, finding.message, measured, limit, shown or "whole log")
            streams.setdefault(said, []).append(finding.stream)
    for row, names in streams.items():
        more = len(names) - SPANS
        listed = ", ".join(names[:SPANS]) + (f" and {more} more" if more > 0 else "")
        yield log.name, *row[:2], listed, *row[2:]
