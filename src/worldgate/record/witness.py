"""Witnesses: somebody else signs the head of a ledger, so that a cut tail or a re-issue shows.

A witness keeps a key of their own, on a ledger of their own, and signs ``{ledger, seq, hash}`` as a statement of type
``witness``, offline if need be. The file holds the public key, so it can be checked by anybody; whose key it is must be
learned from the witness. A key of the witnessed ledger is no witness: its holders could re-issue both.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from securesystemslib.signer import SSlibKey

from worldgate.core.atomic import write_atomic
from worldgate.core.config import decode
from worldgate.core.digest import canonical, read_canonical, sha256
from worldgate.core.errors import NotAuthorised, NotFound, Tampered, UsageError
from worldgate.record.ledger import Head, Ledger
from worldgate.record.signing import predicate_of, read_statement, sign_statement, statement_type
from worldgate.record.workspace import Workspace

SCHEMA: Final = "worldgate/witness/1"
TYPE = statement_type("witness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a witness saw."""

    schema: Literal["worldgate/witness/1"] = SCHEMA
    ledger: str
    """Id of the ledger."""
    seq: int
    hash: str
    public: str
    """The witness's 32 public bytes, in hex; their digest is the key id."""
    name: str
    """What the witness calls that key."""
    seen_ns: int

    @property
    def head(self) -> Head:
        """The head that was seen."""
        return Head(self.seq, self.hash)

    @property
    def keyid(self) -> str:
        """Key id of the witness."""
        return sha256(bytes.fromhex(self.public))


def witness(own: Workspace, ledger: Ledger, *, key: str, now_ns: int) -> dict[str, Any]:
    """Sign the head of another ledger with a key of one's own.

    Args:
        own: the witness's workspace.
        ledger: the ledger that is witnessed.
        key: name of a key of ``own``.
        now_ns: the witness's clock.

    Returns:
        A DSSE envelope; :func:`write` keeps it.

    Raises:
        NotAuthorised: a key that the witnessed ledger knows.
    """
    signer = own.signer(key)
    _refuse_own(ledger, signer.public_key.keyid)
    head = ledger.head()
    sight = Sight(
        ledger=ledger.id,
        seq=head.seq,
        hash=head.hash,
        public=signer.public_key.keyval["public"],
        name=key,
        seen_ns=now_ns,
    )
    return sign_statement(canonical(sight), TYPE, signer)


def write(path: Path, envelope: dict[str, Any]) -> None:
    """Keep a witness's statement in a file."""
    write_atomic(path, canonical(envelope))


def read(path: Path, ledger: Ledger) -> Sight:
    """What a witness saw of this ledger, if their signature holds.

    Raises:
        NotFound: no such file.
        Tampered: not a witness's statement, or a signature that does not hold.
        UsageError: about another ledger.
        NotAuthorised: signed by a key of the ledger itself.
    """
    if not path.is_file():
        raise NotFound("no such file", got=path)
    try:
        envelope = read_canonical(path.read_bytes())
        sight = decode(
            Sight,
            read_canonical(predicate_of(base64.b64decode(envelope["payload"], validate=True), TYPE)),
            where=path.name,
        )
        key = SSlibKey(sight.keyid, "ed25519", "ed25519", {"public": sight.public})
    except (UsageError, Tampered, ValueError, TypeError, KeyError) as error:
        raise Tampered("not a witness's statement", got=str(error)[:80], where=path) from error
    read_statement(envelope, TYPE, key)
    if sight.ledger != ledger.id:
        raise UsageError("a witness of another ledger", got=sight.ledger, where=path, hint=ledger.id)
    _refuse_own(ledger, sight.keyid)
    return sight


def _refuse_own(ledger: Ledger, keyid: str) -> None:
    if ledger.keyring().find(keyid) is not None:
        raise NotAuthorised("a key of the ledger itself is no witness", got=keyid[:12], hint="ask somebody outside it")
