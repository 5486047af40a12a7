"""What made this, and what did it touch: walks over the references of events.

``backward`` goes from a decision through evidence, model, dataset and episodes to the bytes of logs; ``forward`` from a
log to everything that used it. An artefact reached twice is expanded once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import Connection, select

from worldgate.core.digest import short
from worldgate.record import tables
from worldgate.record.events import Event, Ref
from worldgate.record.workspace import Workspace

_DEEPEST = 64
_AT_ONCE = 500
"""Artefacts in one query; databases limit how many values one may name."""


@dataclass(frozen=True, slots=True)
class Node:
    """One artefact of a lineage tree."""

    ref: Ref
    event: Event | None
    """Backward: what made it. Forward: what used it, giving the children. None: nothing on this ledger."""
    children: tuple[Node, ...] = ()
    repeated: bool = False
    """Expanded elsewhere in the tree."""
    size: int | None = None
    """Bytes in the store, a tree's files included; None: only its digest is known here."""

    def walk(self) -> Iterator[Node]:
        """This node and every node below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def backward(ws: Workspace, digest: str) -> Node:
    """From an artefact or event to everything it was made from.

    Raises:
        NotFound: nothing on the ledger speaks of it.
    """
    return _Walk(ws, forward=False).start(digest)


def forward(ws: Workspace, digest: str) -> Node:
    """From an artefact to everything that was made with it.

    Raises:
        NotFound: nothing on the ledger speaks of it.
    """
    return _Walk(ws, forward=True).start(digest)


Made: TypeAlias = Mapping[str, frozenset[tuple[str, str]]]
"""Digest of an artefact -> (kind, digest) of what went into it."""


def made_from(ws: Workspace, digests: Collection[str], *, upto_seq: int) -> Made:
    """Of these artefacts, and of everything that went into them, what each was made from, as the ledger stood.

    Every event that gave an artefact counts, so that a second, kinder one hides nothing.
    """
    given, taken, events = tables.edges.alias(), tables.edges.alias(), tables.events
    query = (
        select(given.c.digest, taken.c.kind, taken.c.digest)
        .join_from(given, events, events.c.digest == given.c.event)
        .join(taken, taken.c.event == given.c.event)
        .where(given.c.role == "output", taken.c.role == "input", events.c.seq <= upto_seq)
    )
    made: dict[str, set[tuple[str, str]]] = {}
    waiting = sorted(set(digests))
    with ws.ledger.read() as connection:
        while waiting:
            asked, waiting = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
            made |= {digest: set() for digest in asked}
            for digest, kind, source in connection.execute(query.where(given.c.digest.in_(asked))):
                made[digest].add((kind, source))
            found = {source for digest in asked for _, source in made[digest]}
            waiting += sorted(found.difference(made, waiting))
    return {digest: frozenset(sources) for digest, sources in made.items()}


def upstream(made: Made, digests: Collection[str]) -> frozenset[tuple[str, str]]:
    """(kind, digest) of everything that went into these artefacts, which are among those of :func:`made_from`."""
    found: set[tuple[str, str]] = set()
    seen, waiting = set(digests), list(digests)
    while waiting:
        sources = made[waiting.pop()]
        found |= sources
        fresh = {digest for _, digest in sources} - seen
        seen |= fresh
        waiting += fresh
    return frozenset(found)


class _Walk:
    def __init__(self, ws: Workspace, *, forward: bool) -> None:
        self.ws = ws
        self.forward = forward
        self.seen: set[str] = set()

    def start(self, digest: str) -> Node:
        ref = self.ws.resolve(digest)
        with self.ws.ledger.read() as connection:
            return self.visit(connection, ref, _DEEPEST)

    def visit(self, connection: Connection, ref: Ref, depth: int) -> Node:
        event = self.event_of(connection, ref)
        ref = _named(ref, event)
        size = stored_size(self.ws, ref.digest)
        if ref.digest in self.seen or depth == 0:
            return Node(ref, event, repeated=True, size=size)
        self.seen.add(ref.digest)
        below = self.users(connection, ref) if self.forward else self.parts(event, ref)
        children = tuple(self.visit(connection, child, depth - 1) for child in below)
        return Node(ref, event, children, size=size)

    def event_of(self, connection: Connection, ref: Ref) -> Event | None:
        """The event that made an artefact: the earliest, should several have."""
        if ref.kind == "event":
            return self.ws.ledger.get(ref.digest)
        table = tables.artifacts.c
        query = select(table.event).where(table.digest == ref.digest).order_by(table.recorded_at_ns, table.event)
        digest = connection.scalars(query.limit(1)).first()
        return self.ws.ledger.get(digest) if digest is not None else None

    def parts(self, event: Event | None, ref: Ref) -> list[Ref]:
        if event is None:
            return []
        told = {other.digest for other in (*event.inputs, *event.outputs)} | {ref.digest}
        return [*event.inputs, *(Ref("object", digest) for digest in event.objects if digest not in told)]

    def users(self, connection: Connection, ref: Ref) -> list[Ref]:
        """What the events that read this artefact gave; an event that gave nothing stands for itself."""
        if ref.kind == "event":
            return list(self.ws.ledger.get(ref.digest).outputs)
        table = tables.edges.c
        query = select(table.event).where(table.digest == ref.digest, table.role != "output").distinct()
        events = [self.ws.ledger.get(digest) for digest in connection.scalars(query)]
        out: dict[str, Ref] = {}
        for event in sorted(events, key=lambda event: event.seq):
            for given in event.outputs or (Ref("event", event.digest, event.kind),):
                out.setdefault(given.digest, given)
        return list(out.values())


def _named(ref: Ref, event: Event | None) -> Ref:
    """A reference with the name its maker gave, where it has none of its own."""
    if ref.name or event is None:
        return ref
    if ref.kind == "event":
        return Ref(ref.kind, ref.digest, event.kind)
    given = next((other.name for other in event.outputs if other.digest == ref.digest), "")
    return Ref(ref.kind, ref.digest, given or event.name)


def stored_size(ws: Workspace, digest: str) -> int | None:
    """Bytes kept under a digest, a tree's files included; None where the store has none."""
    if not ws.store.has(digest):
        return None
    parts = {digest, *ws.store.parts(digest).values()}
    return sum(ws.store.size(part) for part in parts if ws.store.has(part))


def render(node: Node) -> str:
    """A tree as text, one artefact a line: kind, short id, name, what made it, bytes kept."""
    return "\n".join(_lines(node, "", ""))


def _lines(node: Node, first: str, rest: str) -> Iterator[str]:
    made = f"  by {node.event.kind} in record {node.event.seq}" if node.event is not None else ""
    size = f"  {node.size:,} bytes" if node.size is not None else ""
    name = f" {node.ref.name}" if node.ref.name else ""
    yield f"{first}{node.ref.kind} {short(node.ref.digest)}{name}{made}{size}{'  (see above)' if node.repeated else ''}"
    for i, child in enumerate(node.children):
        last = i == len(node.children) - 1
        yield from _lines(child, f"{rest}{'└─ ' if last else '├─ '}", f"{rest}{'   ' if last else '│  '}")
