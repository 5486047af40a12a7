"""A workspace: one folder with a ledger, the objects it speaks of, keys, and room for caches and runs.

::

    worldgate.toml   schema version, id of the ledger, name, whose workspace it is; where it lies elsewhere, its store
    ledger.db        signed events and their projections
    objects/         bytes by digest, unless a bucket holds them
    keys/            private keys; folder 0700, files 0600
    cache/           disposable
    runs/            training runs and reports
"""

from __future__ import annotations

import dataclasses
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from securesystemslib.signer import CryptoSigner
from sqlalchemy import ColumnElement, func, or_, select

from worldgate.core.atomic import write_atomic
from worldgate.core.config import read_toml
from worldgate.core.digest import canonical, read_json
from worldgate.core.errors import AlreadyExists, AmbiguousId, ConfigError, NotFound, Tampered
from worldgate.core.names import Name
from worldgate.record import keys, tables
from worldgate.record.events import Draft, Event, Ref, is_digest
from worldgate.record.keys import Role
from worldgate.record.ledger import Ledger, refuse_newer
from worldgate.record.stores import Objects, open_store

FILE = "worldgate.toml"
SERVICE = Name("service")
"""The key that signs what the program does on its own."""

_SHORTEST = 4


class Workspace:
    """A folder that holds a record; made by :meth:`init`, found by :meth:`open`."""

    def __init__(self, root: Path) -> None:
        self.file = root / FILE
        self.settings: Mapping[str, Any] = read_toml(self.file)
        """What ``worldgate.toml`` holds."""
        settings = self.settings
        try:
            refuse_newer(settings["schema"], where=root / FILE)
            self.person = Name(settings["person"])
            """The person whose key is the root of trust."""
            self.name: str = settings["name"]
            self.id: str = settings["id"]
        except (KeyError, TypeError) as error:
            raise ConfigError("not the file of a workspace", got=f"no {error}", where=root / FILE) from error
        self.root = root
        self.ledger = Ledger(root / "ledger.db")
        if self.ledger.id != self.id:
            raise Tampered("a ledger of another workspace", got=self.ledger.id, where=root / FILE)
        self.cache = root / "cache"
        """Disposable: everything in it can be made again."""
        self.store: Objects = open_store(str(settings.get("store") or root / "objects"), cache=self.cache)
        self.runs = root / "runs"
        self._signers: dict[Name, CryptoSigner] = {}

    @classmethod
    def init(cls, path: Path | str, *, person: str, name: str = "", store: str = "") -> Workspace:
        """Make a workspace with its ledger, store and first two keys: the person's, and one for the program itself.

        Args:
            path: a folder, made if need be; must not hold a workspace.
            person: whose key becomes the root of trust.
            name: what people call the workspace; the folder's name if empty.
            store: URL of a bucket that holds the objects; empty: the folder ``objects``.

        Raises:
            AlreadyExists: a workspace, or files in its place.
            NameRefused: an unusable name.
            ConfigError: a URL that is none, or with credentials in it.
            RecordError: a store that does not keep what it is given.
        """
        root, who = Path(path).absolute(), Name(person)
        title = Name(name or (root.name if root.name.isascii() else "workspace"))
        for part in (FILE, "ledger.db", "objects", "keys"):
            if (root / part).exists():
                half = f"an init that broke off: remove {part} and its like" if not (root / FILE).exists() else None
                hint = half or "choose another folder"
                raise AlreadyExists("there is a workspace already", where=root / part, hint=hint)
        if store and "://" not in store:
            raise ConfigError("not the URL of a store", got=store, hint="for example s3://bucket/prefix")
        root.mkdir(parents=True, exist_ok=True)
        for folder in ("cache", "runs") if store else ("objects", "cache", "runs"):
            (root / folder).mkdir(exist_ok=True)
        if store:
            open_store(store, cache=root / "cache").put_bytes(b"worldgate\n")  # learn now whether it can be used
        (root / "keys").mkdir(mode=0o700)
        ident = uuid.uuid4().hex
        ledger = Ledger.create(root / "ledger.db", ledger=ident)
        signer = keys.generate(root / "keys", who)
        own = keys.public_key(signer, name=who, owner=who, role=Role.PERSON)
        service = keys.generate(root / "keys", SERVICE)
        served = keys.public_key(service, name=SERVICE, owner=who, role=Role.SERVICE)
        ledger.append_many([Draft(kind=keys.ADDED, body=key.body(), name=key.name) for key in (own, served)], signer)
        ledger.close()
        lines = [f"schema = {tables.SCHEMA}", f'id = "{ident}"', f'name = "{title}"', f'person = "{who}"']
        lines += [f"store = {json.dumps(store)}"] if store else []
        write_atomic(root / FILE, ("\n".join(lines) + "\n").encode())
        return cls(root)

    @classmethod
    def open(cls, path: Path | str | None = None) -> Workspace:
        """Open a workspace.

        Args:
            path: its folder; None: ``$WORLDGATE_WORKSPACE``, else the nearest parent folder that holds one.

        Raises:
            NotFound: none there.
            SchemaTooNew: written by a newer Worldgate.
        """
        if path is None:
            path = os.environ.get("WORLDGATE_WORKSPACE") or _nearest(Path.cwd())
        root = Path(path).absolute()
        if not (root / FILE).is_file():
            raise NotFound("no workspace here", where=root, hint="worldgate init")
        return cls(root)

    def close(self) -> None:
        """Close the ledger."""
        self.ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(
        self,
        kind: str,
        *,
        body: Any,
        inputs: Sequence[Ref] = (),
        outputs: Sequence[Ref] = (),
        name: str = "",
        valid_from_ns: int | None = None,
        valid_to_ns: int | None = None,
        valid_err_ns: int = 0,
        clock: str = "utc",
        actor: str | None = None,
        recorded_at_ns: int | None = None,
    ) -> Event:
        """Sign an event and append it; durable when it returns. See :class:`worldgate.record.events.Draft`.

        Args:
            kind: ``dataset.made``, ``gate.decided`` …
            body: a mapping or a dataclass.
            inputs: what it was made from.
            outputs: what it made.
            name: name of the first output.
            valid_from_ns: since when the fact holds.
            valid_to_ns: until when.
            valid_err_ns: bound on the error of both.
            clock: whose clock that is.
            actor: name of the key that signs; None: the program's own.
            recorded_at_ns: when it was learned; None: now.

        Raises:
            NotAuthorised: this key may not do this.
            UsageError: a body without a JSON form.
        """
        draft = Draft(
            kind=kind,
            body=body,
            inputs=inputs,
            outputs=outputs,
            name=name,
            valid_from_ns=valid_from_ns,
            valid_to_ns=valid_to_ns,
            valid_err_ns=valid_err_ns,
            clock=clock,
            recorded_at_ns=recorded_at_ns,
        )
        return self.record_many([draft], actor=actor)[0]

    def record_many(self, drafts: Sequence[Draft], *, actor: str | None = None) -> list[Event]:
        """Sign and append events in one transaction: all or none.

        Raises:
            NotAuthorised: this key may not do this.
            UsageError: a body without a JSON form.
        """
        with_objects = [dataclasses.replace(draft, objects=self._held(draft)) for draft in drafts]
        return self.ledger.append_many(with_objects, self.signer(actor))

    def signer(self, name: str | None = None) -> CryptoSigner:
        """The private key of this name; None: the program's own.

        Raises:
            NotFound: no such key file.
            NotAuthorised: a key file that others can read.
        """
        key = Name(name or SERVICE)
        if key not in self._signers:
            self._signers[key] = keys.load(self.root / "keys", key)
        return self._signers[key]

    def add_key(self, name: str, *, owner: str, role: Role = Role.PERSON, by: str | None = None) -> str:
        """Make a key and add it to the ledger; returns its key id.

        Args:
            name: of the key and its file.
            owner: the person it belongs to, or who answers for the robot or service.
            role: whose key it is.
            by: name of the person's key that adds it; None: the workspace's own person.

        Raises:
            AlreadyExists: a key of this name.
            NotAuthorised: ``by`` is no person's key, or revoked.
        """
        adder = self.signer(by or self.person)
        made = keys.generate(self.root / "keys", Name(name))
        key = keys.public_key(made, name=Name(name), owner=Name(owner), role=role)
        self.ledger.append(Draft(kind=keys.ADDED, body=key.body(), name=key.name), adder)
        return key.keyid

    def revoke_key(self, keyid: str, *, reason: str, by: str | None = None) -> Event:
        """Revoke a key: nothing it signs from now on counts.

        Raises:
            NotFound: no such key on this ledger.
            NotAuthorised: ``by`` is no person's key, or revoked.
        """
        if self.ledger.keyring().find(keyid) is None:
            raise NotFound("no such key on this ledger", got=keyid, hint="worldgate record keys")
        draft = Draft(kind=keys.REVOKED, body={"keyid": keyid, "reason": reason})
        return self.ledger.append(draft, self.signer(by or self.person))

    def trust_ledger(self, ledger: str, *, root: str, by: str | None = None) -> Event:
        """Vouch for another ledger, so that its events can be imported.

        Args:
            ledger: its id.
            root: key id of its first event; learn it from its people, not from its file.
            by: name of the person's key that vouches; None: the workspace's own person.
        """
        return self.ledger.append(
            Draft(kind=keys.TRUSTED, body={"ledger": ledger, "root": root}), self.signer(by or self.person)
        )

    def put_json(self, value: Any) -> str:
        """Keep canonical JSON in the store; returns its digest."""
        return self.store.put_bytes(canonical(value))

    def get_json(self, digest: str) -> Any:
        """Read JSON from the store; ``*_ns`` values are integers again.

        Raises:
            NotFound: not in the store.
            Tampered: other bytes, or not JSON.
        """
        try:
            return read_json(self.store.get(digest))
        except ValueError as error:
            raise Tampered("not JSON", got=error, where=f"{self.store.url}: {digest}") from error

    def resolve(self, text: str, kind: str | None = None) -> Ref:
        """What an id means: a digest, a unique prefix of one (4 digits or more), or a unique name.

        An event's own digest resolves to the kind ``event``.

        Raises:
            NotFound: nothing of this id.
            AmbiguousId: several; the hint lists them.
        """
        found: dict[str, Ref] = {}
        for ref in self._matching(text):
            if kind in (None, ref.kind):
                held = found.get(ref.digest)
                found[ref.digest] = held if held is not None and (held.name or not ref.name) else ref
        if not found:
            raise NotFound(f"no such {kind or 'id'}", got=ascii(text)[:80], where=self.root, hint="worldgate show")
        if len(found) > 1:
            some = ", ".join(f"{ref.kind} {ref.digest[:12]}" for ref in list(found.values())[:4])
            raise AmbiguousId("this fits several ids", got=ascii(text)[:80], where=self.root, hint=f"one of {some}")
        return next(iter(found.values()))

    def artifacts(self, kind: str) -> list[Ref]:
        """Everything of a kind that was made, newest last."""
        table, edges = tables.artifacts.c, tables.edges.c
        query = (
            select(table.kind, table.digest, edges.name)
            .join_from(tables.artifacts, tables.edges, (edges.event == table.event) & (edges.digest == table.digest))
            .where(table.kind == kind, edges.kind == kind, edges.role == "output")
            .order_by(table.recorded_at_ns, table.event, edges.position)
        )
        with self.ledger.read() as connection:
            found = [Ref(*row) for row in connection.execute(query)]
        return list({ref.digest: ref for ref in found}.values())

    def kinds(self) -> dict[str, int]:
        """How many artefacts of each kind were made, by kind."""
        table = tables.artifacts.c
        query = select(table.kind, func.count(table.digest.distinct())).group_by(table.kind).order_by(table.kind)
        with self.ledger.read() as connection:
            return dict(connection.execute(query).all())

    def _matching(self, text: str) -> Iterator[Ref]:
        edges, events = tables.edges.c, tables.events.c
        match: ColumnElement[bool] = (edges.name == text) & (edges.name != "")
        is_prefix = _SHORTEST <= len(text) <= 64 and is_digest(text.ljust(64, "0"))
        if is_prefix:
            match = or_(match, edges.digest.between(text, text.ljust(64, "g")))
        bare = edges.role == "object"
        query = select(edges.kind, edges.digest, edges.name).where(match).order_by(bare, edges.role.desc(), edges.event)
        with self.ledger.read() as connection:
            yield from [Ref(*row) for row in connection.execute(query)]
            if is_prefix:
                matching = select(events.digest).where(events.digest.between(text, text.ljust(64, "g")))
                yield from [Ref("event", digest) for digest in connection.scalars(matching)]

    def _held(self, draft: Draft) -> list[str]:
        """Every digest that a draft mentions and whose bytes are in the store."""
        mentioned = {ref.digest for ref in (*draft.inputs, *draft.outputs)} | set(_digests(draft.body))
        return sorted(digest for digest in mentioned if self.store.has(digest))


def _digests(value: Any) -> Iterator[str]:
    if is_digest(value):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _digests(item)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _digests(getattr(value, field.name))
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for item in value:
            yield from _digests(item)


def _nearest(start: Path) -> Path:
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            return folder
    raise NotFound("no workspace in this folder or above it", where=start, hint="worldgate init")
