"""Approvals: a second person says yes to a decision, for these slots, until then. And what may run because of it.

An approval binds the decision's digest, the release, the slots and an expiry, and is signed by the approver's own key
as an event of the ledger. Persons count, not keys: two keys of one person are one approval. Whoever registered the
release or made the decision does not approve it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worldgate.core.digest import short
from worldgate.core.errors import NotAuthorised, NotFound, UsageError
from worldgate.core.evidence import Verdict
from worldgate.core.names import Slot
from worldgate.core.times import format_ns
from worldgate.evidence.decide import DECIDED
from worldgate.record.events import Event, Ref
from worldgate.record.keys import Role
from worldgate.record.workspace import Workspace

APPROVED = "gate.approved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A recorded approval."""

    event: str
    decision: str
    release: str
    slots: tuple[str, ...]
    person: str
    expires_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorisation:
    """Who and what allows a release on a slot."""

    release: str
    slot: str
    decision: str
    approvals: tuple[Approval, ...]
    expires_ns: int
    """When the first of decision and needed approvals runs out."""
    population: str

    @property
    def persons(self) -> tuple[str, ...]:
        """Who approved."""
        return tuple(sorted({a.person for a in self.approvals}))


def approve(
    ws: Workspace, decision: Ref, *, key: str, now_ns: int, expires_ns: int, slots: Sequence[str] = ()
) -> Approval:
    """Approve a promotion with a person's key.

    Args:
        ws: the workspace.
        decision: the promotion decision.
        key: name of the approver's key.
        now_ns: the approver's clock.
        expires_ns: when the approval runs out; never after the decision.
        slots: a part of the decision's slots; empty: all of them.

    Raises:
        NotAuthorised: not a person's key, the releaser's own, or a decision that promotes nothing or has run out.
        UsageError: slots or an expiry beyond the decision's.
    """
    payload = _promotion(ws, decision.digest)
    keyid = ws.signer(key).public_key.keyid
    who = ws.ledger.keyring().find(keyid)
    if who is None or who.role is not Role.PERSON:
        raise NotAuthorised("only a person approves", got=key, hint="worldgate record keys add NAME --owner PERSON")
    if not payload["not_before_ns"] <= now_ns < payload["expires_ns"]:
        raise NotAuthorised("this decision is not in force", got=short(decision.digest))
    if who.owner in releasers(ws, payload["subject"]["digest"], decision.digest):
        raise NotAuthorised("a releaser does not approve their own release", got=who.owner, hint="ask a second person")
    chosen = tuple(str(Slot.parse(s)) for s in slots) or tuple(payload["scope"]["slots"])
    outside = [s for s in chosen if s not in payload["scope"]["slots"]]
    if outside or not now_ns < expires_ns <= payload["expires_ns"]:
        raise UsageError(
            "an approval stays within its decision",
            got=outside[0] if outside else format_ns(expires_ns),
            hint=f"{', '.join(payload['scope']['slots'])} until {format_ns(payload['expires_ns'])}",
        )
    body = {
        "decision": decision.digest,
        "release": payload["subject"]["digest"],
        "slots": chosen,
        "expires_ns": expires_ns,
        "person": who.owner,
    }
    event = ws.record(
        APPROVED,
        body=body,
        inputs=(decision, Ref("release", payload["subject"]["digest"])),
        valid_from_ns=now_ns,
        valid_to_ns=expires_ns,
        actor=key,
    )
    return _read(event, who.owner)


def releasers(ws: Workspace, release: str, decision: str) -> frozenset[str]:
    """Persons who registered a release or made a decision, with their own key or one they answer for."""
    found: set[str] = set()
    for event in ws.ledger.events(("release.registered", DECIDED)):
        if any(ref.digest in {release, decision} for ref in event.outputs):
            key = ws.ledger.keyring().find(event.actor, ledger=event.ledger)
            if key is not None:
                found.add(str(key.owner))
    return frozenset(found)


def authorise(ws: Workspace, release: str, slot: str, now_ns: int) -> Authorisation:
    """Who and what allows this release on this slot now. Fails closed.

    The newest promotion decision about the release that covers the slot speaks; an older one does not outlive a later
    rejection or hold. It must promote, be in force, and have as many approvals in force, of different persons who are
    not its releasers, as its policy asks for.

    Raises:
        NotAuthorised: nothing allows it, with the reason.
        NameRefused: not a slot.
    """
    place = str(Slot.parse(slot))
    where = f"{short(release)} on {place}"
    newest = None
    for event in ws.ledger.events(DECIDED):
        body = event.body
        if body["gate"] == "promotion" and body["subject"] == release and place in body["slots"]:
            newest = event
    if newest is None:
        raise NotAuthorised("no promotion decision covers this", where=where, hint="worldgate gate")
    digest = str(newest.body["decision"])
    payload = ws.get_json(digest)
    if payload["subject"]["digest"] != release or place not in payload["scope"]["slots"]:
        raise NotAuthorised("the decision is about something else", got=short(digest), where=where)
    if payload["verdict"] != Verdict.PROMOTE:
        raise NotAuthorised(f"the newest gate said {payload['verdict']}", got=short(digest), where=where)
    if not payload["not_before_ns"] <= now_ns < payload["expires_ns"]:
        raise NotAuthorised(
            "the decision is not in force", got=f"until {format_ns(payload['expires_ns'])}", where=where
        )
    given = _approvals(ws, digest, payload, place, now_ns)
    needed = max(1, int(payload["approvals_needed"]))
    if len(given) < needed:
        raise NotAuthorised(
            "too few persons have approved", got=f"{len(given)} of {needed}", where=where, hint="worldgate gate approve"
        )
    ends = sorted((a.expires_ns for a in given.values()), reverse=True)[needed - 1]
    return Authorisation(
        release=release,
        slot=place,
        decision=digest,
        approvals=tuple(given[person] for person in sorted(given)),
        expires_ns=min(payload["expires_ns"], ends),
        population=payload["population"],
    )


def _approvals(ws: Workspace, decision: str, payload: Mapping[str, Any], slot: str, now_ns: int) -> dict[str, Approval]:
    """Approvals in force by person: who signed decides, not what the body claims."""
    own = releasers(ws, payload["subject"]["digest"], decision)
    known = ws.ledger.keyring().keys()
    revoked = {key.keyid for key, good in known if not good}
    given: dict[str, Approval] = {}
    for event in ws.ledger.events(APPROVED):
        key = ws.ledger.keyring().find(event.actor, ledger=event.ledger)
        if event.body["decision"] != decision or key is None or key.role is not Role.PERSON or key.owner in own:
            continue
        if event.actor in revoked:
            continue  # whoever holds a lost key may have signed before it was revoked
        approval = _read(event, str(key.owner))
        begins = event.valid_from_ns or 0
        in_force = begins <= now_ns < approval.expires_ns
        if in_force and slot in approval.slots and approval.release == payload["subject"]["digest"]:
            held = given.get(approval.person)
            given[approval.person] = approval if held is None or held.expires_ns < approval.expires_ns else held
    return given


def check_approval(ws: Workspace, event: Event) -> str | None:
    """What is wrong with a ``gate.approved`` event, or nothing; handed to the verifier."""
    try:
        payload = _promotion(ws, str(event.body["decision"]))
    except NotAuthorised as error:
        return error.what
    key = ws.ledger.keyring().find(event.actor, ledger=event.ledger)
    if key is None or key.role is not Role.PERSON or key.owner != event.body["person"]:
        return "an approval that was not signed by the person it names"
    if key.owner in releasers(ws, payload["subject"]["digest"], str(event.body["decision"])):
        return f"{key.owner} approved their own release"
    if event.body["release"] != payload["subject"]["digest"]:
        return "an approval of another release than its decision"
    return None


def _promotion(ws: Workspace, decision: str) -> Mapping[str, Any]:
    """The payload of a recorded promotion."""
    recorded = any(e.body["decision"] == decision for e in ws.ledger.events(DECIDED))
    if not recorded:
        raise NotFound("no such decision on this ledger", got=short(decision), hint="worldgate show")
    payload: Mapping[str, Any] = ws.get_json(decision)
    if payload["verdict"] != Verdict.PROMOTE:
        raise NotAuthorised(f"nothing to approve: the gate said {payload['verdict']}", got=short(decision))
    return payload


def _read(event: Event, person: str) -> Approval:
    body = event.body
    return Approval(
        event=event.digest,
        decision=str(body["decision"]),
        release=str(body["release"]),
        slots=tuple(body["slots"]),
        person=person,
        expires_ns=int(body["expires_ns"]),
    )
