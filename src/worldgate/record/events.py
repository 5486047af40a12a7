"""Events: what was done, from what, giving what, by whom and when. The unit of the record.

An event's payload is canonical JSON (RFC 8785); its name is the SHA-256 of that payload, whatever ledger holds it. The
sequence and chain hash that a ledger gives it are no part of it, so ledgers can exchange events without re-signing.

Payload, every key always present::

    {actor, body, clock, inputs, kind, ledger, name, objects, outputs, recorded_at_ns, valid_err_ns, valid_from_ns,
     valid_to_ns}

``objects`` lists the digests, among those the event mentions, whose bytes were in the store when it was recorded: what
a verifier may ask to see. Valid time is when a fact held; ``recorded_at_ns`` is when the writer learned it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from worldgate.core.digest import canonical, read_canonical, read_json, sha256
from worldgate.core.errors import Tampered, UsageError

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_KIND = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*", re.ASCII)
_TIMES = {"recorded_at_ns", "valid_err_ns", "valid_from_ns", "valid_to_ns"}
_KEYS = {"actor", "body", "clock", "inputs", "kind", "ledger", "name", "objects", "outputs"} | _TIMES


def is_digest(text: object) -> TypeGuard[str]:
    """Whether this is 64 lower-case hex digits."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Ref:
    """A digest with the kind of thing it names: ``log``, ``dataset``, ``world_model``, ``decision``.

    Raises:
        UsageError: not a digest, or not a plain lower-case kind.
    """

    kind: str
    digest: str
    name: str = ""
    """What people call it; need not be unique."""

    def __post_init__(self) -> None:
        if not is_digest(self.digest):
            raise UsageError("not a digest", got=repr(self.digest)[:80], where=f"a {self.kind} reference")
        if _KIND.fullmatch(self.kind) is None:
            raise UsageError("not a kind of artefact", got=repr(self.kind)[:80], hint="lower case, for example dataset")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An event before it is signed."""

    kind: str
    body: Any = field(default_factory=dict)
    """A mapping or a dataclass; anything :func:`worldgate.core.digest.canonical` takes."""
    inputs: Sequence[Ref] = ()
    outputs: Sequence[Ref] = ()
    name: str = ""
    """Name of the first output, where its own reference has none."""
    valid_from_ns: int | None = None
    valid_to_ns: int | None = None
    """End of the time in which the fact held, exclusive; None: still holds, or a moment."""
    valid_err_ns: int = 0
    """Bound on the error of both valid times."""
    clock: str = "utc"
    """Which clock the valid times were read from."""
    recorded_at_ns: int | None = None
    """When the writer learned of it; None: now."""
    objects: Sequence[str] = ()
    """Digests the event mentions whose bytes are in the store."""

    def payload(self, *, actor: str, ledger: str, now_ns: int) -> bytes:
        """The bytes that are signed.

        Raises:
            UsageError: a body without a JSON form, a negative error, an interval that ends before it starts.
        """
        if _KIND.fullmatch(self.kind) is None:
            raise UsageError("not a kind of event", got=repr(self.kind)[:80], hint="lower case: gate.decided")
        if self.valid_err_ns < 0:
            raise UsageError("a negative error bound", got=self.valid_err_ns, where=self.kind)
        if self.valid_from_ns is not None and self.valid_to_ns is not None and self.valid_to_ns < self.valid_from_ns:
            raise UsageError("an interval that ends before it starts", got=self.valid_to_ns, where=self.kind)
        return canonical(
            {
                "actor": actor,
                "body": self.body,
                "clock": self.clock,
                "inputs": list(self.inputs),
                "kind": self.kind,
                "ledger": ledger,
                "name": self.name,
                "objects": sorted(self.objects),
                "outputs": list(self.outputs),
                "recorded_at_ns": now_ns if self.recorded_at_ns is None else self.recorded_at_ns,
                "valid_err_ns": self.valid_err_ns,
                "valid_from_ns": self.valid_from_ns,
                "valid_to_ns": self.valid_to_ns,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A signed event and the place that a ledger gave it."""

    payload: bytes
    signature: bytes
    digest: str
    seq: int
    """Place in this ledger, from 1."""
    origin_seq: int
    """Place in the ledger that recorded it; equals ``seq`` for its own."""
    hash: str
    """Chain hash of this place."""
    kind: str
    body: dict[str, Any]
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]
    name: str
    actor: str
    """Key id of the signer."""
    ledger: str
    """Id of the ledger that recorded it."""
    objects: tuple[str, ...]
    recorded_at_ns: int
    valid_from_ns: int | None
    valid_to_ns: int | None
    valid_err_ns: int
    clock: str


def decode(payload: bytes, *, signature: bytes, seq: int, origin_seq: int, hash: str, strict: bool = True) -> Event:
    """Read an event's payload; ``*_ns`` values are integers again.

    Args:
        payload: canonical JSON.
        signature: Ed25519, over the DSSE encoding of the payload.
        seq: place in the ledger at hand.
        origin_seq: place in the ledger that recorded it.
        hash: chain hash of the place.
        strict: write the payload again and compare; not needed for bytes that were compared when they came in.

    Raises:
        Tampered: not the canonical JSON of an event.
    """
    try:
        fields = read_canonical(payload) if strict else read_json(payload)
        if not isinstance(fields, dict) or fields.keys() != _KEYS:
            raise UsageError("not the canonical form of an event")
        _check_types(fields)
        return Event(
            payload=payload,
            signature=signature,
            digest=sha256(payload),
            seq=seq,
            origin_seq=origin_seq,
            hash=hash,
            inputs=_refs(fields.pop("inputs")),
            outputs=_refs(fields.pop("outputs")),
            objects=tuple(fields.pop("objects")),
            **fields,
        )
    except (UsageError, ValueError, TypeError, KeyError) as error:
        reason = error.what if isinstance(error, UsageError) else error
        raise Tampered("an event that cannot be read", got=reason, where=f"record {seq}") from error


def _check_types(fields: Mapping[str, Any]) -> None:
    """An authorised key may sign nonsense; it must not get further than here.

    Raises:
        TypeError: a field of another type than an event's.
    """
    texts = all(isinstance(fields[key], str) for key in ("actor", "clock", "kind", "ledger", "name"))
    times = all(type(fields[key]) is int for key in ("recorded_at_ns", "valid_err_ns"))  # True is an int as well
    ends = all(fields[key] is None or type(fields[key]) is int for key in ("valid_from_ns", "valid_to_ns"))
    lists = all(isinstance(fields[key], list) for key in ("inputs", "objects", "outputs"))
    objects = lists and all(map(is_digest, fields["objects"]))
    if not (texts and times and ends and objects and isinstance(fields["body"], dict)):
        raise TypeError("a field of another type than an event's")


def _refs(items: Sequence[Mapping[str, str]]) -> tuple[Ref, ...]:
    return tuple(Ref(**item) for item in items)
