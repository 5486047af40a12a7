"""Approvals: a second person says yes to a decision, for these slots, until then. And what may run because of it.

An approval is a statement of its own (:mod:`worldgate.evidence.persons`): it binds the decision's digest, the release,
the slots and their sites, the stage, what the approver had seen of the ledger, a nonce and an expiry. It needs as many
persons as the policy asks for, none of them a releaser, and at least one who neither ran nor recorded the evidence.

Stages are ``canary < site < fleet``: a promotion speaks for its stage and for smaller ones, a refusal ends every
earlier promotion of its stage and of larger ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from worldgate.core.digest import short
from worldgate.core.errors import NotAuthorised, UsageError, WorldgateError
from worldgate.core.evidence import Stage, Verdict, covers
from worldgate.core.names import Slot
from worldgate.core.times import format_ns
from worldgate.evidence import adopted, hardware, persons, waivers
from worldgate.evidence.persons import APPROVED, DECIDED, Bench, Decided, Known, Seen, Signed
from worldgate.record.events import Event, Ref
from worldgate.record.workspace import Workspace

SCHEMA: Final = "worldgate/approval/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What an approver signs."""

    schema: Literal["worldgate/approval/1"] = SCHEMA
    decision: str
    release: str
    sites: tuple[str, ...]
    slots: tuple[str, ...]
    stage: Stage
    person: str
    ledger_head: Seen
    nonce: str
    not_before_ns: int
    expires_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A recorded approval."""

    event: str
    """Digest of the event."""
    digest: str
    """Of the statement: what a withdrawal names."""
    decision: str
    release: str
    slots: tuple[str, ...]
    stage: Stage
    person: str
    not_before_ns: int
    expires_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """An approval that was given, and why it does not count here."""

    event: str
    person: str
    why_not: str
    """Empty: it counts."""
    approval: Approval | None
    """None for what cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorisation:
    """Who and what allows a release on a slot."""

    release: str
    slot: str
    stage: Stage
    decision: str
    approvals: tuple[Approval, ...]
    waivers: tuple[str, ...]
    """Digests of the waivers that the decision rests on."""
    expires_ns: int
    """When the first of decision, needed approvals and waivers runs out; a waiver's exposure may end it before."""
    population: str

    @property
    def persons(self) -> tuple[str, ...]:
        """Who approved."""
        return tuple(sorted({a.person for a in self.approvals}))


def approve(
    ws: Workspace,
    decision: Ref,
    *,
    key: str,
    now_ns: int,
    expires_ns: int,
    slots: Sequence[str] = (),
    stage: Stage | None = None,
) -> Approval:
    """Approve a promotion with a person's key.

    Args:
        ws: the workspace.
        decision: the promotion decision.
        key: name of the approver's key.
        now_ns: the approver's clock.
        expires_ns: when the approval runs out; never after the decision.
        slots: a part of the decision's slots; empty: all of them.
        stage: the decision's, or a smaller one; None: the decision's.

    Raises:
        NotAuthorised: not a person's key, the releaser's own, or a decision that promotes nothing or has run out.
        UsageError: slots, a stage or an expiry beyond the decision's.
        NotFound: no such decision.
    """
    known = Known(ws)
    decided = _promotion(known, decision.digest)
    ruling = decided.ruling
    person = persons.person_of(known, key, persons.bench(known, decided), "approves")
    if not ruling.not_before_ns <= now_ns < ruling.expires_ns:
        raise NotAuthorised("this decision is not in force", got=short(decision.digest))
    chosen = tuple(str(Slot.parse(s)) for s in slots) or ruling.slots
    statement = Statement(
        decision=decision.digest,
        release=ruling.release,
        sites=persons.sites_of(chosen),
        slots=chosen,
        stage=stage or ruling.stage,
        person=person,
        ledger_head=Seen.now(ws),
        nonce=persons.draw_nonce(),
        not_before_ns=now_ns,
        expires_ns=expires_ns,
    )
    beyond = _beyond(statement, decided)
    if beyond:
        until = f"{', '.join(ruling.slots)} as {ruling.stage} until {format_ns(ruling.expires_ns)}"
        raise UsageError("an approval stays within its decision", got=beyond, hint=until)
    event = persons.sign(ws, "approval", statement, key=key, person=person)
    return _approval(statement, event)


def _promotion(known: Known, decision: str) -> Decided:
    """A recorded promotion."""
    decided = persons.find_decision(known, decision)
    if decided.ruling.verdict is not Verdict.PROMOTE:
        raise NotAuthorised(f"nothing to approve: the gate said {decided.ruling.verdict}", got=short(decision))
    return decided


def _beyond(statement: Statement, decided: Decided) -> str:
    """How an approval goes beyond its decision, or nothing."""
    ruling = decided.ruling
    if statement.release != ruling.release:
        return "another release than its decision"
    outside = [s for s in statement.slots if s not in ruling.slots]
    if outside or not statement.slots or statement.sites != persons.sites_of(statement.slots):
        return f"slots or sites outside its decision: {', '.join(outside) or 'none'}"
    if not covers(ruling.stage, statement.stage):
        return f"stage {statement.stage}, the decision is for {ruling.stage}"
    if not ruling.not_before_ns <= statement.not_before_ns < statement.expires_ns <= ruling.expires_ns:
        return f"a time outside its decision: until {format_ns(statement.expires_ns)}"
    return ""


def _approval(statement: Statement, event: Event) -> Approval:
    return Approval(
        event=event.digest,
        digest=str(event.body["approval"]),
        decision=statement.decision,
        release=statement.release,
        slots=statement.slots,
        stage=statement.stage,
        person=statement.person,
        not_before_ns=statement.not_before_ns,
        expires_ns=statement.expires_ns,
    )


def authorise(ws: Workspace, release: str, slot: str, now_ns: int, *, stage: Stage = "site") -> Authorisation:
    """Who and what allows this release on this slot now, up to a stage. Fails closed.

    Of the promotions that stand (see the head of this file) the newest of each stage speaks, never one before it. It
    must be in force and under the policy that the site adopted, have its approvals, and every waiver that it rests on
    must still hold.

    Raises:
        NotAuthorised: nothing allows it, with the reason.
        NameRefused: not a slot.
    """
    place = str(Slot.parse(slot))
    where = f"{short(release)} on {place} as {stage}"
    known = Known(ws)
    standing, refusal = promotions(known, release, place)
    able = [decided for decided in standing if covers(decided.ruling.stage, stage)]
    if standing and not able:
        largest = standing[0].ruling.stage
        raise NotAuthorised("promoted for a smaller stage only", got=largest, where=where, hint="worldgate gate")
    if not able:
        raise NotAuthorised(refusal, where=where, hint="worldgate gate")
    reasons: list[NotAuthorised] = []
    for decided in able:
        try:
            return _grant(known, decided, place, stage, now_ns)
        except NotAuthorised as reason:
            reasons.append(NotAuthorised(reason.what, got=reason.got, where=where, hint=reason.hint))
    raise reasons[0]


def promotions(known: Known, release: str, slot: str) -> tuple[list[Decided], str]:
    """The promotions of a release on a slot that stand, newest first, and why the others do not, in words."""
    standing: list[Decided] = []
    refusal = "no promotion decision covers this"
    for event in known.events(DECIDED):
        body = event.body
        about = (body.get("gate"), body.get("subject")) == ("promotion", release)
        if not about or not isinstance(body.get("slots"), list) or slot not in body["slots"]:
            continue
        try:
            decided = persons.read_decision(known, event)
        except WorldgateError as error:
            standing, refusal = [], f"the newest decision cannot be believed: {error.what}"
            continue
        if decided.ruling.verdict is Verdict.PROMOTE:
            others = [d for d in standing if d.ruling.stage != decided.ruling.stage]
            standing = [decided, *others]
        else:
            standing = [d for d in standing if not covers(d.ruling.stage, decided.ruling.stage)]
            refusal = f"the newest gate said {decided.ruling.verdict}"
    return standing, refusal


def _grant(known: Known, decided: Decided, slot: str, stage: Stage, now_ns: int) -> Authorisation:
    ruling = decided.ruling
    if not ruling.not_before_ns <= now_ns < ruling.expires_ns:
        raise NotAuthorised("the decision is not in force", got=f"until {format_ns(ruling.expires_ns)}")
    made_of = hardware.current(known.events(hardware.CONFIGURED), (slot,))[slot]
    if made_of != ruling.hardware.get(slot, ""):
        raise NotAuthorised("the arm was changed since", got=short(made_of), hint="worldgate gate, after new trials")
    ends = [ruling.expires_ns]
    for digest in ruling.waivers:
        ends.append(waivers.standing(known, digest, now_ns).terms.expires_ns)
    bench = persons.bench(known, decided)
    other = adopted.refusal(known, str(Slot.parse(slot).site), ruling.policy, ruling.stage, but=bench.releasers)
    if other:
        raise NotAuthorised(
            "decided under a policy that its site did not adopt", got=other, hint="worldgate gate adopt"
        )
    given: dict[str, Approval] = {}
    for found in considered(known, decided, bench, slot, stage, now_ns):
        if found.approval is not None and not found.why_not:
            held = given.get(found.person)
            given[found.person] = max(held or found.approval, found.approval, key=lambda a: a.expires_ns)
    lacking = bench.lacking(given)
    if lacking:
        raise NotAuthorised("too few persons have approved", got=lacking, hint="worldgate gate approve")
    return Authorisation(
        release=ruling.release,
        slot=slot,
        stage=stage,
        decision=decided.digest,
        approvals=tuple(given[person] for person in sorted(given)),
        waivers=ruling.waivers,
        expires_ns=min(*ends, _last(given, bench)),
        population=ruling.population,
    )


def _last(given: dict[str, Approval], bench: Bench) -> int:
    """When the approvals stop being enough."""
    ends = sorted({a.expires_ns for a in given.values()})
    return next(end for end in ends if bench.lacking([p for p, a in given.items() if a.expires_ns > end]))


def considered(known: Known, decided: Decided, bench: Bench, slot: str, stage: Stage, now_ns: int) -> list[Considered]:
    """Every approval of a decision, and whether it counts for this slot, stage and time, or why not."""
    out = []
    for event in known.events(APPROVED):
        if event.body.get("decision") != decided.digest:
            continue
        approval, why_not = None, ""
        try:
            signed = persons.read(known, event, "approval", Statement)
            approval = _approval(signed.statement, event)
            why_not = _flaw(known, signed, decided, bench) or _elsewhere(known, approval, slot, stage, now_ns)
        except WorldgateError as error:
            why_not = error.what
        person = known.owner(event) or short(event.actor)
        out.append(Considered(event=event.digest, person=person, why_not=why_not, approval=approval))
    return out


def _flaw(known: Known, signed: Signed[Statement], decided: Decided, bench: Bench) -> str:
    """What is wrong with an approval wherever it is used, or nothing."""
    if signed.statement.person != signed.person:
        return "it was not signed by the person it names"
    beyond = _beyond(signed.statement, decided)
    return (
        (beyond and f"it goes beyond its decision: {beyond}")
        or bench.refusal(signed.person)
        or persons.replayed(known, signed, "approval")
        or persons.unseen(known, signed, decided)
    )


def _elsewhere(known: Known, approval: Approval, slot: str, stage: Stage, now_ns: int) -> str:
    """Why a good approval is none of this slot, stage and time, or nothing."""
    if known.withdrawn(approval.digest):
        return "it was withdrawn"
    if slot not in approval.slots:
        return f"it is for {', '.join(approval.slots)}"
    if not covers(approval.stage, stage):
        return f"it is for stage {approval.stage}"
    if not approval.not_before_ns <= now_ns < approval.expires_ns:
        return f"it is not in force: until {format_ns(approval.expires_ns)}"
    return ""


def check_approval(ws: Workspace, event: Event) -> str | None:
    """What is wrong with a ``gate.approved`` event, as the ledger stood then, or nothing; handed to the verifier."""
    known = Known(ws, event.seq)
    signed = persons.read(known, event, "approval", Statement)
    decided = _promotion(known, signed.statement.decision)
    return _flaw(known, signed, decided, persons.bench(known, decided)) or None
