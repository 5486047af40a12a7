"""Gate scenes of the demo: its suites, its plans, the second person's yes, and what a decision rested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from worldgate.core.names import Slot
from worldgate.core.streams import Origin
from worldgate.core.worlds import Policy
from worldgate.evidence import plans
from worldgate.evidence.approvals import approve
from worldgate.evidence.decide import Decision, Scope
from worldgate.evidence.exact import ratio
from worldgate.evidence.scenarios import Suite, register, register_suite
from worldgate.evidence.sequential import SequentialPlan
from worldgate.recipes._cell_gates import Gated, cell_scenario, gate_policy, try_until_decided
from worldgate.recipes._cell_stage import DAY, OPERATOR, Stage
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

BATCH = 10


def suite(
    ws: Workspace, slots: Sequence[Slot], *, name: str, scenes: int, seed: int, person: bool, attempts: int = 1
) -> Ref:
    """Scenes of the slots' sites in turn, held out; with ``person`` every second one has somebody reach in."""
    sites = sorted({str(slot.site) for slot in slots})
    made = [
        cell_scenario(sites[i % len(sites)], seed + i, person=person and (i // len(sites)) % 2 == 0)
        for i in range(scenes)
    ]
    digests = tuple(register(ws, scenario).digest for scenario in made)
    return register_suite(ws, Suite(name=name, role="gate-holdout", scenarios=digests, attempts=attempts))


def gate(
    stage: Stage,
    release: Ref,
    policy: Policy,
    held: Ref,
    slots: Sequence[Slot],
    *,
    evidence: Sequence[Ref],
    now_ns: int,
    chosen_by: str = "",
) -> Gated:
    """Draw a plan and try it until the promotion gate has its answer.

    Args:
        stage: the demo's.
        release: what is judged.
        policy: the same, executable.
        held: the suite.
        slots: the arms it is to run on, and runs its trials on.
        evidence: the training record of its weights.
        now_ns: the day of the decision.
        chosen_by: the world model that chose scenarios; empty: none did.
    """
    ws = stage.ws
    rule = gate_policy(ws, "demo-promotion")
    scope = Scope(slots=tuple(map(str, slots)))
    plan = plans.make(
        ws,
        name=f"{release.name}-plan",
        policy=rule,
        release=release,
        suite=held,
        slots=scope.slots,
        pairs=len(ws.get_json(held.digest)["scenarios"]),
        executor=Origin.SIMULATED,
        now_ns=now_ns,
    )
    return try_until_decided(
        stage,
        plan,
        rule,
        release,
        {"new": policy},
        batch=BATCH,
        evidence=evidence,
        now_ns=now_ns,
        chosen_by=chosen_by,
    )


def approve_and_say(stage: Stage, decision: Decision, *, now_ns: int) -> None:
    """The second person's yes."""
    approve(stage.ws, decision.ref, key=OPERATOR, now_ns=now_ns, expires_ns=now_ns + 30 * DAY)
    stage.story.say(f"{OPERATOR} approves decision {decision.ref.digest[:12]}")


def test_of(ws: Workspace, decision: Decision) -> SequentialPlan:
    """The sequential test of success that a decision rests on: its policy's, at this attempt's part of alpha."""
    params = _params(ws, decision, "success")
    digest = next(e["digest"] for e in decision.payload["evidence"] if e["schema"] == plans.SCHEMA)
    alpha = ratio(params["alpha"]) / plans.load(ws, digest).attempts
    return SequentialPlan.make(p0=params["p0"], alpha=alpha, looks=params["looks"])


def tolerated(ws: Workspace, decision: Decision) -> str:
    """The share of scenes with a violation that a decision's policy tolerates."""
    return str(_params(ws, decision, "violations")["limit"])


def _params(ws: Workspace, decision: Decision, check: str) -> Mapping[str, Any]:
    tree = ws.get_json(str(decision.payload["policy"]["digest"]))
    params: Mapping[str, Any] = next(c["params"] for c in tree["checks"] if c["check"] == check)
    return params
