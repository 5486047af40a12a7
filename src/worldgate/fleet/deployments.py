"""Deployments: what was assigned to a slot, what its robot reported, what its recordings are stamped with.

Events: ``deployment.desired`` (an assignment, by :func:`assign`), ``deployment.reported`` (a boot receipt signed by the
robot's key, by :func:`receive`; or an imported past deployment, see :mod:`worldgate.fleet.backfill`), and for the
observed plane ``log.ingested`` of logs whose facts name a release. :class:`Deployments` is built from them alone; late,
repeated and out-of-order events give the same projection, because a plane is a set of facts (:mod:`planes`).

A receipt is DSSE over canonical JSON; a robot may sign for its own slots only (key role ``robot``, named as the robot).
"""

from __future__ import annotations

import base64
import bisect
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from securesystemslib.signer import Signer

from worldgate.core.config import decode
from worldgate.core.digest import canonical, digest_json, read_canonical, short
from worldgate.core.errors import DataRefused, NotAuthorised, NotFound, UsageError, WorldgateError
from worldgate.core.evidence import Stage
from worldgate.core.names import Slot
from worldgate.evidence import approvals
from worldgate.fleet.planes import Fact, Form, Plane, Timeline, compile_timeline, contradictions
from worldgate.record.events import Event, Ref, is_digest
from worldgate.record.keys import Role
from worldgate.record.signing import predicate_of, sign_statement, statement_type, verify_envelope
from worldgate.record.workspace import Workspace

DESIRED = "deployment.desired"
REPORTED = "deployment.reported"
REFUSED = "deployment.refused"
INGESTED = "log.ingested"
CLOCK_FACT = "clock_error_s"
"""Fact by which a log declares the error of its clock against UTC, in seconds."""
UNDECLARED_ERR_NS = 1_000_000_000
"""Error assumed of a recording that declares none: no clock is perfect, and a claim of zero would be a guess."""
RECEIPT_TYPE = statement_type("receipt")

_EMPTY = compile_timeline(())


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorisation:
    """What allows a release onto a slot: a promotion decision and, by other persons, its approvals."""

    decision: Ref
    approvals: tuple[Ref, ...]
    waivers: tuple[Ref, ...] = ()


class Authorise(Protocol):
    """Looks for a decision and approvals that cover a release on a slot at a time."""

    def __call__(self, ws: Workspace, release: Ref, slot: Slot, at_ns: int) -> Authorisation:
        """Find what authorises it.

        Raises:
            NotAuthorised: nothing does; the message says what is missing.
        """
        ...


def by_gate(ws: Workspace, release: Ref, slot: Slot, at_ns: int, *, stage: Stage = "site") -> Authorisation:
    """The product's authorisation: the promotion decision in force for this slot and stage, approvals and waivers.

    Raises:
        NotAuthorised: nothing allows it.
    """
    found = approvals.authorise(ws, release.digest, str(slot), at_ns, stage=stage)
    given = tuple(Ref("approval", approval.digest) for approval in found.approvals)
    waived = tuple(Ref("waiver", digest) for digest in found.waivers)
    return Authorisation(decision=Ref("decision", found.decision), approvals=given, waivers=waived)


def assign(
    ws: Workspace,
    release: Ref,
    slot: Slot,
    from_ns: int,
    *,
    authorise: Authorise,
    err_ns: int = 0,
    recorded_at_ns: int | None = None,
) -> Event:
    """Assign a release to a slot from a time on: the desired plane. A refusal is recorded too.

    Args:
        ws: the workspace.
        release: a registered release.
        slot: where it shall run.
        from_ns: from when, UTC.
        authorise: finds the decision and approvals that allow it; :func:`by_gate` in the product.
        err_ns: bound on the error of ``from_ns``.
        recorded_at_ns: when this was decided; now, unless a past is replayed.

    Raises:
        NotAuthorised: no decision and approval in scope; ``deployment.refused`` says so in the ledger.
        NotFound: the release was never registered.
    """
    if not any(known.digest == release.digest for known in ws.artifacts("release")):
        raise NotFound("no such release", got=short(release.digest), hint="worldgate fleet release")
    common: dict[str, Any] = {"valid_from_ns": from_ns, "valid_err_ns": err_ns, "recorded_at_ns": recorded_at_ns}
    body = {"slot": str(slot), "release": release.digest}
    try:
        grant = authorise(ws, release, slot, from_ns)
        if grant.decision.kind != "decision" or not grant.approvals:
            raise NotAuthorised("a deployment needs a decision and an approval", got=grant.decision.kind, where=slot)
    except WorldgateError as refusal:
        ws.record(REFUSED, body={**body, "why": refusal.what, "got": str(refusal.got)}, inputs=(release,), **common)
        raise
    return ws.record(DESIRED, body=body, inputs=(release, grant.decision, *grant.approvals, *grant.waivers), **common)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a robot says it runs: signed at boot, and again with a later ``alive_ns`` while it runs."""

    slot: str
    release: str
    """Digest that the robot resolved from what it loaded, not what it was told to load."""
    boot: int
    """Counts up by one at every boot; never reset."""
    booted_ns: int
    alive_ns: int
    """Until when this boot is known to have run it."""
    err_ns: int
    """Bound on the robot clock's error."""
    clock: str = "robot"


def sign_receipt(receipt: Receipt, signer: Signer) -> dict[str, Any]:
    """The robot's side: a DSSE envelope."""
    return sign_statement(canonical(receipt), RECEIPT_TYPE, signer)


def receive(ws: Workspace, envelope: Mapping[str, Any], *, recorded_at_ns: int | None = None) -> Event:
    """Take in a robot's receipt, however late; the same receipt twice is one fact.

    Raises:
        Tampered: the signature does not hold, or it is a statement of another type.
        NotAuthorised: no good key of this robot.
        DataRefused: a receipt that contradicts itself.
    """
    receipt = _read_receipt(envelope)
    slot = Slot.parse(receipt.slot)
    keys = [
        key.sslib()
        for key, good in ws.ledger.keyring().keys()  # noqa: SIM118  # a keyring is no mapping
        if good and key.role is Role.ROBOT and key.name == str(slot.robot)
    ]
    if not keys:
        raise NotAuthorised(
            "no good key of this robot",
            got=str(slot.robot),
            hint=f"worldgate record keys add {slot.robot} --role robot",
        )
    verify_envelope(envelope, RECEIPT_TYPE, keys)
    if not (
        is_digest(receipt.release) and receipt.boot >= 0 <= receipt.err_ns and receipt.booted_ns <= receipt.alive_ns
    ):
        raise DataRefused("a receipt that contradicts itself", got=receipt, where=receipt.slot)
    identity = digest_json(receipt)
    for event in ws.ledger.events(REPORTED):
        if event.body.get("receipt") == identity:
            return event
    stored = ws.put_json(envelope)
    return ws.record(
        REPORTED,
        body={
            "slot": receipt.slot,
            "release": receipt.release,
            "form": Form.BOOT,
            "boot": receipt.boot,
            "receipt": identity,
            "envelope": stored,
        },
        inputs=(Ref("release", receipt.release),),
        outputs=(Ref("receipt", identity),),
        valid_from_ns=receipt.booted_ns,
        valid_to_ns=receipt.alive_ns,
        valid_err_ns=receipt.err_ns,
        clock=receipt.clock,
        recorded_at_ns=recorded_at_ns,
    )


def _read_receipt(envelope: Mapping[str, Any]) -> Receipt:
    """The payload, not yet believed: it says which robot's key must have signed it."""
    try:
        restored = read_canonical(predicate_of(base64.b64decode(envelope["payload"], validate=True), RECEIPT_TYPE))
        assert isinstance(restored, dict)
        receipt = decode(Receipt, restored, where="receipt")
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise DataRefused("not a receipt", got=type(error).__name__, where="receipt") from error
    except UsageError as error:
        raise DataRefused("not a receipt", got=error.what, where="receipt") from error
    return receipt


@dataclass(slots=True)
class _Known:
    """Facts of one slot and plane, by the time at which we first learned each."""

    learned: dict[Fact, int] = field(default_factory=dict)
    order: list[tuple[int, Fact]] | None = None
    timelines: dict[int, tuple[Timeline, tuple[str, ...]]] = field(default_factory=dict)
    """By the number of facts known: the compiled timeline, and what the facts say against each other."""


class Deployments:
    """The projection: facts by slot and plane, compiled on demand. Equal whatever order events came in.

    Args:
        events: any events, any order, repeats allowed; others are ignored.
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._known: dict[tuple[str, Plane], _Known] = {}
        for event in events:
            self.add(event)

    @classmethod
    def of(cls, ws: Workspace, *, until_seq: int | None = None) -> Deployments:
        """From a workspace's ledger, whole or as it stood at a sequence."""
        events = ws.ledger.events((DESIRED, REPORTED, INGESTED))
        return cls(e for e in events if until_seq is None or e.seq <= until_seq)

    def add(self, event: Event) -> None:
        """Take in one event."""
        for slot, plane, fact in facts_of(event):
            self.learn(slot, plane, fact, event.recorded_at_ns)

    def learn(self, slot: str, plane: Plane, fact: Fact, recorded_at_ns: int) -> None:
        """Take in one fact; learned again, the earlier time counts."""
        known = self._known.setdefault((slot, plane), _Known())
        before = known.learned.get(fact)
        if before is None or recorded_at_ns < before:
            known.learned[fact] = recorded_at_ns
            known.order = None
            known.timelines.clear()

    def slots(self) -> tuple[str, ...]:
        """Every slot that any fact speaks of."""
        return tuple(sorted({slot for slot, _ in self._known}))

    def timeline(self, slot: str, plane: Plane, known_as_of_ns: int | None = None) -> Timeline:
        """A plane of a slot as known now or then; compiled once for each state of knowledge that is asked for."""
        return self._compiled(slot, plane, known_as_of_ns)[0]

    def contradictions(self, slot: str, plane: Plane, known_as_of_ns: int | None = None) -> tuple[str, ...]:
        """What the facts of a plane, as known now or then, say against each other."""
        return self._compiled(slot, plane, known_as_of_ns)[1]

    def _compiled(self, slot: str, plane: Plane, known_as_of_ns: int | None) -> tuple[Timeline, tuple[str, ...]]:
        known = self._known.get((slot, plane))
        if known is None:
            return _EMPTY, ()
        count = self._count(known, known_as_of_ns)
        if count not in known.timelines:
            facts = [fact for _, fact in self._order(known)[:count]]
            known.timelines[count] = (compile_timeline(facts), tuple(contradictions(facts)))
        return known.timelines[count]

    @staticmethod
    def _order(known: _Known) -> list[tuple[int, Fact]]:
        if known.order is None:
            known.order = sorted((learned, fact) for fact, learned in known.learned.items())
        return known.order

    def _count(self, known: _Known, known_as_of_ns: int | None) -> int:
        if known_as_of_ns is None:
            return len(known.learned)
        return bisect.bisect_right(self._order(known), known_as_of_ns, key=lambda item: item[0])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Deployments):
            return NotImplemented
        return {k: v.learned for k, v in self._known.items()} == {k: v.learned for k, v in other._known.items()}

    __hash__ = None  # type: ignore[assignment]  # it changes


def facts_of(event: Event) -> list[tuple[str, Plane, Fact]]:
    """The facts that an event states about deployments; none for other events."""
    if event.valid_from_ns is None:
        return []
    body = event.body
    start, end = event.valid_from_ns, event.valid_to_ns
    err, evidence = event.valid_err_ns, event.digest
    if event.kind == DESIRED:
        fact = Fact(form=Form.OPEN, release=body["release"], from_ns=start, err_ns=err, evidence=evidence)
        return [(body["slot"], Plane.DESIRED, fact)]
    if event.kind == REPORTED and end is not None:
        fact = Fact(
            form=Form(body["form"]),
            release=body["release"],
            from_ns=start,
            to_ns=end,
            err_ns=err,
            boot=body.get("boot", 0),
            evidence=evidence,
        )
        return [(body["slot"], Plane(body.get("plane", Plane.REPORTED)), fact)]
    if event.kind == INGESTED and end is not None:
        facts = body.get("facts", {})
        release = str(facts.get("release", ""))
        err = max(err, declared_err_ns(facts.get(CLOCK_FACT)))
        if is_digest(release) and all(body.get(part) for part in ("site", "robot", "arm")):
            slot = f"{body['site']}/{body['robot']}/{body['arm']}"
            fact = Fact(form=Form.SPAN, release=release, from_ns=start, to_ns=end, err_ns=err, evidence=evidence)
            return [(slot, Plane.OBSERVED, fact)]
    return []


def declared_err_ns(value: object) -> int:
    """Clock error of a log, from its fact :data:`CLOCK_FACT`; rounded up, and never taken for zero unasked."""
    if isinstance(value, int | float) and math.isfinite(value) and value >= 0:
        return math.ceil(value * 1e9)
    return UNDECLARED_ERR_NS
