"""Verify a workspace: every link of the chain, signature, key, object, decision and projection, each on its own.

Nothing stops at the first problem: each broken record is named by its sequence and digest. A cut tail, or a ledger
re-issued with the author's keys, leaves a chain that holds; only a head that somebody else kept shows it, so the report
says whether there was one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import create_engine, select

from worldgate.core.digest import sha256, short
from worldgate.core.errors import NotFound, RecordError, WorldgateError
from worldgate.record import projections, tables
from worldgate.record.erasure import Tombstone, tombstones
from worldgate.record.events import Event, decode
from worldgate.record.keys import ERASED, KEY_KINDS, Keyring
from worldgate.record.ledger import GENESIS, Head, chain_hash, check_signature
from worldgate.record.readings import EventList, Reading
from worldgate.record.workspace import Workspace

Recompute = Callable[[Workspace, Event], str | None]
"""Recomputes what an event claims; returns what is wrong, or None."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that does not hold."""

    seq: int
    """The record; 0: the ledger as a whole."""
    digest: str
    what: str

    def __str__(self) -> str:
        where = f"record {self.seq} {short(self.digest)}" if self.seq else "ledger"
        return f"{where}: {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was checked and what does not hold."""

    problems: tuple[Problem, ...]
    records: int
    objects: int
    recomputed: int
    """Events whose claim was recomputed."""
    head: Head
    witnessed: bool
    """Whether a head kept elsewhere was found in the chain. Without one, a cut tail or a re-issue cannot show."""

    @property
    def ok(self) -> bool:
        """Whether everything holds."""
        return not self.problems


def verify(
    ws: Workspace, *, recompute: Mapping[str, Recompute] | None = None, witness: Head | None = None
) -> VerifyReport:
    """Check everything a workspace claims.

    Args:
        ws: the workspace.
        recompute: kind of event -> what recomputes its claim; callers hand in what rooms above this one know.
        witness: a head that somebody else kept.
    """
    run = Verification(ws, recompute or {}, witness)
    run.chain()
    run.signatures()
    run.objects()
    run.decisions()
    run.projections()
    problems = tuple(sorted(run.problems, key=lambda problem: problem.seq))
    return VerifyReport(
        problems=problems,
        records=run.records,
        objects=len(run.checked),
        recomputed=run.recomputed,
        head=run.head,
        witnessed=run.witnessed,
    )


@dataclass
class Verification:
    """One pass over a record, step by step; each step notes its problems and the next one goes on."""

    ws: Workspace
    recompute: Mapping[str, Recompute]
    witness: Head | None
    problems: list[Problem] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    """Those that could be read; only these are looked at further."""
    keyring: Keyring = field(init=False)
    """Who might sign, as these events tell."""
    records: int = 0
    hashes: dict[int, str] = field(default_factory=dict)
    """Of every place, whether or not its record could be read."""
    checked: set[str] = field(default_factory=set)
    recomputed: int = 0
    erased: Mapping[str, Tombstone] = field(default_factory=dict)
    head: Head = field(default_factory=lambda: Head(0, GENESIS))
    witnessed: bool = False

    def __post_init__(self) -> None:
        self.keyring = Keyring(self.ws.id)

    def chain(self) -> None:
        """Sequence, links and names of every record, by the stored bytes alone."""
        places: set[tuple[str, int]] = set()
        for row in self.rows():
            self.records += 1
            seq, digest = row["seq"], row["digest"]
            if seq != self.head.seq + 1:
                gap = f"records {self.head.seq + 1} to {seq - 1} are missing"
                self.problems.append(Problem(seq, digest, gap))
            link = chain_hash(seq=seq, prev=self.head.hash, event=digest, origin_seq=row["origin_seq"])
            if link != row["hash"]:
                self.problems.append(Problem(seq, digest, "does not follow from the record before it"))
            self.head = Head(seq, row["hash"])
            self.hashes[seq] = row["hash"]
            self.witnessed |= self.witness == self.head
            if (row["ledger"], row["origin_seq"]) in places:
                self.problems.append(Problem(seq, digest, "claims a place that another record has"))
            places.add((row["ledger"], row["origin_seq"]))
            self.read_row(row)
        if self.witness is not None and not self.witnessed:
            seen = f"record {self.witness.seq} with hash {short(self.witness.hash)}"
            self.problems.append(Problem(0, "", f"a witness saw {seen}; it is not in the chain"))

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """Every stored row, in order."""
        last, table = 0, tables.events
        query = select(table).order_by(table.c.seq).limit(1000)
        while True:
            with self.ws.ledger.read() as connection:
                rows = connection.execute(query.where(table.c.seq > last)).mappings().all()
            yield from ({**row} for row in rows)
            if not rows:
                return
            last = rows[-1]["seq"]

    def read_row(self, row: Mapping[str, Any]) -> None:
        """Take in one row's payload: its digest, its form, and that it is filed where it says."""
        seq, digest = row["seq"], row["digest"]
        if sha256(row["payload"]) != digest:
            self.problems.append(Problem(seq, digest, "payload does not match its digest"))
            return
        try:
            event = decode(
                row["payload"],
                signature=row["signature"],
                seq=seq,
                origin_seq=row["origin_seq"],
                hash=row["hash"],
            )
        except RecordError as error:
            self.problems.append(Problem(seq, digest, f"{error.what}: {error.got}"))
            return
        if (event.kind, event.ledger) != (row["kind"], row["ledger"]):
            self.problems.append(Problem(seq, digest, "is filed under another kind or ledger"))
        elif event.ledger == self.ws.id and event.origin_seq != seq:
            self.problems.append(Problem(seq, digest, "is this ledger's own but claims another place"))
        self.events.append(event)

    def signatures(self) -> None:
        """Every signature, by a key that was good at that place of its own ledger."""
        self.keyring.add(event for event in self.events if event.kind in KEY_KINDS)
        if self.keyring.root() is None:
            self.problems.append(Problem(0, "", "has no root: record 1 is not a person's key signed by itself"))
        for event in self.events:
            try:
                key = self.keyring.admit(event)
                check_signature(event, key)
            except RecordError as error:
                self.problems.append(Problem(event.seq, event.digest, error.what))

    def objects(self) -> None:
        """Every object an event promised, and the files of every tree among them; erased ones must be gone."""
        self.erased = tombstones(event for event in self.events if event.kind == ERASED)
        for event in self.events:
            for digest in event.objects:
                self.check_object(event, digest)

    def check_object(self, event: Event, digest: str) -> None:
        """One object that an event promised, and its parts."""
        if digest in self.checked:
            return
        self.checked.add(digest)
        store = self.ws.store
        if digest in self.erased:
            if store.has(digest):
                what = f"object {short(digest)} was erased and is still here; worldgate data erase finishes it"
                self.problems.append(Problem(event.seq, event.digest, what))
            return
        try:
            store.check(digest)
            for part in store.parts(digest).values():
                self.check_object(event, part)
        except NotFound:
            self.problems.append(Problem(event.seq, event.digest, f"object {short(digest)} is missing from the store"))
        except WorldgateError as error:
            what = f"object {short(digest)}: {error.what}"
            self.problems.append(Problem(event.seq, event.digest, what))

    def decisions(self) -> None:
        """Whatever a room above can recompute, from the events that could be read; nothing is written."""
        ledger = EventList(self.ws.id, self.events, self.keyring, self.head, self.hashes)
        reading = Reading(self.ws.root, ledger, self.ws.store)
        for event in self.events:
            again = self.recompute.get(event.kind)
            if again is None or not self.wanted(event):
                continue
            self.recomputed += 1
            try:
                wrong = again(reading, event)
            except WorldgateError as error:
                wrong = f"cannot be recomputed: {error.what}"
            except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
                wrong = f"cannot be recomputed: {type(error).__name__} {error}"  # signed nonsense
            if wrong is not None:
                self.problems.append(Problem(event.seq, event.digest, wrong))
        reading.close()

    def wanted(self, event: Event) -> bool:
        """Whether an event's claim is recomputed here."""
        return True

    def projections(self) -> None:
        """The derived tables hold what follows from the events, and nothing else."""
        engine = create_engine("sqlite://")
        with engine.begin() as fresh, self.ws.ledger.read() as held:
            tables.metadata.create_all(fresh, tables=list(tables.projections))
            projections.project(fresh, self.events)
            expected, found = projections.dump(fresh), projections.dump(held)
        engine.dispose()
        if len(self.events) == self.records:
            for name in expected:
                if expected[name] != found[name]:
                    self.problems.append(Problem(0, "", f"table {name} does not follow from the events; rebuild it"))
