"""Bundles: a part of a record as plain files that somebody else can verify, offline and without the workspace.

::

    bundle.json        what it is about, what was left out, and the digest of every other file
    bundle.dsse.json   the same, signed (DSSE) by a key of the ledger
    ledger.jsonl       every record of the chain, one line each; a withheld one has its links and no payload
    objects/           the documents that the shown records name, by digest, as a workspace keeps them
    ...                files for people, which the rest does not rest on

A withheld record still has its place: sequence, digest and chain hash hold, so none can be added, dropped or moved.
What a withheld record *says* is nobody's to check; its kind and why it is withheld are the maker's word, signed. Where
the records of keys are withheld, because they name persons, the keys themselves are listed: that such a key belongs to
the ledger is the maker's word too.

What goes into a bundle is decided by whoever makes it, see :mod:`worldgate.fleet.bundle`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldgate.core.atomic import atomic_dir
from worldgate.core.config import decode
from worldgate.core.digest import canonical, digest_file, read_canonical, sha256, short
from worldgate.core.errors import DataRefused, SchemaTooNew, Tampered, UsageError
from worldgate.record.events import is_digest
from worldgate.record.keys import PublicKey, Role
from worldgate.record.ledger import Head
from worldgate.record.signing import sign_statement, statement_type
from worldgate.record.stores import Objects, open_store
from worldgate.record.workspace import Workspace

SCHEMA = "worldgate/bundle/1"
MANIFEST, ENVELOPE, LEDGER, OBJECTS = "bundle.json", "bundle.dsse.json", "ledger.jsonl", "objects"
TYPE = statement_type("bundle")
UNLISTED = frozenset({MANIFEST, ENVELOPE, "done"})
"""Files that the manifest cannot or need not name."""
REDACTED = "redacted"
"""Begins the reason why something is withheld that belongs to the story; other reasons say that it does not."""
GATES_READ = frozenset(
    {"deployment.desired", "deployment.reported", "evidence.made", "exposure.recorded", "gate.decided", "gate.waived"}
    | {"gate.withdrawn", "gate_policy.registered", "key.revoked", "plan.registered", "release.registered"}
    | {"scenario.made", "slot.configured", "suite.made", "trial.run"}
)
"""Kinds of record that decisions are computed from."""
_ROW = {"digest", "hash", "kind", "ledger", "origin_seq", "payload", "seq", "signature", "why"}


@dataclass(frozen=True, slots=True, kw_only=True)
class VouchedKey:
    """A key whose own record is withheld."""

    ledger: str
    keyid: str
    public: str
    role: Role
    owner: str
    """A pseudonym, the same for all keys of one person."""
    added: int
    """Place of the withheld record in its ledger."""

    def key(self) -> PublicKey:
        """The key, named by its pseudonym."""
        return PublicKey(keyid=self.keyid, public=self.public, name=self.owner, owner=self.owner, role=self.role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bundle says of itself."""

    schema: str = SCHEMA
    ledger: str
    head: Head
    made_at_ns: int
    signer: str
    """Id of the key that signed the manifest."""
    decision: str
    """Digest of the decision it is about."""
    decision_seq: int
    """The record that made it."""
    redacted: tuple[str, ...] = ()
    """What was redacted: persons, serials, sites, words."""
    withheld: Mapping[str, str] = field(default_factory=dict)
    """Objects that shown records name and that are not here: digest -> why."""
    keys: tuple[VouchedKey, ...] = ()
    witness: Head | None = None
    """A head that somebody else is said to have kept."""
    files: Mapping[str, str]
    """Relative path -> SHA-256 of every file but the objects and the manifest itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What goes into a bundle."""

    decision: str
    decision_seq: int
    head: Head
    made_at_ns: int
    why: Mapping[int, str]
    """Records that are withheld: sequence -> why."""
    objects: Sequence[str]
    """Documents that are copied."""
    withheld: Mapping[str, str]
    """Documents that are not: digest -> why."""
    redacted: tuple[str, ...] = ()
    keys: tuple[VouchedKey, ...] = ()
    witness: Head | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)


def write(ws: Workspace, folder: Path, contents: Contents, *, key: str | None = None) -> Manifest:
    """Write a bundle, whole or not at all. The same contents give the same bytes.

    Args:
        ws: the workspace it is cut from.
        folder: where; must not exist.
        contents: what goes in.
        key: name of the key that signs the manifest; None: the program's own.

    Raises:
        AlreadyExists: the folder exists.
        UsageError: a file in the place of one that every bundle has.
    """
    taken = sorted(n for n in contents.files if n in UNLISTED | {LEDGER} or n.split("/")[0] in ("", "..", OBJECTS))
    if taken:
        raise UsageError("a file in the place of a bundle's own", got=taken[0], where=folder)
    signer = ws.signer(key)
    with atomic_dir(folder) as partial:
        files = {**contents.files, LEDGER: b"".join(_lines(ws, contents))}
        documents = {f"{OBJECTS}/{digest[:2]}/{digest[2:]}": ws.store.get(digest) for digest in contents.objects}
        for name, data in {**documents, **files}.items():
            path = partial / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        manifest = Manifest(
            ledger=ws.id,
            head=contents.head,
            made_at_ns=contents.made_at_ns,
            signer=signer.public_key.keyid,
            decision=contents.decision,
            decision_seq=contents.decision_seq,
            redacted=contents.redacted,
            withheld=contents.withheld,
            keys=contents.keys,
            witness=contents.witness,
            files={name: sha256(data) for name, data in files.items()},
        )
        told = canonical(manifest)
        (partial / MANIFEST).write_bytes(told)
        (partial / ENVELOPE).write_bytes(canonical(sign_statement(told, TYPE, signer)))
    return manifest


def _lines(ws: Workspace, contents: Contents) -> Iterator[bytes]:
    for event in ws.ledger.events():
        if event.seq > contents.head.seq:
            return
        why = contents.why.get(event.seq, "")
        row = {
            "digest": event.digest,
            "hash": event.hash,
            "kind": event.kind,
            "ledger": event.ledger,
            "origin_seq": event.origin_seq,
            "payload": None if why else event.payload.decode(),
            "seq": event.seq,
            "signature": "" if why else event.signature.hex(),
            "why": why,
        }
        yield canonical(row) + b"\n"


def is_bundle(folder: Path) -> bool:
    """Whether a folder holds a bundle."""
    return (folder / MANIFEST).is_file()


class Bundle:
    """A bundle at hand; nothing in it is believed until it is verified.

    Raises:
        Tampered: no manifest that can be read.
        SchemaTooNew: made by a newer Worldgate.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.told = (folder / MANIFEST).read_bytes()
            tree = read_canonical(self.told)
            if isinstance(tree, dict) and str(tree.get("schema", "")).startswith("worldgate/bundle/"):
                _refuse_newer(str(tree["schema"]), folder)
            self.manifest = decode(Manifest, tree, where=MANIFEST)
            if self.manifest.schema != SCHEMA:
                raise ValueError("the manifest of something else")
            if canonical(self.manifest) != self.told:
                raise ValueError("a field of another type")
        except (OSError, ValueError, TypeError, UsageError) as error:
            raise Tampered("not a bundle", got=str(error)[:120], where=folder / MANIFEST) from error
        self.store: Objects = open_store(str(folder / OBJECTS), cache=folder / "cache")

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every line of the ledger as a row; a payload is None where it is withheld.

        Raises:
            Tampered: a line that is none.
        """
        path = self.folder / LEDGER
        if not path.is_file():
            raise Tampered("no ledger in this bundle", where=path)
        for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
            yield _row(line, number)

    def wrong_files(self) -> Iterator[str]:
        """Files that are missing, other than the manifest says, or not named by it."""
        for name, digest in sorted(self.manifest.files.items()):
            path = self.folder / name
            if ".." in Path(name).parts or Path(name).is_absolute() or not path.is_file():
                yield f"file {name!a} is missing"
            elif digest_file(path) != digest:
                yield f"file {name} is not the one that was signed"
        if LEDGER not in self.manifest.files:
            yield f"the manifest does not name {LEDGER}"
        for path in sorted(p for p in self.folder.rglob("*") if not p.is_dir()):
            name = path.relative_to(self.folder).as_posix()
            if name not in self.manifest.files and name not in UNLISTED and not name.startswith(f"{OBJECTS}/"):
                yield f"file {name!a} is not part of it"


def _refuse_newer(schema: str, folder: Path) -> None:
    version = schema.rsplit("/", 1)[-1]
    if version.isdecimal() and int(version) > 1:
        raise SchemaTooNew(
            f"this bundle has schema {schema}, this program knows {SCHEMA}",
            got=schema,
            where=folder,
            hint="pip install --upgrade worldgate",
        )


def _row(line: bytes, number: int) -> dict[str, Any]:
    try:
        row = read_canonical(line)
        if not isinstance(row, dict) or set(row) != _ROW:
            raise ValueError("not the fields of a record")
        texts = all(isinstance(row[key], str) for key in ("digest", "hash", "kind", "ledger", "signature", "why"))
        numbers = all(type(row[key]) is int for key in ("seq", "origin_seq"))
        held = isinstance(row["payload"], str) and not row["why"]
        if not (texts and numbers and is_digest(row["digest"]) and (held or (row["payload"] is None and row["why"]))):
            raise ValueError("not a record")
        payload = row["payload"].encode() if held else None
        return {**row, "payload": payload, "signature": bytes.fromhex(row["signature"])}
    except (ValueError, UsageError) as error:
        raise Tampered("a line that is no record", got=str(error)[:80], where=f"{LEDGER}:{number}") from error


def check_contents(contents: Contents) -> None:
    """Refuse a bundle that withholds the very decision it is about without saying so.

    Raises:
        DataRefused: the decision's document is neither in it nor named as withheld.
    """
    if contents.decision not in contents.objects and contents.decision not in contents.withheld:
        raise DataRefused("a bundle without the decision it is about", got=short(contents.decision))
