"""Projections: tables derived from events, kept in step with each append and rebuilt from nothing.

They hold nothing of their own and do not depend on the order in which events arrived, so two ledgers with the same
events have the same projections.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import Insert, insert

from worldgate.record import tables
from worldgate.record.events import Event, Ref


def edge_rows(event: Event) -> Iterator[dict[str, object]]:
    """The references of an event. An event's name is that of its first output, where that has none of its own."""
    told = {ref.digest for ref in (*event.inputs, *event.outputs)}
    objects = tuple(Ref("object", digest) for digest in event.objects if digest not in told)
    for role, refs in (("input", event.inputs), ("output", event.outputs), ("object", objects)):
        for position, ref in enumerate(refs):
            name = ref.name or (event.name if role == "output" and position == 0 else "")
            yield {
                "event": event.digest,
                "role": role,
                "position": position,
                "kind": ref.kind,
                "digest": ref.digest,
                "name": name,
            }


def project(connection: Connection, events: Sequence[Event]) -> None:
    """Bring every projection up to these new events, inside the caller's transaction."""
    edges = [row for event in events for row in edge_rows(event)]
    if edges:
        connection.execute(_EDGES, edges)
    made = [
        {"kind": ref.kind, "digest": ref.digest, "recorded_at_ns": event.recorded_at_ns, "event": event.digest}
        for event in events
        for ref in event.outputs
    ]
    if made:
        connection.execute(_EARLIEST, made)


def _earliest() -> Insert:
    statement = insert(tables.artifacts)
    new, old = statement.excluded, tables.artifacts.c
    earlier = (new.recorded_at_ns < old.recorded_at_ns) | (
        (new.recorded_at_ns == old.recorded_at_ns) & (new.event < old.event)
    )
    return statement.on_conflict_do_update(
        index_elements=["kind", "digest"],
        set_={"recorded_at_ns": new.recorded_at_ns, "event": new.event},
        where=earlier,
    )


_EDGES = insert(tables.edges).on_conflict_do_nothing()
_EARLIEST = _earliest()


def rebuild(connection: Connection, batches: Iterable[Sequence[Event]]) -> None:
    """Drop and refill every projection; the caller holds the exclusive lock."""
    for table in tables.projections:
        connection.execute(delete(table))
    for batch in batches:
        project(connection, batch)


def dump(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    """Every projection's rows in order, for comparison."""
    return {
        table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns))]
        for table in tables.projections
    }
