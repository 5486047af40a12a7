"""Reports: what every search for logs that belong together does with its question and its answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from worldgate.data.duplicates.clusters import Pair
from worldgate.data.ingest import Shelf
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

P = TypeVar("P", bound=Pair)


def chosen(shelf: Shelf, logs: Sequence[str] | None) -> tuple[str, ...]:
    """Digests of the logs that are compared, in the order of ingest; None: all.

    Raises:
        NotFound: no such log.
    """
    for log in logs or ():
        shelf.record(log)
    return tuple(log for log in shelf.records if logs is None or log in set(logs))


def keep(
    ws: Workspace,
    shelf: Shelf,
    report: object,
    *,
    kind: str,
    event: str,
    logs: Sequence[str],
    body: Mapping[str, object],
) -> None:
    """Record a report over these logs, unless the same one is there."""
    ref = Ref(kind, ws.put_json(report))
    if ref.digest not in {known.digest for known in ws.artifacts(kind)}:
        about = {"logs": len(logs), **body}
        ws.record(event, body=about, inputs=[shelf.record(log).ref for log in logs], outputs=[ref])


def crossing(pairs: Iterable[P], split_of: Mapping[str, str]) -> Iterator[tuple[P, str, str]]:
    """Pairs of logs of two splits, with both; logs without a split do not count."""
    for pair in pairs:
        first, second = split_of.get(pair.first, ""), split_of.get(pair.second, "")
        if first and second and first != second:
            yield pair, first, second
