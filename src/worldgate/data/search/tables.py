"""What the record knows of logs, as Arrow tables that SQL can be asked of; nothing of a log's own content is read.

One row each: ``logs``, ``streams``, ``facts``, ``findings``, ``labels``, ``datasets``, ``episodes`` (of a dataset).
Times are UTC timestamps where a log has dates, and nanoseconds in columns that end in ``_ns``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from worldgate.core.times import SECOND
from worldgate.data import datasets
from worldgate.data.check import EVENT as CHECKED
from worldgate.data.ingest import EPOCHS_NS, IngestedLog, ingested
from worldgate.data.labelling.store import all_labels
from worldgate.record import erasure
from worldgate.record.workspace import Workspace

_TIME = pa.timestamp("ns", tz="UTC")
_FACTS = pa.map_(pa.string(), pa.string())

SCHEMAS: Mapping[str, pa.Schema] = {
    "logs": pa.schema(
        [
            ("log", pa.string()), ("name", pa.string()), ("format", pa.string()), ("origin", pa.string()),
            ("site", pa.string()), ("robot", pa.string()), ("arm", pa.string()), ("start", _TIME), ("end", _TIME),
            ("start_ns", pa.int64()), ("end_ns", pa.int64()), ("seconds", pa.float64()), ("streams", pa.int32()),
            ("task", pa.string()), ("success", pa.bool_()), ("facts", _FACTS), ("ingested", _TIME),
            ("source", pa.string()), ("erased", pa.bool_()),
        ]
    ),
    "streams": pa.schema(
        [
            ("log", pa.string()), ("stream", pa.string()), ("kind", pa.string()), ("count", pa.int64()),
            ("rate_hz", pa.float64()), ("unit", pa.string()), ("clock", pa.string()), ("shape", pa.list_(pa.int64())),
            ("start_ns", pa.int64()), ("end_ns", pa.int64()), ("digest", pa.string()),
        ]
    ),
    "facts": pa.schema([("log", pa.string()), ("fact", pa.string()), ("value", pa.string())]),
    "findings": pa.schema(
        [
            ("log", pa.string()), ("contract", pa.string()), ("check", pa.string()), ("severity", pa.string()),
            ("stream", pa.string()), ("message", pa.string()), ("value", pa.float64()), ("limit", pa.float64()),
            ("unit", pa.string()), ("spans", pa.int32()), ("start_ns", pa.int64()), ("end_ns", pa.int64()),
        ]
    ),
    "labels": pa.schema(
        [
            ("log", pa.string()), ("schema", pa.string()), ("annotator", pa.string()), ("method", pa.string()),
            ("label", pa.string()), ("value", pa.string()), ("start_ns", pa.int64()), ("end_ns", pa.int64()),
            ("clock", pa.string()), ("note", pa.string()),
        ]
    ),
    "datasets": pa.schema(
        [
            ("dataset", pa.string()), ("name", pa.string()), ("contract", pa.string()), ("rate_hz", pa.float64()),
            ("episodes", pa.int64()), ("rows", pa.int64()), ("refused", pa.int64()),
        ]
    ),
    "episodes": pa.schema(
        [
            ("dataset", pa.string()), ("episode", pa.string()), ("log", pa.string()), ("name", pa.string()),
            ("split", pa.string()), ("site", pa.string()), ("origin", pa.string()), ("rows", pa.int64()),
        ]
    ),
}  # fmt: skip
"""Table -> its columns."""

Row = Mapping[str, Any]


def table(ws: Workspace, name: str) -> pa.Table:
    """One of :data:`SCHEMAS`, filled from the record."""
    makers: Mapping[str, Callable[[Workspace], Iterator[Row]]] = {
        "logs": _logs, "streams": _streams, "facts": _facts, "findings": _findings, "labels": _labels,
        "datasets": _datasets, "episodes": _episodes,
    }  # fmt: skip
    return pa.Table.from_pylist(list(makers[name](ws)), schema=SCHEMAS[name])


def plain(value: object) -> str:
    """A fact or label as text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _logs(ws: Workspace) -> Iterator[Row]:
    came = {event.outputs[0].digest: event.recorded_at_ns for event in ws.ledger.events("log.ingested")}
    gone = erasure.of_workspace(ws)
    for digest, log in ingested(ws).items():
        yield {**_log(log), "ingested": came[digest], "erased": log.source in gone}


def _log(log: IngestedLog) -> Row:
    start, end = log.span_ns
    dated = start >= EPOCHS_NS
    success = log.facts.get("success")
    return {
        "log": log.digest,
        "name": log.name,
        "format": log.format,
        "origin": log.origin,
        "site": log.site,
        "robot": log.robot or plain(log.facts.get("robot", "")),
        "arm": log.arm,
        "start": start if dated else None,
        "end": end if dated else None,
        "start_ns": start,
        "end_ns": end,
        "seconds": (end - start) / SECOND,
        "streams": len(log.streams),
        "task": plain(log.facts.get("task", "")),
        "success": success if isinstance(success, bool) else None,
        "facts": [(key, plain(value)) for key, value in log.facts.items()],
        "source": log.source,
    }


def _streams(ws: Workspace) -> Iterator[Row]:
    for log in ingested(ws).values():
        for held in log.streams:
            yield {
                "log": log.digest,
                "stream": held.name,
                "shape": list(held.shape),
                **{key: getattr(held, key) for key in ("kind", "count", "rate_hz", "unit", "clock", "digest")},
                "start_ns": held.start_ns,
                "end_ns": held.end_ns,
            }


def _facts(ws: Workspace) -> Iterator[Row]:
    for log in ingested(ws).values():
        for key, value in log.facts.items():
            yield {"log": log.digest, "fact": key, "value": plain(value)}


def _findings(ws: Workspace) -> Iterator[Row]:
    newest: dict[tuple[str, str], Mapping[str, Any]] = {}
    for event in ws.ledger.events(CHECKED):
        log, contract = event.inputs
        newest[log.digest, contract.digest] = {"contract": contract.name or contract.digest, **event.body}
    for (digest, _), body in newest.items():
        for outcome in body["outcomes"]:
            for found in outcome["findings"]:
                spans = found["spans_ns"]
                yield {
                    "log": digest,
                    "contract": body["contract"],
                    "severity": outcome["severity"],
                    **{key: found[key] for key in ("check", "stream", "message", "value", "limit", "unit")},
                    "spans": len(spans),
                    "start_ns": int(spans[0][0]) if spans else None,
                    "end_ns": int(spans[-1][1]) if spans else None,
                }


def _labels(ws: Workspace) -> Iterator[Row]:
    for held in all_labels(ws):
        for item in held.set.labels:
            yield {
                "log": held.log.digest,
                "schema": held.schema.name or held.schema.digest,
                "annotator": held.annotator,
                "method": str(held.method),
                "label": item.label,
                "value": plain(item.value),
                "start_ns": item.start_ns,
                "end_ns": item.end_ns,
                "clock": held.clock,
                "note": item.note,
            }


def _datasets(ws: Workspace) -> Iterator[Row]:
    for ref in ws.artifacts("dataset"):
        held = datasets.manifest(ws, ref.digest)
        yield {
            "dataset": ref.digest,
            "name": held.name,
            "contract": held.contract,
            "rate_hz": held.rate_hz,
            "episodes": len(held.episodes),
            "rows": sum(e.rows for e in held.episodes),
            "refused": len(held.refused),
        }


def _episodes(ws: Workspace) -> Iterator[Row]:
    for ref in ws.artifacts("dataset"):
        for entry in datasets.manifest(ws, ref.digest).episodes:
            told = {key: getattr(entry, key) for key in ("log", "name", "split", "site", "origin", "rows")}
            yield {"dataset": ref.digest, "episode": entry.id, **told}
