"""The ledger: signed events in a hash chain, in one SQLite file.

Each event is signed (DSSE) and named by its digest; the chain only orders: ``hash = SHA-256(canonical {event,
origin_seq, prev, seq})``. Appending is idempotent by digest and durable when it returns. Appenders queue (``BEGIN
IMMEDIATE``); only a rebuild of the projections is exclusive. Events of other ledgers keep their origin id and sequence.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, Signature
from sqlalchemy import Connection, RowMapping, bindparam, insert, select
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError

from worldgate.core.digest import sha256
from worldgate.core.errors import NotFound, RecordError, SchemaTooNew, Tampered
from worldgate.core.times import now_ns
from worldgate.record import projections, tables
from worldgate.record.events import Draft, Event, decode
from worldgate.record.keys import KEY_KINDS, Keyring, PublicKey
from worldgate.record.signing import EVENT_TYPE, sign_statement, signature_bytes

GENESIS = "0" * 64
"""Predecessor of the first event."""

_PAGE = 1000

# Built once: constructing a statement costs more than running it.
_COLUMNS = tables.events.c
_HEAD = select(_COLUMNS.seq, _COLUMNS.hash).order_by(_COLUMNS.seq.desc()).limit(1)
_NEW_KEYS = (
    select(tables.events).where(_COLUMNS.kind.in_(KEY_KINDS), _COLUMNS.seq > bindparam("upto")).order_by(_COLUMNS.seq)
)
_THESE = select(tables.events).where(_COLUMNS.digest.in_(bindparam("digests", expanding=True)))
_ADD = insert(tables.events)


def chain_hash(*, seq: int, prev: str, event: str, origin_seq: int) -> str:
    """Hash of one place in the chain; the JSON is canonical as written."""
    return sha256(f'{{"event":"{event}","origin_seq":{origin_seq},"prev":"{prev}","seq":{seq}}}'.encode())


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain; a witness that keeps one can tell later whether the chain was cut or re-issued."""

    seq: int
    hash: str


class Projection(Protocol):
    """Something another room derives from events, in memory or in tables of its own."""

    kinds: Collection[str]
    """Kinds of event it reads; empty: all."""

    def apply(self, event: Event) -> None:
        """Take in one event; must not depend on having seen it before."""
        ...


class Ledger:
    """Signed events in order.

    Args:
        path: the SQLite file, made by :meth:`create`.

    Raises:
        NotFound: no such file.
        SchemaTooNew: written by a newer Worldgate.
        Tampered: not a ledger.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise NotFound("no ledger here", where=path, hint="worldgate init")
        self.path = path
        self._engine = tables.connect(path)
        self._close = weakref.finalize(self, self._engine.dispose)
        try:
            with self._engine.begin() as connection:
                found = {row.key: row.value for row in connection.execute(select(tables.meta))}
        except DatabaseError as error:
            if isinstance(error, OperationalError) and "no such table" not in str(error.orig):
                raise RecordError("the ledger could not be used", got=error.orig, where=path) from error
            raise Tampered("this is not a ledger", got=error.orig, where=path) from error
        refuse_newer(int(found["schema"]), where=path)
        self.id: str = found["ledger"]
        """Id of this ledger: events that it records carry it."""
        self._keyring = Keyring(self.id)
        self._keys_upto = 0

    @classmethod
    def create(cls, path: Path, *, ledger: str) -> Ledger:
        """Make an empty ledger of this id."""
        engine = tables.connect(path)
        tables.create(engine, ledger=ledger)
        engine.dispose()
        return cls(path)

    def close(self) -> None:
        """Close every connection."""
        self._close()

    def append(self, draft: Draft, signer: CryptoSigner) -> Event:
        """Sign and add one event; durable when it returns. An event already here is returned as it stands.

        Raises:
            NotAuthorised: the key is unknown, revoked or may not do this.
            UsageError: a body without a JSON form.
        """
        return self.append_many([draft], signer)[0]

    def append_many(self, drafts: Sequence[Draft], signer: CryptoSigner) -> list[Event]:
        """Sign and add events in this order, all or none, in one transaction.

        Raises:
            NotAuthorised: the key is unknown, revoked or may not do this.
            UsageError: a body without a JSON form.
        """
        return self._append([_sign(draft, signer, ledger=self.id) for draft in drafts])

    def import_events(self, events: Iterable[Event]) -> int:
        """Take events of other ledgers, in any order; returns how many were new.

        Raises:
            NotAuthorised: a ledger nobody here vouched for, or a key it does not know.
            Tampered: a signature that does not hold, or two events that claim one place of their ledger.
        """
        known = set(self.digests())
        fresh = [event for event in events if event.digest not in known]
        fresh.sort(key=lambda event: (event.kind not in KEY_KINDS, event.ledger, event.origin_seq))
        self._append(fresh, imported=True)
        return len(fresh)

    def events(self, kind: str | Collection[str] | None = None, since: int = 0) -> Iterator[Event]:
        """Events in order, read page by page, so that appending meanwhile is safe.

        Args:
            kind: one kind, several, or None for all.
            since: only events after this sequence.
        """
        kinds = (kind,) if isinstance(kind, str) else tuple(kind or ())
        query = select(tables.events).order_by(tables.events.c.seq).limit(_PAGE)
        if kinds:
            query = query.where(tables.events.c.kind.in_(kinds))
        while True:
            with self._begin() as connection:
                rows = connection.execute(query.where(tables.events.c.seq > since)).mappings().all()
            yield from (_event(row) for row in rows)
            if len(rows) < _PAGE:
                return
            since = rows[-1]["seq"]

    def get(self, digest: str) -> Event:
        """The event of a digest.

        Raises:
            NotFound: not on this ledger.
        """
        with self._begin() as connection:
            found = _known(connection, [digest])
        if digest not in found:
            raise NotFound("no such event", got=digest, where=self.path)
        return found[digest]

    def head(self) -> Head:
        """The end of the chain; sequence 0 for an empty ledger."""
        with self._begin() as connection:
            return _head(connection)

    def hash_at(self, seq: int) -> str | None:
        """Chain hash of a place; None where there is none."""
        with self._begin() as connection:
            found: str | None = connection.scalar(select(_COLUMNS.hash).where(_COLUMNS.seq == seq))
            return found

    def digests(self) -> list[str]:
        """Digest of every event, in order."""
        with self._begin() as connection:
            return list(connection.scalars(select(tables.events.c.digest).order_by(tables.events.c.seq)))

    def replay(self, projection: Projection, since: int = 0) -> int:
        """Feed a projection every event after ``since``; returns the last sequence it now covers."""
        last = self.head().seq
        for event in self.events(projection.kinds, since):
            projection.apply(event)
            last = max(last, event.seq)
        return last

    def keyring(self) -> Keyring:
        """Who may sign, as of the end of the chain."""
        with self._begin() as connection:
            self._learn(connection)
        return self._keyring

    def rebuild(self) -> None:
        """Drop and refill the projections; nobody else may write or read meanwhile."""
        with self._begin("EXCLUSIVE") as connection:
            projections.rebuild(connection, _pages(connection))

    def read(self) -> Connection:
        """A connection for reading projections; a context manager."""
        return self._engine.connect()

    def _append(self, events: Sequence[Event], *, imported: bool = False) -> list[Event]:
        try:
            with self._begin("IMMEDIATE") as connection:
                self._learn(connection)
                placed = _known(connection, [event.digest for event in events])
                head = _head(connection)
                added: list[Event] = []
                for event in events:
                    if event.digest not in placed:
                        event = _place(event, head, imported=imported)
                        head = Head(event.seq, event.hash)
                        self._keyring.add([event])
                        self._authorise(event, imported=imported)
                        placed[event.digest] = event
                        added.append(event)
                if added:
                    connection.execute(_ADD, rows_of(added))
                    projections.project(connection, added)
        except Exception:
            self._keyring, self._keys_upto = Keyring(self.id), 0  # forget what was learned from events not kept
            raise
        return [placed[event.digest] for event in events]

    def _authorise(self, event: Event, *, imported: bool) -> None:
        key = self._keyring.admit(event)
        if imported:
            decode(event.payload, signature=event.signature, seq=0, origin_seq=event.origin_seq, hash="")
            check_signature(event, key)

    def _learn(self, connection: Connection) -> None:
        """Take in the key events that another process may have added."""
        found = [_event(row) for row in connection.execute(_NEW_KEYS, {"upto": self._keys_upto}).mappings()]
        if found:
            self._keyring.add(found)
            self._keys_upto = found[-1].seq

    @contextmanager
    def _begin(self, lock: str = "DEFERRED") -> Iterator[Connection]:
        try:
            with self._engine.execution_options(lock=lock).begin() as connection:
                yield connection
        except IntegrityError as error:
            raise Tampered("two events claim one place", got=error.orig, where=self.path) from error
        except OperationalError as error:
            hint = "another process holds the ledger; try again" if "locked" in str(error.orig) else None
            raise RecordError("the ledger could not be used", got=error.orig, where=self.path, hint=hint) from error
        except DatabaseError as error:
            raise Tampered("this is not a ledger", got=error.orig, where=self.path) from error


def refuse_newer(schema: int, *, where: Path) -> None:
    """Refuse what a newer program wrote.

    Raises:
        SchemaTooNew: ``schema`` is beyond what this program knows.
    """
    if schema > tables.SCHEMA:
        raise SchemaTooNew(
            f"this workspace has schema {schema}, this program knows up to {tables.SCHEMA}",
            got=schema,
            where=where,
            hint="pip install --upgrade worldgate",
        )


def check_signature(event: Event, key: PublicKey) -> None:
    """Verify an event's DSSE signature by one key.

    Raises:
        Tampered: it does not hold.
    """
    signed = Envelope(event.payload, EVENT_TYPE, {event.actor: Signature(event.actor, event.signature.hex())})
    try:
        signed.verify([key.sslib()], 1)
    except (VerificationError, ValueError) as error:
        raise Tampered("a signature that does not hold", got=event.digest, where=f"record {event.seq}") from error


def _sign(draft: Draft, signer: CryptoSigner, *, ledger: str) -> Event:
    payload = draft.payload(actor=signer.public_key.keyid, ledger=ledger, now_ns=now_ns())
    signature = signature_bytes(sign_statement(payload, EVENT_TYPE, signer))
    return decode(payload, signature=signature, seq=0, origin_seq=0, hash="", strict=False)


def _place(event: Event, head: Head, *, imported: bool) -> Event:
    seq = head.seq + 1
    origin_seq = event.origin_seq if imported else seq
    link = chain_hash(seq=seq, prev=head.hash, event=event.digest, origin_seq=origin_seq)
    return replace(event, seq=seq, origin_seq=origin_seq, hash=link)


def _head(connection: Connection) -> Head:
    row = connection.execute(_HEAD).first()
    return Head(row.seq, row.hash) if row else Head(0, GENESIS)


def _known(connection: Connection, digests: Sequence[str]) -> dict[str, Event]:
    out: dict[str, Event] = {}
    for start in range(0, len(digests), _PAGE // 2):
        some = digests[start : start + _PAGE // 2]
        rows = connection.execute(_THESE, {"digests": some}).mappings()
        out |= {row["digest"]: _event(row) for row in rows}
    return out


def _event(row: RowMapping) -> Event:
    event = decode(
        row["payload"],
        signature=row["signature"],
        seq=row["seq"],
        origin_seq=row["origin_seq"],
        hash=row["hash"],
        strict=False,
    )
    if event.digest != row["digest"]:
        raise Tampered("an event whose payload is not its digest", got=event.digest, where=f"record {row['seq']}")
    return event


def _pages(connection: Connection) -> Iterator[list[Event]]:
    table = tables.events
    last = 0
    query = select(table).order_by(table.c.seq).limit(_PAGE)
    while page := [_event(row) for row in connection.execute(query.where(table.c.seq > last)).mappings()]:
        yield page
        last = page[-1].seq


def rows_of(events: Sequence[Event]) -> list[dict[str, object]]:
    """Events as rows of the table that keeps them."""
    return [
        {
            "seq": event.seq,
            "digest": event.digest,
            "hash": event.hash,
            "ledger": event.ledger,
            "origin_seq": event.origin_seq,
            "kind": event.kind,
            "payload": event.payload,
            "signature": event.signature,
        }
        for event in events
    ]
