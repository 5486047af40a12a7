"""Keys of persons, robots and services: Ed25519, private halves in files of mode 0600, public halves on the ledger.

A key id is the SHA-256 of the 32 public bytes. The first event of a ledger is a person's key signed by itself: the root
of trust. Every later key is added by a person's key that is good at that moment; a revoked key is good for nothing
recorded after the revocation and never comes back. Approvals count persons, not keys.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from securesystemslib.signer import CryptoSigner, SSlibKey

from worldgate.core.atomic import write_atomic
from worldgate.core.digest import sha256
from worldgate.core.errors import NotAuthorised, NotFound, Tampered
from worldgate.core.names import Name
from worldgate.record.events import Event

ADDED = "key.added"
REVOKED = "key.revoked"
TRUSTED = "ledger.trusted"
"""A person vouches for another ledger: body ``{ledger, root}``, the key id of its first event."""
KEY_KINDS = (ADDED, REVOKED, TRUSTED)
ERASED = "object.erased"
"""A person lets bytes go; see :mod:`worldgate.record.erasure`."""
WITHDRAWN = "gate.withdrawn"
"""A person takes an approval or a waiver back; see :mod:`worldgate.evidence.persons`."""
PERSONS_ONLY = (*KEY_KINDS, ERASED, WITHDRAWN, "log.hold_lifted")


class Role(StrEnum):
    """Whose key it is. Only a person may add keys, revoke them, trust ledgers, lift holds, erase or approve."""

    PERSON = "person"
    ROBOT = "robot"
    SERVICE = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A public key as its ``key.added`` event tells it."""

    keyid: str
    public: str
    """The 32 public bytes, in hex."""
    name: str
    """Name of the key, and of the file that holds its private half."""
    owner: str
    """The person it belongs to, or who answers for the robot or service."""
    role: Role

    def sslib(self) -> SSlibKey:
        """The key as securesystemslib takes it."""
        return SSlibKey(self.keyid, "ed25519", "ed25519", {"public": self.public})

    def body(self) -> dict[str, str]:
        """Body of its ``key.added`` event."""
        return {
            "keyid": self.keyid,
            "name": self.name,
            "owner": self.owner,
            "public": self.public,
            "role": self.role.value,
            "scheme": "ed25519",
        }


def _signer(private: Ed25519PrivateKey) -> CryptoSigner:
    raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return CryptoSigner(private, SSlibKey(sha256(raw), "ed25519", "ed25519", {"public": raw.hex()}))


def public_key(signer: CryptoSigner, *, name: Name, owner: Name, role: Role) -> PublicKey:
    """What is told of a signer's key."""
    key = signer.public_key
    return PublicKey(keyid=key.keyid, public=key.keyval["public"], name=name, owner=owner, role=role)


def generate(folder: Path, name: Name) -> CryptoSigner:
    """Make a key and keep its private half in ``folder/name.pem``, readable by its owner only.

    Raises:
        AlreadyExists: a key of this name; no key is ever overwritten.
    """
    signer = _signer(Ed25519PrivateKey.generate())
    write_atomic(folder / f"{name}.pem", signer.private_bytes, mode=0o600)
    return signer


def load(folder: Path, name: Name) -> CryptoSigner:
    """Read a private key.

    Raises:
        NotFound: no such key file.
        NotAuthorised: a key file that others can read.
        Tampered: not an Ed25519 key in PEM.
    """
    path = folder / f"{name}.pem"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.pem"))) or "none"
        raise NotFound("no such key", got=name, where=folder, hint=f"one of {known}")
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise NotAuthorised("a private key that others can read", where=path, hint=f"chmod 600 {path}")
    try:
        private = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise Tampered("not a private key", got=str(error)[:80], where=path) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise Tampered("not an Ed25519 key", got=type(private).__name__, where=path)
    return _signer(private)


@dataclass(slots=True)
class _Standing:
    """A key's time on one ledger, in that ledger's own sequence."""

    key: PublicKey
    added: int
    revoked: int | None = None


class Keyring:
    """Which keys were good when, on each ledger, as the key events tell.

    Args:
        home: the id of the ledger whose root needs no vouching.
    """

    def __init__(self, home: str) -> None:
        self.home = home
        self._events: dict[str, dict[int, Event]] = {}
        self._standing: dict[str, dict[str, _Standing]] = {}
        self._trusted: dict[str, str] = {}
        self._vouched: dict[str, dict[str, _Standing]] = {}

    def add(self, events: Iterable[Event]) -> None:
        """Learn key events, in any order; learning one twice changes nothing."""
        touched = set()
        for event in events:
            if event.kind in KEY_KINDS:
                self._events.setdefault(event.ledger, {})[event.origin_seq] = event
                touched.add(event.ledger)
        if self.home in touched:
            self._replay(self.home)
            touched = set(self._events) - {self.home}  # what home trusts may have changed
        for ledger in touched:
            self._replay(ledger)

    def blank(self) -> Keyring:
        """A keyring that knows what this one was told on somebody's word, and no event."""
        out = Keyring(self.home)
        for ledger, told in self._vouched.items():
            for standing in told.values():
                out.vouch(ledger, standing.key, added=standing.added)
        return out

    def vouch(self, ledger: str, key: PublicKey, *, added: int) -> None:
        """Learn a key on somebody's word, where the record that added it is withheld. Records go before words.

        Args:
            ledger: whose key.
            key: the key.
            added: place of the withheld record in that ledger.

        Raises:
            ValueError: a key id that is not the digest of its public bytes.
        """
        if key.keyid != sha256(bytes.fromhex(key.public)):
            raise ValueError("a key id that does not name its key")
        self._vouched.setdefault(ledger, {}).setdefault(key.keyid, _Standing(key, added))
        self._events.setdefault(ledger, {})
        self._replay(ledger)

    def authorise(self, keyid: str, *, ledger: str, seq: int, kind: str) -> PublicKey:
        """The key that may sign an event of this kind at this place of its own ledger.

        Raises:
            NotAuthorised: unknown, not yet added, revoked, or a kind that needs a person.
        """
        standing = self._standing.get(ledger, {}).get(keyid)
        if standing is None or seq < standing.added:
            raise NotAuthorised(
                "signed by a key that the ledger does not know",
                got=keyid[:12],
                where=f"ledger {ledger[:12]} record {seq}",
                hint="worldgate record keys",
            )
        if standing.revoked is not None and seq > standing.revoked:
            raise NotAuthorised(
                f"signed by {standing.key.name}, revoked in record {standing.revoked}",
                got=keyid[:12],
                where=f"ledger {ledger[:12]} record {seq}",
            )
        if kind in PERSONS_ONLY and standing.key.role is not Role.PERSON:
            raise NotAuthorised(f"a {standing.key.role} key may not do this", got=kind, hint="sign with a person's key")
        return standing.key

    def admit(self, event: Event) -> PublicKey:
        """The key that may have signed this event, what it says of keys included.

        A key in somebody's name is added by themselves or by the person of the ledger's root: else whoever may add keys
        could approve their own release in another person's name.

        Raises:
            NotAuthorised: as :meth:`authorise`, or a key in somebody else's name.
        """
        signer = self.authorise(event.actor, ledger=event.ledger, seq=event.origin_seq, kind=event.kind)
        root = self.find(self.root(event.ledger) or "", ledger=event.ledger)
        if event.kind == ADDED and event.actor != event.body.get("keyid"):
            owner = event.body.get("owner")
            if signer.owner != owner and (root is None or signer.owner != root.owner):
                raise NotAuthorised(
                    "only its owner or the person of the root adds a key in somebody's name",
                    got=f"{signer.owner} for {str(owner)[:40]}",
                    where=f"ledger {event.ledger[:12]} record {event.origin_seq}",
                )
        return signer

    def keys(self, ledger: str | None = None) -> list[tuple[PublicKey, bool]]:
        """Every key of a ledger in the order added, and whether it is still good."""
        known = self._standing.get(ledger or self.home, {})
        return [(s.key, s.revoked is None) for s in sorted(known.values(), key=lambda s: s.added)]

    def find(self, keyid: str, *, ledger: str | None = None) -> PublicKey | None:
        """What is known of a key, good or not."""
        standing = self._standing.get(ledger or self.home, {}).get(keyid)
        return standing.key if standing else None

    def good(self, keyid: str, *, ledger: str | None = None) -> PublicKey | None:
        """A key of a ledger, unless any ledger known here has revoked it: whoever stole it may have signed before."""
        if any(keyid in known and known[keyid].revoked is not None for known in self._standing.values()):
            return None
        return self.find(keyid, ledger=ledger)

    def persons(self, keyids: Iterable[str], *, ledger: str | None = None) -> frozenset[str]:
        """The persons behind these keys: one with two keys counts once, robots and services not at all."""
        found = (self.find(keyid, ledger=ledger) for keyid in keyids)
        return frozenset(key.owner for key in found if key is not None and key.role is Role.PERSON)

    def root(self, ledger: str | None = None) -> str | None:
        """Key id of a ledger's root, where that is trusted."""
        known = self._standing.get(ledger or self.home, {})
        return next((keyid for keyid, standing in known.items() if standing.added == 1), None)

    def _replay(self, ledger: str) -> None:
        said = self._vouched.get(ledger, {})
        self._standing[ledger] = {keyid: _Standing(held.key, held.added) for keyid, held in said.items()}
        if ledger == self.home:
            self._trusted = {}
        for seq, event in sorted(self._events[ledger].items()):
            try:
                self._apply(event, seq)
            except (NotAuthorised, KeyError, ValueError, TypeError):
                continue  # an event that may not speak of keys says nothing of them; verify names it

    def _apply(self, event: Event, seq: int) -> None:
        known = self._standing[event.ledger]
        body: dict[str, Any] = event.body
        if event.kind == ADDED:
            key = read_key(body)
            first = seq == 1 and event.actor == key.keyid and key.role is Role.PERSON
            if first and event.ledger != self.home and self._trusted.get(event.ledger) != key.keyid:
                return
            if not first:
                self.admit(event)
            known.setdefault(key.keyid, _Standing(key, seq))
            return
        self.authorise(event.actor, ledger=event.ledger, seq=seq, kind=event.kind)
        if event.kind == TRUSTED and event.ledger == self.home:
            self._trusted.setdefault(body["ledger"], body["root"])
        elif event.kind == REVOKED and known[body["keyid"]].revoked is None:
            known[body["keyid"]].revoked = seq


def read_key(body: dict[str, Any]) -> PublicKey:
    """Read the body of a ``key.added`` event.

    Raises:
        ValueError: a key id that is not the digest of the public bytes, or another scheme.
        KeyError: a field is missing.
    """
    if body["scheme"] != "ed25519" or body["keyid"] != sha256(bytes.fromhex(body["public"])):
        raise ValueError("a key id that does not name its key")
    return PublicKey(
        keyid=body["keyid"], public=body["public"], name=body["name"], owner=body["owner"], role=Role(body["role"])
    )
