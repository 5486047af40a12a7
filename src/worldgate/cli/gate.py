"""``worldgate gate``: decide, and approve what was decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cyclopts import App

from worldgate.cli._gate_prereg import prereg
from worldgate.cli._output import JsonFlag, Table, answer
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from worldgate.evidence.decide import Decision
    from worldgate.record.events import Ref
    from worldgate.record.workspace import Workspace

app = App(name="gate")
app.command(prereg)
NOT_PASSED = 3


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


def recorded_policy(ws: Workspace, text: str) -> Ref:
    """A policy by file, shipped name, or what the record calls it."""
    from worldgate.evidence import policy

    if text.endswith(".toml") or text in policy.shipped():
        return policy.register(ws, policy.load(text))
    return ws.resolve(text, "gate_policy")


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
    days: float = 30.0,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Approve a promotion with a person's key, not the releaser's own.

    For example:

        worldgate gate approve 4c7a9a17 --key grace
        worldgate gate approve 4c7a9a17 --key grace --slot kitchen/ur5-17/left --days 7

    Args:
        decision: Id of a promotion decision.
        key: Name of the approver's key.
        slot: A part of the decision's arms; else all of them.
        days: How long the approval holds; never longer than the decision.
    """
    from worldgate.core.times import format_ns, now_ns
    from worldgate.evidence.approvals import approve as sign
    from worldgate.evidence.decide import DAY_NS

    now = now_ns()
    with open_workspace(workspace) as ws:
        ref = ws.resolve(decision, "decision")
        until = min(now + round(days * DAY_NS), ws.get_json(ref.digest)["expires_ns"])
        given = sign(ws, ref, key=key, now_ns=now, expires_ns=until, slots=slot)
    said = f"approved by {given.person} for {', '.join(given.slots)} until {format_ns(given.expires_ns)}"
    answer("gate.approve", {"approval": given}, said, as_json=json)
