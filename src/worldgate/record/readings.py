"""A workspace to read and not to touch: some of its events, its store with a lid on it.

What recomputes a decision is handed one of these, so that a record which cannot be read spoils no other one's
verification, and checking writes nothing. A bundle has no ledger file at all; it is read through the same door.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, insert
from sqlalchemy.pool import StaticPool

from worldgate.core.digest import read_canonical, sha256
from worldgate.core.errors import NotFound, RecordError, Tampered
from worldgate.record import projections, tables
from worldgate.record.events import Event
from worldgate.record.keys import Keyring
from worldgate.record.ledger import GENESIS, Head, Ledger, rows_of
from worldgate.record.stores import Objects
from worldgate.record.workspace import Workspace


class EventList(Ledger):
    """Events already read and checked, as a ledger that nobody can append to."""

    def __init__(
        self, ident: str, events: Sequence[Event], keyring: Keyring, head: Head, hashes: Mapping[int, str] | None = None
    ) -> None:
        self.id = ident
        self._known = keyring
        self._at = head
        self._hashes = hashes if hashes is not None else {event.seq: event.hash for event in events}
        self._all = sorted(events, key=lambda event: event.seq)
        self._kinds: dict[str, list[Event]] = {}
        for event in self._all:
            self._kinds.setdefault(event.kind, []).append(event)
        self._tables: Engine | None = None
        self._named = {event.digest: event for event in self._all}

    def events(self, kind: str | Collection[str] | None = None, since: int = 0) -> Iterator[Event]:
        """As :meth:`Ledger.events`."""
        if isinstance(kind, str):
            found = self._kinds.get(kind, [])
        else:
            found = [e for e in self._all if not kind or e.kind in kind]
        return (event for event in found if event.seq > since)

    def get(self, digest: str) -> Event:
        """As :meth:`Ledger.get`.

        Raises:
            NotFound: not among these.
        """
        if digest not in self._named:
            raise NotFound("no such event here", got=digest)
        return self._named[digest]

    def head(self) -> Head:
        """The end of the chain that these events come from."""
        return self._at

    def hash_at(self, seq: int) -> str | None:
        """As :meth:`Ledger.hash_at`, for places of the chain that hold no event here as well."""
        return self._hashes.get(seq)

    def digests(self) -> list[str]:
        """Digest of every event, in order."""
        return [event.digest for event in self._all]

    def keyring(self) -> Keyring:
        """Who might sign."""
        return self._known

    def read(self) -> Connection:
        """Projections of these events, made in memory when they are first asked for."""
        if self._tables is None:
            self._tables = create_engine("sqlite://", poolclass=StaticPool)
            with self._tables.begin() as connection:
                tables.metadata.create_all(connection)
                if self._all:
                    connection.execute(insert(tables.events), rows_of(self._all))
                projections.project(connection, self._all)
        return self._tables.connect()

    def close(self) -> None:
        """Forget the projections."""
        if self._tables is not None:
            self._tables.dispose()


class Lid(Objects):
    """A store that is read, and keeps in memory what is put."""

    def __init__(self, inner: Objects) -> None:
        self.inner = inner
        self.url = inner.url
        self.held: dict[str, bytes] = {}

    def has(self, digest: str) -> bool:
        """Whether an object is here or was put."""
        return digest in self.held or self.inner.has(digest)

    def put_bytes(self, data: bytes) -> str:
        """Keep bytes in memory."""
        digest = sha256(data)
        self.held[digest] = data
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes of a digest, checked; what the store holds goes first, for that is what is looked at."""
        return self.held[digest] if digest in self.held and not self.inner.has(digest) else self.inner.get(digest)

    def put_file(self, path: Path) -> str:
        """Keep a file's bytes in memory."""
        return self.put_bytes(path.read_bytes())

    def check(self, digest: str) -> None:
        """As the store itself."""
        self.inner.check(digest)

    def digests(self) -> Iterator[str]:
        """As the store itself."""
        return self.inner.digests()

    def delete(self, digest: str) -> None:
        """Nothing goes from under a lid.

        Raises:
            RecordError: always.
        """
        raise RecordError("a store that is only read", got=digest)

    def size(self, digest: str) -> int:
        """As the store itself."""
        return self.inner.size(digest)

    def path(self, digest: str) -> Path:
        """As the store itself."""
        return self.inner.path(digest)

    def local(self, digest: str) -> Path:
        """As the store itself."""
        return self.inner.local(digest)

    def ends(self, digest: str) -> tuple[bytes, bytes]:
        """As the store itself."""
        return self.inner.ends(digest)


class Reading(Workspace):
    """A workspace made of events and a store, for functions that read one."""

    def __init__(self, root: Path, ledger: EventList, store: Objects) -> None:
        self.root = root
        self.settings = {}
        self.id = ledger.id
        self.name = ""
        self.ledger: Ledger = ledger
        self.store: Objects = Lid(store)
        self.cache = root / "cache"
        self._signers = {}

    def get_json(self, digest: str) -> Any:
        """As :meth:`Workspace.get_json`, and canonical: no key twice, no number in another form, no second reading.

        Raises:
            NotFound: not in the store.
            Tampered: other bytes, or not canonical JSON.
        """
        try:
            return read_canonical(self.store.get(digest))
        except ValueError as error:
            raise Tampered("not canonical JSON", got=error, where=digest[:12]) from error


NOWHERE = Head(0, GENESIS)
"""Before the first record."""
