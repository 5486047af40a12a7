"""DSSE envelopes: what is signed is the payload together with its type, so that no statement passes for another.

An event is signed as it is. What stands outside the ledger (decision, approval, waiver, receipt, witness) is the
predicate of an in-toto Statement, so that tools that know neither Worldgate nor its ledger can tell what it is about.
Its bytes are kept within the statement's: who reads it gets back exactly what was signed, in whatever form that was.

Sources: https://github.com/secure-systems-lab/dsse (v1), through securesystemslib, Ed25519 only; in-toto attestation
framework, Statement v1.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import Key, Signer

from worldgate.core.digest import canonical, sha256
from worldgate.core.errors import Tampered
from worldgate.record.events import is_digest

EVENT_TYPE = "application/vnd.worldgate.event.v1+json"
IN_TOTO = "application/vnd.in-toto+json"
_BEFORE = b'{"_type":"https://in-toto.io/Statement/v1","predicate":'


def statement_type(name: str) -> str:
    """The predicate type of a statement that stands outside the ledger: ``decision``, ``receipt``, ``approval``."""
    return f"urn:worldgate:{name}:v1"


def in_toto(predicate: bytes, predicate_type: str) -> bytes:
    """An in-toto Statement about what its predicate names: a subject, a release, or else the predicate itself.

    Canonical JSON if the predicate is.
    """
    name, digest = "statement", sha256(predicate)
    try:
        tree = json.loads(predicate)
    except (ValueError, RecursionError):
        tree = None
    if isinstance(tree, dict):
        subject, release = tree.get("subject"), tree.get("release")
        if isinstance(subject, dict) and is_digest(subject.get("digest")) and isinstance(subject.get("kind"), str):
            name, digest = subject["kind"], subject["digest"]
        elif is_digest(release):
            name, digest = "release", str(release)
    about = canonical([{"name": name, "digest": {"sha256": digest}}])
    return _BEFORE + predicate + b',"predicateType":' + canonical(predicate_type) + b',"subject":' + about + b"}"


def predicate_of(statement: bytes, predicate_type: str) -> bytes:
    """The predicate of a statement of one type, to the byte.

    Raises:
        Tampered: not an in-toto Statement, of another type, or about something else than its predicate names.
    """
    end = statement.rfind(b',"predicateType":')
    predicate = statement[len(_BEFORE) : max(end, len(_BEFORE))]
    if statement != in_toto(predicate, predicate_type):
        raise Tampered(
            "a statement of another type or about something else", got=ascii(statement[end:][:80]), hint=predicate_type
        )
    return predicate


def sign_statement(payload: bytes, payload_type: str, signer: Signer) -> dict[str, Any]:
    """Sign bytes of a type: a DSSE envelope as plain JSON, ``{payload, payloadType, signatures}``.

    Args:
        payload: an event, or the predicate of a statement.
        payload_type: :data:`EVENT_TYPE`, or a :func:`statement_type`.
        signer: who signs.
    """
    if payload_type != EVENT_TYPE:
        payload, payload_type = in_toto(payload, payload_type), IN_TOTO
    envelope = Envelope(payload, payload_type, {})
    envelope.sign(signer)
    return dict(envelope.to_dict())


def verify_envelope(
    envelope: Mapping[str, Any], payload_type: str, keys: Sequence[Key], *, threshold: int = 1
) -> bytes:
    """The event or predicate of an envelope that enough of these keys signed as this type.

    Args:
        envelope: as :func:`sign_statement` makes it.
        payload_type: the one type that is accepted here.
        keys: public keys; the caller decides that they may sign this.
        threshold: keys needed. Keys, not persons: see :meth:`worldgate.record.keys.Keyring.persons`.

    Raises:
        Tampered: another type, a malformed envelope, too few good signatures.
    """
    if set(envelope) != {"payload", "payloadType", "signatures"}:
        raise Tampered("not a DSSE envelope", got=", ".join(sorted(map(str, envelope)))[:80])
    wanted = EVENT_TYPE if payload_type == EVENT_TYPE else IN_TOTO
    if envelope["payloadType"] != wanted:
        raise Tampered("a statement of another type", got=ascii(envelope["payloadType"])[:80], hint=wanted)
    try:
        parsed = Envelope.from_dict({**envelope, "signatures": [dict(item) for item in envelope["signatures"]]})
        data = bytes(parsed.payload)
        found = data if payload_type == EVENT_TYPE else predicate_of(data, payload_type)
        parsed.verify(list(keys), threshold)
    except (VerificationError, ValueError, TypeError, KeyError, AttributeError, binascii.Error) as error:
        raise Tampered("a signature that does not hold", got=str(error)[:120]) from error
    return found


def read_statement(envelope: Mapping[str, Any], payload_type: str, key: Key) -> bytes:
    """The payload of a statement that one key signed: that key, this type, and not a field more.

    Raises:
        Tampered: another type or key, further signatures or fields, a signature that does not hold.
    """
    data = verify_envelope(envelope, payload_type, [key])
    if [set(item) for item in envelope["signatures"]] != [{"keyid", "sig"}]:
        raise Tampered("not one signature and nothing else", got=len(envelope["signatures"]))
    return data


def signature_bytes(envelope: Mapping[str, Any]) -> bytes:
    """The one signature of an envelope that this program made."""
    (signature,) = envelope["signatures"]
    return base64.b64decode(signature["sig"])
