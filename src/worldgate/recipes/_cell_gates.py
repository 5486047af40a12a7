"""Gates of recipes in the embedded cell: scenes, trials of a plan until the gate has its answer, and that as a table.

Trials come in batches, and the gate is asked after each: it answers HOLD until the sequential test crosses, then it
promotes or rejects. Every ask is on the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import count
from pathlib import Path

from worldgate.core.digest import to_json
from worldgate.core.evidence import Status, Trial, Verdict
from worldgate.core.names import Slot
from worldgate.core.report import Table
from worldgate.core.times import SECOND
from worldgate.core.worlds import Environment, Policy
from worldgate.evidence import decide, plans, trials
from worldgate.evidence import policy as policies
from worldgate.evidence.decide import Decision, Scope
from worldgate.evidence.running import run_rows
from worldgate.evidence.scenarios import Envelope, Scenario, Source
from worldgate.recipes._cell_stage import DAY, Stage
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.sim import scenario as situations
from worldgate.sim.attributes import Attributes
from worldgate.sim.environment import CellEnvironment

ENVELOPE = Envelope(clearance_m=0.02)
"""The sites' limit: the arm stays 2 cm clear of a person's skin."""
MAX_STEPS = 120

_POLICIES = "worldgate.recipes"


def gate_policy(ws: Workspace, name: str) -> Ref:
    """Register a gate policy that ships with the recipes."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Gated:
    """What a gate said at last, and the trials that it took."""

    decision: Decision
    trials: tuple[Trial, ...]
    refs: tuple[Ref, ...]


def try_until_decided(
    stage: Stage,
    plan: plans.EvalPlan,
    rule: Ref,
    release: Ref,
    sides: Mapping[plans.Side, Policy],
    *,
    batch: int,
    evidence: Sequence[Ref] = (),
    now_ns: int,
    chosen_by: str = "",
) -> Gated:
    """Register a plan, run its rows batch by batch and ask the promotion gate after each, until it has its answer.

    Args:
        stage: the recipe's.
        plan: drawn from a held-out suite.
        rule: its gate policy.
        release: what is judged.
        sides: executable: what is judged, and what it is compared with where the plan has a baseline.
        batch: rows between two asks; the tripwires, which come first, are run with the first.
        evidence: the training record of its weights.
        now_ns: the day of the decision.
        chosen_by: the world model that chose scenarios; empty: none did.
    """
    ws = stage.ws
    plans.register(ws, plan)
    ran: list[Trial] = []
    refs: list[Ref] = []
    wires, ticks = sum(row.tripwire for row in plan.rows), count(now_ns, SECOND)
    with stage.story.progress(f"trials of {release.name}") as progress:
        while True:
            rows = run_rows(
                ws,
                plan,
                sides,
                environment,
                first=len(ran) + 1,
                count=batch + (0 if ran else wires),
                max_steps=MAX_STEPS,
                clock=lambda: next(ticks),
            )
            fresh = list(rows)
            refs += trials.record_trials(ws, fresh, chosen_by=chosen_by)
            ran += fresh
            scope = Scope(slots=plan.slots)
            decision = decide.decide(
                ws, rule, release, evidence, scope=scope, now_ns=now_ns + 3600 * SECOND, valid_for_ns=60 * DAY
            )
            progress(len(ran), len(plan.rows), decision.verdict)
            if decision.verdict is not Verdict.HOLD or len(ran) >= len(plan.rows):
                return Gated(decision=decision, trials=tuple(ran), refs=tuple(refs))


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
