"""Waivers: persons stand in for one check of one release, for a while, and say what they do instead.

A waiver answers a decision that held or rejected: it names the check and signal, the status it was found with, the
release, policy, slots and stage, why, the compensating control, and when it ends: by time, and by hours or episodes
run. As many persons sign it as the policy asks for approvals, each a statement of type ``waiver``. The next decision
under the same policy takes it into account: the check's status stays what it was, the result names the waiver, and the
decision ends no later than it. A waiver of an inconclusive check does not excuse a later failure.

What no policy file can make waivable: :data:`worldgate.evidence.policy.NEVER_WAIVED`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from worldgate.core.digest import short, to_json
from worldgate.core.errors import NotAuthorised, NotFound, UsageError, WorldgateError
from worldgate.core.evidence import CheckResult, Stage, Status, Verdict, covers
from worldgate.core.names import Slot
from worldgate.core.times import format_ns
from worldgate.evidence import persons
from worldgate.evidence import policy as policies
from worldgate.evidence.exposure import HOUR_NS, used
from worldgate.evidence.persons import WAIVED, Decided, Known, Seen, Signed
from worldgate.evidence.policy import NEVER_WAIVED, GatePolicy
from worldgate.record.events import Event, Ref
from worldgate.record.workspace import Workspace

SCHEMA: Final = "worldgate/waiver/1"
DAY_NS = 86_400 * 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is waived, for whom, why and until when; the document that persons sign."""

    schema: Literal["worldgate/waiver/1"] = SCHEMA
    decision: str
    """Digest of the decision that held or rejected."""
    policy: str
    """Digest of its policy: under another one the waiver is worth nothing."""
    release: str
    check: str
    signal: str
    """As the result has it; empty for a check of the whole subject."""
    status: Status
    """What was found: FAIL covers an inconclusive result too, INCONCLUSIVE no failure."""
    sites: tuple[str, ...]
    slots: tuple[str, ...]
    stage: Stage
    reason: str
    control: str
    """The compensating control: what is done instead, while it holds."""
    ledger_head: Seen
    nonce: str
    not_before_ns: int
    expires_ns: int
    max_hours: int | None
    """Hours that the release may run on all of these slots together; None: not limited."""
    max_episodes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A recorded waiver and who signed it."""

    digest: str
    terms: Terms
    persons: tuple[str, ...]


def waive(
    ws: Workspace,
    decision: Ref,
    *,
    check: str,
    signal: str = "",
    key: str,
    now_ns: int,
    expires_ns: int,
    reason: str,
    control: str,
    max_hours: int | None = None,
    max_episodes: int | None = None,
    slots: Sequence[str] = (),
    stage: Stage | None = None,
) -> Waiver:
    """Waive a check that held or rejected a release.

    Args:
        ws: the workspace.
        decision: the promotion decision that held or rejected.
        check: which check of its policy.
        signal: which signal, where the check has several results.
        key: name of the person's key.
        now_ns: the person's clock.
        expires_ns: when the waiver ends; no longer than its policy lets a decision hold.
        reason: why the check may be passed over.
        control: what is done instead while it is.
        max_hours: hours run on all slots together after which it ends.
        max_episodes: episodes after which it ends; one of the two limits is needed.
        slots: a part of the decision's slots; empty: all.
        stage: how far; None: the decision's.

    Raises:
        NotAuthorised: not a person who counts, or a check that is not waived.
        UsageError: a result that is not there or passed, a scope beyond the decision's, no reason, control or limit.
        NotFound: no such decision.
    """
    known = Known(ws)
    decided = persons.find_decision(known, decision.digest)
    person = persons.person_of(known, key, persons.bench(known, decided), "waives")
    chosen = tuple(str(Slot.parse(s)) for s in slots) or decided.ruling.slots
    found = _result(decided, check, signal)
    if found is None:
        told = ", ".join(f"{r['check']} {r['signal']}".rstrip() for r in decided.payload["checks"])
        raise UsageError("no such result in this decision", got=f"{check} {signal}".rstrip(), hint=f"one of {told}")
    terms = Terms(
        decision=decided.digest,
        policy=decided.ruling.policy,
        release=decided.ruling.release,
        check=check,
        signal=signal,
        status=Status(found["status"]),
        sites=persons.sites_of(chosen),
        slots=chosen,
        stage=stage or decided.ruling.stage,
        reason=reason.strip(),
        control=control.strip(),
        ledger_head=Seen.now(ws),
        nonce=persons.draw_nonce(),
        not_before_ns=now_ns,
        expires_ns=expires_ns,
        max_hours=max_hours,
        max_episodes=max_episodes,
    )
    policy = _policy(ws, decided)
    if not _waivable(policy, check):
        hint = "this check is never waived" if check in NEVER_WAIVED else "its policy does not say waivable"
        raise NotAuthorised("this check is not waived", got=check, hint=hint)
    wrong = _wrong(terms, decided, policy)
    if wrong:
        raise UsageError(wrong, got=f"{check} {signal}".rstrip(), where=short(decided.digest))
    event = persons.sign(ws, "waiver", terms, key=key, person=person)
    return Waiver(digest=str(event.body["waiver"]), terms=terms, persons=(person,))


def countersign(ws: Workspace, waiver: Ref, *, key: str) -> Waiver:
    """Sign a waiver that another person wrote: policies that ask for several persons need it.

    Raises:
        NotFound: no such waiver on this ledger.
        NotAuthorised: not a person who counts.
    """
    known = Known(ws)
    signed = _signed(known, waiver.digest)
    if not signed:
        raise NotFound("no such waiver on this ledger", got=short(waiver.digest), hint="worldgate show")
    terms = signed[0].statement
    decided = persons.find_decision(known, terms.decision)
    person = persons.person_of(known, key, persons.bench(known, decided), "waives")
    before = [s.person for s in signed]
    if person in before:
        raise NotAuthorised("this person has signed it already", got=person, hint="ask another person")
    persons.sign(ws, "waiver", terms, key=key, person=person)
    return Waiver(digest=waiver.digest, terms=terms, persons=(*before, person))


def standing(known: Known, digest: str, now_ns: int) -> Waiver:
    """A waiver that holds now: enough persons, not withdrawn, its time and its exposure not used up.

    Raises:
        NotAuthorised: it does not, with the reason.
        NotFound: the decision that it answers is not on this ledger.
        Tampered: that decision does not hold.
    """
    signed = _signed(known, digest)
    if not signed:
        raise NotAuthorised("a waiver that nobody signed whose signature counts", got=short(digest))
    terms = signed[0].statement
    decided = persons.find_decision(known, terms.decision)
    wrong = _wrong(terms, decided, _policy(known.ws, decided))
    if wrong:
        raise NotAuthorised(wrong, got=short(digest))
    bench = persons.bench(known, decided)
    given = {s.person for s in signed if not (bench.refusal(s.person) or _misplaced(known, s, decided))}
    lacking = bench.lacking(given)
    if lacking:
        raise NotAuthorised("too few persons have waived", got=lacking, where=short(digest))
    if known.withdrawn(digest):
        raise NotAuthorised("the waiver was withdrawn", got=short(digest))
    if not terms.not_before_ns <= now_ns < terms.expires_ns:
        raise NotAuthorised("the waiver is not in force", got=f"until {format_ns(terms.expires_ns)}")
    _within_exposure(known, terms, now_ns)
    return Waiver(digest=digest, terms=terms, persons=tuple(sorted(given)))


def _within_exposure(known: Known, terms: Terms, now_ns: int) -> None:
    spent = used(known, terms.release, terms.slots, terms.not_before_ns, now_ns)
    if spent.unknown:
        hint = "worldgate fleet exposure"
        raise NotAuthorised("the exposure under a waiver is not known", got=spent.unknown, hint=hint)
    if terms.max_hours is not None and spent.running_ns >= terms.max_hours * HOUR_NS:
        told = f"{spent.running_ns / HOUR_NS:g} of {terms.max_hours} h"
        raise NotAuthorised("the hours of the waiver are used up", got=told)
    if terms.max_episodes is not None and spent.episodes >= terms.max_episodes:
        told = f"{spent.episodes} of {terms.max_episodes}"
        raise NotAuthorised("the episodes of the waiver are used up", got=told)


def in_force(
    ws: Workspace, policy: GatePolicy, release: str, slots: Sequence[str], *, now_ns: int, upto_seq: int
) -> list[tuple[str, dict[str, Any]]]:
    """(digest, terms) of every waiver that a decision may take into account, as the ledger stood, by digest."""
    known = Known(ws, upto_seq)
    named = {str(e.body.get("waiver")) for e in known.events(WAIVED) if e.body.get("release") == release}
    found = []
    for digest in sorted(named):
        try:
            terms = standing(known, digest, now_ns).terms
        except (WorldgateError, KeyError, TypeError, ValueError):
            continue  # it does not hold, or is signed nonsense; `record verify` names the latter
        fits = terms.policy == policy.digest and set(slots) <= set(terms.slots) and covers(terms.stage, policy.stage)
        if fits:
            tree = to_json(terms)
            assert isinstance(tree, dict)
            found.append((digest, tree))
    return found


def apply(
    policy: GatePolicy, waivers: Sequence[tuple[str, Mapping[str, Any]]], results: Sequence[CheckResult]
) -> list[CheckResult]:
    """Results, each with the waiver that stands in for its pass; of several the one that ends last. Pure."""
    out, told = [], Counter((result.check, result.signal) for result in results)
    for result in results:
        fitting = [(int(t["expires_ns"]), digest) for digest, t in waivers if _excuses(t, result)]
        once = told[result.check, result.signal] == 1
        waived = max(fitting)[1] if fitting and once and _waivable(policy, result.check) else ""
        out.append(dataclasses.replace(result, waived=waived))
    return out


def _excuses(terms: Mapping[str, Any], result: CheckResult) -> bool:
    found = {Status.FAIL: (Status.FAIL,), Status.INCONCLUSIVE: (Status.FAIL, Status.INCONCLUSIVE)}
    same = (terms["check"], terms["signal"]) == (result.check, result.signal)
    return same and terms["status"] in found.get(result.status, ())


def _waivable(policy: GatePolicy, check: str) -> bool:
    asked = [spec.waivable for spec in policy.checks if spec.check == check]
    return check not in NEVER_WAIVED and bool(asked) and all(asked)


def _policy(ws: Workspace, decided: Decided) -> GatePolicy:
    return policies.read(ws.get_json(decided.ruling.policy), where=short(decided.ruling.policy))


def _result(decided: Decided, check: str, signal: str) -> Mapping[str, Any] | None:
    found = [r for r in decided.payload["checks"] if (r["check"], r["signal"]) == (check, signal)]
    return found[0] if len(found) == 1 else None  # a policy may ask one check twice: which one would be a guess


def _wrong(terms: Terms, decided: Decided, policy: GatePolicy) -> str:
    """What is wrong with the terms of a waiver, or nothing."""
    ruling, found = decided.ruling, _result(decided, terms.check, terms.signal)
    if ruling.verdict not in {Verdict.HOLD, Verdict.REJECT}:
        return f"there is nothing to waive: the gate said {ruling.verdict}"
    if found is None or found["status"] != terms.status or terms.status is Status.PASS:
        return "a waiver of a result that the decision does not have"
    if not _waivable(policy, terms.check):
        return "a waiver of a check that is not waived"
    if (terms.release, terms.policy) != (ruling.release, ruling.policy):
        return "a waiver of another release or policy than its decision"
    inside = terms.slots and set(terms.slots) <= set(ruling.slots) and covers(ruling.stage, terms.stage)
    if not inside or terms.sites != persons.sites_of(terms.slots):
        return "a waiver beyond the slots, sites or stage of its decision"
    longest = terms.not_before_ns + policy.valid_for_days * DAY_NS
    if not ruling.decided_at_ns <= terms.not_before_ns < terms.expires_ns <= longest:
        return f"a waiver begins after its decision and lasts no longer than {policy.valid_for_days} days"
    if not terms.reason or not terms.control:
        return "a waiver says why, and what is done instead"
    limits = [limit for limit in (terms.max_hours, terms.max_episodes) if limit is not None]
    if not limits or min(limits) < 1:
        return "a waiver ends after so many hours or episodes, too"
    return ""


def _signed(known: Known, digest: str) -> list[Signed[Terms]]:
    """The signatures under a waiver that hold, in order."""
    found = []
    for event in known.events(WAIVED):
        if event.body.get("waiver") == digest:
            try:
                found.append(persons.read(known, event, "waiver", Terms))
            except WorldgateError:
                continue  # `record verify` names it
    return found


def _misplaced(known: Known, signed: Signed[Terms], decided: Decided) -> str:
    return persons.replayed(known, signed, "waiver") or persons.unseen(known, signed, decided)


def check_waiver(ws: Workspace, event: Event) -> str | None:
    """What is wrong with a ``gate.waived`` event, as the ledger stood then, or nothing; handed to the verifier."""
    known = Known(ws, event.seq)
    signed = persons.read(known, event, "waiver", Terms)
    decided = persons.find_decision(known, signed.statement.decision)
    wrong = _wrong(signed.statement, decided, _policy(ws, decided)) or _misplaced(known, signed, decided)
    return wrong or persons.bench(known, decided).refusal(signed.person) or None
