"""``worldgate gate``: decide, approve what was decided, waive what held it up, and say what may run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from cyclopts import App

from worldgate.cli._gate_adopt import adopt
from worldgate.cli._gate_claim import claim
from worldgate.cli._gate_policy import recorded_policy
from worldgate.cli._gate_prereg import prereg
from worldgate.cli._output import JsonFlag, Table, answer
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from worldgate.evidence.decide import Decision

app = App(name="gate")
app.command(adopt)
app.command(claim)
app.command(prereg)
NOT_PASSED = 3
StageOption: TypeAlias = Literal["canary", "site", "fleet"]


@app.default
def gate(
    policy: str,
    subject: str,
    /,
    *evidence: str,
    site: tuple[str, ...] = (),
    slot: tuple[str, ...] = (),
    days: float = 90.0,
    key: str | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> int:
    """Decide by a policy whether a world model is admitted or a release promoted.

    For example:

        worldgate gate admission 4c7a9a17 5d01b2aa --site kitchen
        worldgate gate promotion careful-r3 --slot kitchen/ur5-17/left --slot kitchen/ur5-17/right

    The decision is signed, scoped and expiring, and anyone can compute it again. Exit code 3 if it does not pass.

    Args:
        policy: A TOML file, a policy that ships with Worldgate, or the id or name of a recorded one.
        subject: Id or name of a world model (admission) or a release (promotion).
        evidence: Ids of gap reports; trials, training records and incidents come from the record.
        site: Admission: where the model may serve as evidence.
        slot: Promotion: an arm, as site/robot/arm.
        days: How long it is meant to hold; the policy may cut it short.
        key: Name of the key that signs; else the program's own.
    """
    from worldgate.core.times import now_ns
    from worldgate.evidence.decide import DAY_NS, Scope, decide

    with open_workspace(workspace) as ws:
        decision = decide(
            ws,
            recorded_policy(ws, policy),
            ws.resolve(subject),
            [ws.resolve(item) for item in evidence],
            scope=Scope(sites=site, slots=slot),
            now_ns=now_ns(),
            valid_for_ns=round(days * DAY_NS),
            actor=key,
        )
    _tell(decision, as_json=json)
    return 0 if decision.passed else NOT_PASSED


def _tell(decision: Decision, *, as_json: bool) -> None:
    from worldgate.core.digest import short
    from worldgate.core.times import format_ns

    payload = decision.payload
    rows = [(c.check, c.status, c.signal, c.statistic, c.estimate, c.bound, c.required, c.n) for c in decision.checks]
    columns = ("check", "status", "signal", "statistic", "estimate", "bound", "required", "n")
    where = ", ".join((*payload["scope"]["slots"], *payload["scope"]["sites"]))
    said = [
        f"{decision.verdict}: {payload['policy']['name']}, decision {short(decision.ref.digest)}",
        f"for {where or 'no place'} until {format_ns(payload['expires_ns'])}; population: {payload['population']}",
        *(f"missing: {item}" for item in payload["missing"]),
        *payload["notes"],
    ]
    body = {"decision": decision.ref, "verdict": decision.verdict, "passed": decision.passed, "payload": payload}
    answer("gate", body, Table(columns=columns, rows=rows), *said, as_json=as_json)


@app.command
def approve(
    decision: str,
    /,
    *,
    key: str,
    slot: tuple[str, ...] = (),
    stage: StageOption | None = None,
    days: float = 30.0,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Approve a promotion with a person's key, not the releaser's own.

    For example:

        worldgate gate approve 4c7a9a17 --key grace
        worldgate gate approve 4c7a9a17 --key grace --slot kitchen/ur5-17/left --stage canary --days 7

    The decision is computed again from its evidence first; one that its evidence does not give is not approved.

    Args:
        decision: Id of a promotion decision.
        key: Name of the approver's key.
        slot: A part of the decision's arms; else all of them.
        stage: The decision's stage or a smaller one; else the decision's.
        days: How long the approval holds; never longer than the decision.
    """
    from worldgate.core.errors import NotAuthorised
    from worldgate.core.times import format_ns, now_ns
    from worldgate.evidence import recompute
    from worldgate.evidence.approvals import approve as sign
    from worldgate.evidence.decide import DAY_NS
    from worldgate.evidence.persons import Known, find_decision

    now = now_ns()
    with open_workspace(workspace) as ws:
        ref = ws.resolve(decision, "decision")
        wrong = recompute.check_decision(ws, find_decision(Known(ws), ref.digest).event)
        if wrong is not None:
            raise NotAuthorised("nobody approves what does not hold", got=wrong, hint="worldgate record verify")
        until = min(now + round(days * DAY_NS), ws.get_json(ref.digest)["expires_ns"])
        given = sign(ws, ref, key=key, now_ns=now, expires_ns=until, slots=slot, stage=stage)
    until_text = format_ns(given.expires_ns)
    said = f"approved by {given.person} for {', '.join(given.slots)} as {given.stage} until {until_text}"
    answer("gate.approve", {"approval": given}, said, f"approval {given.digest[:12]}", as_json=json)


@app.command
def waive(
    decision: str,
    check: str,
    signal: str = "",
    /,
    *,
    key: str,
    reason: str,
    control: str,
    days: float,
    hours: int | None = None,
    episodes: int | None = None,
    slot: tuple[str, ...] = (),
    stage: StageOption | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Stand in for one check that held or rejected a release, for a while; the next decision takes it into account.

    For example:

        worldgate gate waive 4c7a9a17 success --key grace --reason "..." --control "..." --days 7 --hours 20
        worldgate gate waive 4c7a9a17 admitted --key grace --reason "..." --control "..." --days 2 --episodes 50

    Format, identity, signatures, violations and incidents are never waived, and other checks only where their policy
    says so. Policies that ask for several persons need `worldgate gate countersign`.

    Args:
        decision: Id of the decision that held or rejected.
        check: Name of the check.
        signal: Which of its results, where it has several.
        key: Name of the person's key; not the releaser's own.
        reason: Why the check may be passed over.
        control: What is done instead while it is.
        days: When it ends.
        hours: Hours that the release may run on all arms together; this or --episodes is needed.
        episodes: Episodes that it may run.
        slot: A part of the decision's arms; else all of them.
        stage: The decision's stage or a smaller one; else the decision's.
    """
    from worldgate.core.times import format_ns, now_ns
    from worldgate.evidence import waivers

    now = now_ns()
    with open_workspace(workspace) as ws:
        given = waivers.waive(
            ws,
            ws.resolve(decision, "decision"),
            check=check,
            signal=signal,
            key=key,
            now_ns=now,
            expires_ns=now + round(days * waivers.DAY_NS),
            reason=reason,
            control=control,
            max_hours=hours,
            max_episodes=episodes,
            slots=slot,
            stage=stage,
        )
    until = format_ns(given.terms.expires_ns)
    said = f"{given.terms.status} of {check} waived by {given.persons[0]} until {until}: waiver {given.digest[:12]}"
    answer("gate.waive", {"waiver": given}, said, "it counts from the next decision on", as_json=json)


@app.command
def countersign(waiver: str, /, *, key: str, workspace: WorkspaceOption = None, json: JsonFlag = False) -> None:
    """Sign a waiver that another person wrote.

    For example:

        worldgate gate countersign 9b41c0de --key heidi
        worldgate gate countersign 9b41c0de --key heidi --json

    Args:
        waiver: Id of the waiver.
        key: Name of the person's key; not the releaser's own.
    """
    from worldgate.evidence import waivers

    with open_workspace(workspace) as ws:
        given = waivers.countersign(ws, ws.resolve(waiver, "waiver"), key=key)
    said = f"waiver {given.digest[:12]} is signed by {', '.join(given.persons)}"
    answer("gate.countersign", {"waiver": given}, said, as_json=json)


@app.command
def withdraw(
    statement: str, /, *, key: str, reason: str, workspace: WorkspaceOption = None, json: JsonFlag = False
) -> None:
    """Take back an approval or a waiver, at once.

    For example:

        worldgate gate withdraw 9b41c0de --key grace --reason "the brake was not tested"
        worldgate gate withdraw 9b41c0de --key heidi --reason "the pen was removed" --json

    Args:
        statement: Id of the approval or waiver.
        key: Name of a person's key; any person may.
        reason: Why, for the record.
    """
    from worldgate.evidence import persons

    with open_workspace(workspace) as ws:
        ref = ws.resolve(statement)
        event = persons.withdraw(ws, ref, key=key, reason=reason)
    said = f"{ref.kind} {ref.digest[:12]} is withdrawn in record {event.seq}"
    answer("gate.withdraw", {"event": event.digest, "withdrawn": ref}, said, as_json=json)


@app.command
def authorised(
    release: str,
    /,
    *,
    slot: str,
    stage: StageOption = "site",
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> int:
    """Say whether a release may run on an arm now, and why or why not.

    For example:

        worldgate gate authorised careful-r3 --slot kitchen/ur5-17/left
        worldgate gate authorised careful-r3 --slot kitchen/ur5-17/left --stage canary

    Exit code 3 if it may not.

    Args:
        release: Id or name of the release.
        slot: The arm, as site/robot/arm.
        stage: How far it shall go.
    """
    from worldgate.core.errors import NotAuthorised
    from worldgate.core.names import Slot
    from worldgate.core.times import format_ns, now_ns
    from worldgate.evidence import adopted, approvals
    from worldgate.evidence.persons import Known, bench

    now = now_ns()
    with open_workspace(workspace) as ws:
        ref, known = ws.resolve(release, "release"), Known(ws)
        found, refused = None, None
        try:
            found = approvals.authorise(ws, ref.digest, slot, now, stage=stage)
        except NotAuthorised as error:
            refused = error
        decisions, _ = approvals.promotions(known, ref.digest, slot)
        site = str(Slot.parse(slot).site)
        policies = adopted.adopted(known, site)
        seen = [c for d in decisions for c in approvals.considered(known, d, bench(known, d), slot, stage, now)]
    rows = [(c.person, "counts" if not c.why_not else c.why_not) for c in seen]
    parts = [Table(columns=("approved by", "here"), rows=rows)] if rows else []
    body = {"authorised": found is not None, "authorisation": found, "approvals": seen, "adopted": policies}
    if found is not None:
        told = f"may run on {found.slot} as {stage} until {format_ns(found.expires_ns)}: approved by "
        said = [f"rests on waiver {digest[:12]}" for digest in found.waivers]
        if not policies:
            said.append(f"{site} has adopted no policy: promotions under any count here (worldgate gate adopt)")
        answer("gate.authorised", body, *parts, told + ", ".join(found.persons), *said, as_json=json)
        return 0
    assert refused is not None
    why = {"what": refused.what, "got": None if refused.got is None else str(refused.got), "hint": refused.hint}
    got = f": {refused.got}" if refused.got is not None else ""
    answer("gate.authorised", {**body, "why": why}, *parts, f"may not run: {refused.what}{got}", as_json=json)
    return NOT_PASSED
