"""Gate scenes of the demo: a plan, its trials in the cell until the gate has its answer, and the decision as a table.

Trials come in batches, and the gate is asked after each: it answers HOLD until the sequential test crosses, then it
promotes or rejects. Every ask is on the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import count
from pathlib import Path
from typing import Any

from worldgate.core.digest import to_json
from worldgate.core.evidence import Status, Trial, Verdict
from worldgate.core.names import Slot
from worldgate.core.report import Table
from worldgate.core.streams import Origin
from worldgate.core.times import SECOND
from worldgate.core.worlds import Environment, Policy
from worldgate.evidence import decide, plans, trials
from worldgate.evidence import policy as policies
from worldgate.evidence.approvals import approve
from worldgate.evidence.decide import Decision, Scope
from worldgate.evidence.exact import ratio
from worldgate.evidence.running import run_rows
from worldgate.evidence.scenarios import Envelope, Scenario, Source, Suite, register, register_suite
from worldgate.evidence.sequential import SequentialPlan
from worldgate.recipes._demo_stage import DAY, OPERATOR, Stage
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.sim import scenario as situations
from worldgate.sim.attributes import Attributes
from worldgate.sim.environment import CellEnvironment

ENVELOPE = Envelope(clearance_m=0.02)
"""The sites' limit: the arm stays 2 cm clear of a person's skin."""
MAX_STEPS = 120
BATCH = 10

_POLICIES = "worldgate.recipes"


def gate_policy(ws: Workspace, name: str) -> Ref:
    """Register one of the demo's gate policies."""
    with resources.as_file(resources.files(_POLICIES) / "policies" / f"{name}.toml") as file:
        return policies.register(ws, policies.load(Path(file)))


def cell_scenario(site: str, seed: int, *, person: bool, name: str = "") -> Scenario:
    """An initial situation of the cell as a scenario of the record."""
    drawn = situations.sample(site, seed=seed, attributes=Attributes(person=person))
    kind = "person" if person else "plain"
    return wrap(drawn, name=name or f"{site}-{kind}-{seed}", strata={"scene": kind})


def wrap(
    drawn: situations.Scenario,
    *,
    name: str,
    source: Source = "authored",
    incident: str = "",
    strata: Mapping[str, str] | None = None,
) -> Scenario:
    """The cell's own scenario inside the record's."""
    initial = to_json(drawn)
    assert isinstance(initial, dict)
    return Scenario(
        name=name,
        site=drawn.site,
        initial=initial,
        strata=strata or {},
        envelope=ENVELOPE,
        source=source,
        incident=incident,
    )


def environment(slot: str) -> trials.EnvironmentFactory:
    """A factory of cells on one arm."""
    arm = str(Slot.parse(slot).arm)

    def make(scenario: Scenario, seed: int) -> Environment:
        situation = situations.from_json(scenario.initial)
        return CellEnvironment(situation.site, arm=arm, scenario=situation)

    return make


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Gated:
    """What a gate said at last, and the trials that it took."""

    decision: Decision
    trials: tuple[Trial, ...]
    refs: tuple[Ref, ...]


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
    """Register a plan, run its rows batch by batch and ask the promotion gate after each, until it has its answer.

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
    plans.register(ws, plan)
    ran: list[Trial] = []
    refs: list[Ref] = []
    wires, ticks = sum(row.tripwire for row in plan.rows), count(now_ns, SECOND)
    with stage.story.progress(f"trials of {release.name}") as progress:
        while True:
            rows = run_rows(
                ws,
                plan,
                {"new": policy},
                environment,
                first=len(ran) + 1,
                count=BATCH + (0 if ran else wires),
                max_steps=MAX_STEPS,
                clock=lambda: next(ticks),
            )
            batch = list(rows)
            refs += trials.record_trials(ws, batch, chosen_by=chosen_by)
            ran += batch
            decision = decide.decide(
                ws, rule, release, evidence, scope=scope, now_ns=now_ns + 3600 * SECOND, valid_for_ns=60 * DAY
            )
            progress(len(ran), len(plan.rows), decision.verdict)
            if decision.verdict is not Verdict.HOLD or len(ran) >= len(plan.rows):
                return Gated(decision=decision, trials=tuple(ran), refs=tuple(refs))


def approve_and_say(stage: Stage, decision: Decision, *, now_ns: int) -> None:
    """The second person's yes."""
    approve(stage.ws, decision.ref, key=OPERATOR, now_ns=now_ns, expires_ns=now_ns + 30 * DAY)
    stage.story.say(f"{OPERATOR} approves decision {decision.ref.digest[:12]}")


def table(decision: Decision, *, caption: str = "") -> Table:
    """Each check with its bound, what was required and the trials it rests on."""
    rows = tuple(
        (
            f"{'✓' if c.status is Status.PASS else '✕' if c.status is Status.FAIL else '○'} {c.status}",
            f"{c.check} {c.signal}".strip(),
            c.estimate or "-",
            _short(c.bound),
            c.required,
            str(c.n),
            c.detail,
        )
        for c in decision.checks
    )
    headings = ("says", "check", "estimate", "bound", "required", "n", "why")
    return Table(headings=headings, rows=rows, caption=caption)


def _short(bound: str) -> str:
    try:
        return f"{float(bound):.4g}"
    except ValueError:
        return bound or "-"


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
