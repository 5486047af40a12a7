"""What a gate still needs of a plan's trials: the gate itself is asked, and nothing is recorded."""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.core.digest import short
from worldgate.core.evidence import Verdict
from worldgate.evidence import plans
from worldgate.evidence import policy as policies
from worldgate.evidence.decide import DAY_NS, Scope, evaluate, gather
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """How far a plan is from its decision."""

    decided: bool
    """Whether the gate would answer PROMOTE or REJECT now; further trials are not needed."""
    missing: tuple[str, ...]
    """What each inconclusive check still needs, in words."""


def left(ws: Workspace, plan: str, *, now_ns: int, upto_seq: int | None = None) -> Left:
    """Ask the plan's gate.

    Args:
        ws: the workspace.
        plan: digest of a registered plan.
        now_ns: the moment that is asked about.
        upto_seq: the ledger as it stood there; None: now.

    Raises:
        NotFound: no such plan, or evidence that is not in the store.
    """
    held = plans.load(ws, plan)
    policy = policies.read(ws.get_json(held.policy), where=short(held.policy))
    head = ws.ledger.head()
    newest = plans.newest(ws, held.release, sorted(held.sites), upto_seq=head.seq)
    if newest is not None and newest.body["plan"] != plan:
        newer = f"a newer plan of this release stands on the ledger, {short(str(newest.body['plan']))}: run that one"
        return Left(decided=False, missing=(newer,))
    inputs = gather(
        ws,
        policy,
        Ref("release", held.release),
        [],
        scope=Scope(slots=held.slots),
        decided_at_ns=now_ns,
        expires_ns=now_ns + DAY_NS,
        head=(head.seq if upto_seq is None else upto_seq, head.hash),
    )
    payload = evaluate(policy, inputs)
    return Left(decided=payload["verdict"] != Verdict.HOLD, missing=tuple(payload["missing"]))
