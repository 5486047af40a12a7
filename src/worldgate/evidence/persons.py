"""What persons say beside a gate: signed statements of a type of their own, and which persons count for what.

A statement (an approval, a waiver) is canonical JSON in a DSSE envelope whose type says what it is, so that none passes
for another. Its event repeats what it says, and was signed by the same key. It counts only if its bytes are exactly
those that its fields give again: no field more, none less, no number in another form.

Persons count, not keys: two keys of one person are one person, robots and services none. A releaser never counts; who
ran or recorded the trials, or the evidence, counts beside somebody who did not.

Everything is read from the ledger as it stood at a sequence (:class:`Known`), so that what was decided then can be
computed again later.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from worldgate.core.config import decode
from worldgate.core.digest import canonical, read_canonical, read_json, sha256, short, to_json
from worldgate.core.errors import NotAuthorised, NotFound, Tampered, UsageError
from worldgate.core.evidence import Stage, Verdict
from worldgate.core.names import Slot
from worldgate.record.events import Event, Ref, is_digest
from worldgate.record.keys import KEY_KINDS, WITHDRAWN, PublicKey, Role
from worldgate.record.signing import read_statement, sign_statement, statement_type
from worldgate.record.workspace import Workspace

DECIDED = "gate.decided"
APPROVED = "gate.approved"
WAIVED = "gate.waived"
EVENTS = {"approval": APPROVED, "waiver": WAIVED}
"""Kind of statement -> kind of event."""


class Known:
    """A ledger as it stood at a sequence: its events, and which keys were good.

    Args:
        ws: the workspace.
        upto_seq: the last record that counts; None: all of them.
    """

    def __init__(self, ws: Workspace, upto_seq: int | None = None) -> None:
        self.ws = ws
        self.upto_seq = ws.ledger.head().seq if upto_seq is None else upto_seq
        self.keyring = ws.ledger.keyring().blank()
        self.keyring.add(self.events(KEY_KINDS))

    def events(self, kinds: str | Collection[str]) -> Iterator[Event]:
        """Events of these kinds, in order."""
        return (event for event in self.ws.ledger.events(kinds) if event.seq <= self.upto_seq)

    def owner(self, event: Event) -> str | None:
        """The person behind an event: whose key signed it, or who answers for the robot or service that did."""
        key = self.keyring.find(event.actor, ledger=event.ledger)
        return None if key is None else str(key.owner)

    def signer(self, event: Event) -> PublicKey | None:
        """The key behind an event, unless it was revoked since."""
        return self.keyring.good(event.actor, ledger=event.ledger)

    def withdrawn(self, digest: str) -> bool:
        """Whether a person took this statement back."""
        return any(event.body.get("withdrawn") == digest for event in self.events(WITHDRAWN))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The head of the ledger that a signer looked at."""

    ledger: str
    seq: int
    hash: str

    @classmethod
    def now(cls, ws: Workspace) -> Seen:
        """The head of a workspace."""
        head = ws.ledger.head()
        return cls(ledger=ws.id, seq=head.seq, hash=head.hash)


class Statement(Protocol):
    """What every statement says."""

    @property
    def decision(self) -> str:
        """Digest of the decision that it is about."""
        ...

    @property
    def release(self) -> str:
        """Digest of the release."""
        ...

    @property
    def slots(self) -> tuple[str, ...]:
        """The arms that it is about."""
        ...

    @property
    def stage(self) -> Stage:
        """How far it lets the release go."""
        ...

    @property
    def ledger_head(self) -> Seen:
        """What the signer had seen."""
        ...

    @property
    def nonce(self) -> str:
        """Drawn once and never again."""
        ...

    @property
    def not_before_ns(self) -> int:
        """Since when it holds."""
        ...

    @property
    def expires_ns(self) -> int:
        """Until when it holds, exclusive."""
        ...


S = TypeVar("S", bound=Statement)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed(Generic[S]):
    """A statement whose signature and form hold."""

    statement: S
    digest: str
    person: str
    event: Event


def draw_nonce() -> str:
    """128 random bits."""
    return secrets.token_hex(16)


def sites_of(slots: Sequence[str]) -> tuple[str, ...]:
    """The sites of these slots, each once, in order."""
    return tuple(sorted({str(Slot.parse(slot).site) for slot in slots}))


def _body(kind: str, digest: str, envelope: str, person: str, statement: Statement) -> dict[str, Any]:
    """The body of a statement's event."""
    return {
        kind: digest,
        "envelope": envelope,
        "person": person,
        "decision": statement.decision,
        "release": statement.release,
        "slots": list(statement.slots),
        "stage": statement.stage,
        "nonce": statement.nonce,
        "not_before_ns": statement.not_before_ns,
        "expires_ns": statement.expires_ns,
    }


def sign(ws: Workspace, kind: str, statement: Statement, *, key: str, person: str) -> Event:
    """Sign a statement, keep it and its envelope, and record it."""
    data = canonical(statement)
    digest = ws.store.put_bytes(data)
    envelope = ws.put_json(sign_statement(data, statement_type(kind), ws.signer(key)))
    return ws.record(
        EVENTS[kind],
        body=_body(kind, digest, envelope, person, statement),
        inputs=(Ref("decision", statement.decision), Ref("release", statement.release)),
        outputs=(Ref(kind, digest),),
        valid_from_ns=statement.not_before_ns,
        valid_to_ns=statement.expires_ns,
        actor=key,
    )


def envelope_of(ws: Workspace, event: Event) -> Mapping[str, Any]:
    """The envelope that an event names, in canonical form.

    Raises:
        Tampered: names none, or one that is not canonical JSON.
        NotFound: not in the store.
    """
    digest = event.body.get("envelope")
    if not is_digest(digest):
        raise Tampered("names no signed statement", got=short(event.digest))
    try:
        envelope = read_canonical(ws.store.get(digest))
    except ValueError as error:
        raise Tampered("an envelope in another form than it was signed", got=error) from error
    if not isinstance(envelope, dict):
        raise Tampered("not a DSSE envelope", got=type(envelope).__name__)
    return envelope


def read(known: Known, event: Event, kind: str, form: type[S]) -> Signed[S]:
    """Read a statement from its event, believing nothing that was not signed as this kind.

    Raises:
        NotAuthorised: not signed by a person whose key is good.
        Tampered: a signature that does not hold, a statement of another type or form, an event that says another thing.
        NotFound: not in the store.
    """
    key = known.signer(event)
    if key is None or key.role is not Role.PERSON:
        raise NotAuthorised(f"the {kind} was not signed by a person whose key is good", got=short(event.actor))
    envelope = envelope_of(known.ws, event)
    data = read_statement(envelope, statement_type(kind), key.sslib())
    statement = parse(form, data, kind)
    told = _body(kind, sha256(data), str(event.body["envelope"]), str(key.owner), statement)
    if to_json(event.body) != to_json(told):
        raise Tampered(f"the event of this {kind} says something else than what was signed", got=short(event.digest))
    return Signed(statement=statement, digest=sha256(data), person=str(key.owner), event=event)


def parse(form: type[S], data: bytes, kind: str) -> S:
    """A statement from its bytes, which must be exactly those that it gives again.

    Raises:
        Tampered: an unknown field, a missing one, a key twice, a number or text in another form.
    """
    try:
        statement = decode(form, read_json(data), where=kind)
        same = canonical(statement) == data
    except (UsageError, ValueError, TypeError) as error:
        reason = error.what if isinstance(error, UsageError) else error
        raise Tampered(f"not the form of this {kind}", got=str(reason)[:80]) from error
    if not same:
        raise Tampered(f"not the form of this {kind}", got="bytes that its fields do not give again")
    return statement


def replayed(known: Known, signed: Signed[S], kind: str) -> str:
    """What is wrong if a nonce was used before: by another statement, or by this person."""
    for event in itertools.takewhile(lambda e: e.digest != signed.event.digest, known.events(tuple(EVENTS.values()))):
        body = event.body
        same = body.get("nonce") == signed.statement.nonce
        if same and (body.get(kind) != signed.digest or body.get("person") == signed.person):
            return f"the nonce of this {kind} was used before"
    return ""


def unseen(known: Known, signed: Signed[S], decided: Decided) -> str:
    """What is wrong if the head that the signer saw is not of this chain, between the decision and the statement."""
    seen, event, ws = signed.statement.ledger_head, signed.event, known.ws
    if event.ledger != ws.id:
        return "" if seen.ledger == event.ledger else "it was signed for another ledger"
    if seen.ledger != ws.id or ws.ledger.hash_at(seen.seq) != seen.hash:
        return "it was signed on another ledger or on a fork of this one"
    return "" if decided.event.seq <= seen.seq < event.seq else "it was signed before its decision was recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What of a promotion decision bears on persons: what it is about, and whom it asks for."""

    release: str
    verdict: Verdict
    policy: str
    population: str
    slots: tuple[str, ...]
    sites: tuple[str, ...]
    stage: Stage
    hardware: Mapping[str, str]
    decided_at_ns: int
    not_before_ns: int
    expires_ns: int
    needed: int
    approvers: tuple[str, ...]
    waivers: tuple[str, ...]
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A recorded promotion decision whose signature and form hold."""

    event: Event
    digest: str
    payload: Mapping[str, Any]
    ruling: Ruling


def read_decision(known: Known, event: Event) -> Decided:
    """Read a promotion decision from its event, up to what :mod:`worldgate.evidence.recompute` alone can say.

    Raises:
        NotAuthorised: signed by a robot, or by a key that was revoked since.
        Tampered: a signature that does not hold, another type or form, an event that says another thing.
        NotFound: not in the store.
    """
    key = known.signer(event)
    if key is None or key.role is Role.ROBOT:
        raise NotAuthorised("the decision was signed by a key that may not decide", got=short(event.actor))
    data = read_statement(envelope_of(known.ws, event), statement_type("decision"), key.sslib())
    try:
        payload = read_canonical(data)
        ruling = _ruling(payload)
    except (UsageError, ValueError, KeyError, TypeError) as error:
        reason = error.what if isinstance(error, UsageError) else error
        raise Tampered("not the form of a promotion decision", got=str(reason)[:80]) from error
    body = event.body
    told = (body.get("decision"), body.get("subject"), body.get("verdict"), body.get("slots"))
    if told != (sha256(data), ruling.release, ruling.verdict, list(ruling.slots)):
        raise Tampered("the event of this decision says something else than what was signed", got=short(event.digest))
    return Decided(event=event, digest=sha256(data), payload=payload, ruling=ruling)


def _ruling(payload: Mapping[str, Any]) -> Ruling:
    scope = payload["scope"]
    fields = {
        "release": payload["subject"]["digest"],
        "verdict": payload["verdict"],
        "policy": payload["policy"]["digest"],
        "population": payload["population"],
        "slots": scope["slots"],
        "sites": scope["sites"],
        "stage": scope["stage"],
        "hardware": scope["hardware"],
        "decided_at_ns": payload["decided_at_ns"],
        "not_before_ns": payload["not_before_ns"],
        "expires_ns": payload["expires_ns"],
        "needed": payload["approvals_needed"],
        "approvers": payload["approvers"],
        "waivers": payload["waivers"],
        "evidence": [item["digest"] for item in payload["evidence"]],
    }
    if payload["gate"] != "promotion":
        raise ValueError(f"a decision of kind {payload['gate']}")
    ruling = decode(Ruling, fields, where="decision")
    if canonical(ruling) != canonical(fields):
        raise ValueError("a field of another type")
    return ruling


def find_decision(known: Known, digest: str) -> Decided:
    """The recorded decision of a digest.

    Raises:
        NotFound: none on this ledger.
        NotAuthorised, Tampered: as :func:`read_decision`.
    """
    for event in known.events(DECIDED):
        if event.body.get("decision") == digest:
            return read_decision(known, event)
    raise NotFound("no such decision on this ledger", got=short(digest), hint="worldgate show")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Who counts for a decision, and how many are needed."""

    needed: int
    named: frozenset[str]
    """The persons whom the policy names; empty: any."""
    releasers: frozenset[str]
    evaluators: frozenset[str]

    def refusal(self, person: str) -> str:
        """Why a person does not count, or nothing."""
        if person in self.releasers:
            return f"{person} does not decide about their own release or decision"
        if self.named and person not in self.named:
            return f"the policy does not name {person}"
        return ""

    def lacking(self, persons: Collection[str]) -> str:
        """What persons who each count still lack together, or nothing."""
        if len(set(persons)) < self.needed:
            return f"{len(set(persons))} of {self.needed}"
        if self.evaluators.issuperset(persons):
            return "nobody but who ran or recorded the trials"
        return ""


def bench(known: Known, decided: Decided) -> Bench:
    """Who counts for this decision, its release and its evidence."""
    ruling = decided.ruling
    about = {ruling.release, decided.digest}
    releasers, evaluators = set(), set()
    for event in known.events(("release.registered", DECIDED)):
        if any(ref.digest in about for ref in event.outputs):
            releasers.add(known.owner(event))
    for event in known.events(("trial.run", "evidence.made")):
        if event.body.get("release") == ruling.release or event.body.get("evidence") in ruling.evidence:
            evaluators.add(known.owner(event))
    return Bench(
        needed=max(1, ruling.needed),
        named=frozenset(ruling.approvers),
        releasers=frozenset(person for person in releasers if person is not None),
        evaluators=frozenset(person for person in evaluators if person is not None),
    )


def person_of(known: Known, key: str, about: Bench, doing: str) -> str:
    """The person behind a named key, if they may do this.

    Raises:
        NotAuthorised: not a person's key, a revoked one, the releaser's own, or a person whom the policy does not name.
    """
    signer = known.ws.signer(key)
    found = known.keyring.good(signer.public_key.keyid)
    if found is None or found.role is not Role.PERSON:
        raise NotAuthorised(f"only a person {doing}", got=key, hint="worldgate record keys add NAME --owner PERSON")
    refusal = about.refusal(str(found.owner))
    if refusal:
        raise NotAuthorised(refusal, got=key, hint="ask a second person")
    return str(found.owner)


def withdraw(ws: Workspace, what: Ref, *, key: str, reason: str) -> Event:
    """Take back an approval or a waiver, one's own or another person's, at once.

    Raises:
        NotFound: no such approval or waiver on this ledger.
        UsageError: no reason.
        NotAuthorised: not a person's key.
    """
    kinds = tuple(EVENTS.values())
    if not any(ref.digest == what.digest for event in ws.ledger.events(kinds) for ref in event.outputs):
        raise NotFound("no such approval or waiver on this ledger", got=short(what.digest), hint="worldgate show")
    if not reason.strip():
        raise UsageError("a withdrawal says why", hint="--reason")
    body = {"withdrawn": what.digest, "reason": reason.strip()}
    return ws.record(WITHDRAWN, body=body, inputs=(what,), actor=key)
