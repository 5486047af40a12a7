"""Gate scenes of the demo: trials in the cell until the gate has its answer, and the decision as a table.

Trials come in batches, and the gate is asked after each: it answers HOLD until the sequential test crosses, then it
promotes or rejects. Every ask is on the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from worldgate.core.digest import to_json
from worldgate.core.evidence import Status, Trial, Verdict
from worldgate.core.names import Slot
from worldgate.core.report import Table
from worldgate.core.times import SECOND
from worldgate.core.worlds import Environment, Policy
from worldgate.evidence import decide, trials
from worldgate.evidence import policy as policies
from worldgate.evidence.approvals import approve
from worldgate.evidence.decide import Decision, Scope
from worldgate.evidence.scenarios import Envelope, Scenario, Source, register
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
    return wrap(drawn, name=name or f"{site}-{'person' if person else 'plain'}-{seed}")


def wrap(drawn: situations.Scenario, *, name: str, source: Source = "authored", incident: str = "") -> Scenario:
    """The cell's own scenario inside the record's."""
    initial = to_json(drawn)
    assert isinstance(initial, dict)
    return Scenario(name=name, site=drawn.site, initial=initial, envelope=ENVELOPE, source=source, incident=incident)


def environment(slot: Slot) -> trials.EnvironmentFactory:
    """A factory of cells on one arm."""

    def make(scenario: Scenario, seed: int) -> Environment:
        situation = situations.from_json(scenario.initial)
        return CellEnvironment(situation.site, arm=str(slot.arm), scenario=situation)

    return make


def suite(ws: Workspace, slots: Sequence[Slot], *, count: int, seed: int, person: bool) -> list[Scenario]:
    """Scenarios of the slots' sites in turn, registered; with ``person`` every second one has somebody reach in."""
    sites = sorted({str(slot.site) for slot in slots})
    made = [
        cell_scenario(sites[i % len(sites)], seed + i, person=person and (i // len(sites)) % 2 == 0)
        for i in range(count)
    ]
    for scenario in made:
        register(ws, scenario)
    return made


def run_batch(
    policy: Policy, slots: Sequence[Slot], batch: Sequence[Scenario], *, first: int, now_ns: int
) -> Iterator[Trial]:
    """Run scenarios one after the other, each on an arm of its site."""
    for number, scenario in enumerate(batch, first):
        arms = [slot for slot in slots if slot.site == scenario.site]
        slot = arms[(number // 2) % len(arms)]
        world = environment(slot)(scenario, number)
        yield trials.run_trial(
            policy, world, scenario, slot=str(slot), seed=number, max_steps=MAX_STEPS, clock=lambda: now_ns
        )


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
    scenarios: Sequence[Scenario],
    slots: Sequence[Slot],
    *,
    evidence: Sequence[Ref],
    now_ns: int,
    chosen_by: str = "",
) -> Gated:
    """Run trials batch by batch and ask the promotion gate after each, until it promotes, rejects or runs dry.

    Args:
        stage: the demo's.
        release: what is judged.
        policy: the same, executable.
        scenarios: in the order in which they are run.
        slots: the arms it is to run on, and runs its trials on.
        evidence: the training record of its weights.
        now_ns: the day of the decision.
        chosen_by: the world model that chose scenarios; empty: none did.
    """
    ws = stage.ws
    rule = gate_policy(ws, "demo-promotion")
    scope = Scope(slots=tuple(map(str, slots)))
    ran: list[Trial] = []
    refs: list[Ref] = []
    with stage.story.progress(f"trials of {release.name}") as progress:
        while True:
            upcoming = scenarios[len(ran) : len(ran) + BATCH]
            batch = list(run_batch(policy, slots, upcoming, first=len(ran), now_ns=now_ns + len(ran) * SECOND))
            refs += trials.record_trials(ws, batch, chosen_by=chosen_by)
            ran += batch
            decision = decide.decide(
                ws, rule, release, evidence, scope=scope, now_ns=now_ns + 3600 * SECOND, valid_for_ns=60 * DAY
            )
            progress(len(ran), len(scenarios), decision.verdict)
            if decision.verdict is not Verdict.HOLD or len(ran) >= len(scenarios):
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


def plan_of(ws: Workspace, decision: Decision) -> SequentialPlan:
    """The sequential test that a decision's policy registered."""
    tree = ws.get_json(str(decision.payload["policy"]["digest"]))
    params: Mapping[str, object] = next(c["params"] for c in tree["checks"] if c["check"] == "success")
    return SequentialPlan.make(p0=str(params["p0"]), alpha=str(params["alpha"]), looks=params["looks"])  # type: ignore[arg-type]  # JSON
