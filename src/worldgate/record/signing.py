"""DSSE envelopes: what is signed is the payload together with its type, so that no statement passes for another.

Source: https://github.com/secure-systems-lab/dsse (v1), through securesystemslib. Ed25519 only.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import Key, Signer

from worldgate.core.errors import Tampered

EVENT_TYPE = "application/vnd.worldgate.event.v1+json"


def statement_type(name: str) -> str:
    """The payload type of a statement that stands outside the ledger: ``decision``, ``receipt``, ``approval``."""
    return f"application/vnd.worldgate.{name}.v1+json"


def sign_statement(payload: bytes, payload_type: str, signer: Signer) -> dict[str, Any]:
    """Sign bytes of a type: a DSSE envelope as plain JSON, ``{payload, payloadType, signatures}``."""
    envelope = Envelope(payload, payload_type, {})
    envelope.sign(signer)
    return dict(envelope.to_dict())


def verify_envelope(
    envelope: Mapping[str, Any], payload_type: str, keys: Sequence[Key], *, threshold: int = 1
) -> bytes:
    """The payload of an envelope that enough of these keys signed as this type.

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
    if envelope["payloadType"] != payload_type:
        raise Tampered("a statement of another type", got=ascii(envelope["payloadType"])[:80], hint=payload_type)
    try:
        parsed = Envelope.from_dict({**envelope, "signatures": [dict(item) for item in envelope["signatures"]]})
        parsed.verify(list(keys), threshold)
    except (VerificationError, ValueError, TypeError, KeyError, AttributeError, binascii.Error) as error:
        raise Tampered("a signature that does not hold", got=str(error)[:120]) from error
    return bytes(parsed.payload)


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
