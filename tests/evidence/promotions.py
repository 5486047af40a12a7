"""What tests of promotions share: a suite, a plan drawn from it, and trials of its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from worldgate.core.evidence import Trial
from worldgate.core.streams import Origin
from worldgate.evidence import planned, plans, scenarios, trials
from worldgate.evidence.plans import EvalPlan, Row
from worldgate.evidence.trials import RecordedTrial
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

SLOT = "bench/ur5/left"


RELEASE, OLD = "6" * 64, "7" * 64


def imagined_plan(
    pairs: int, *, baseline: bool = False, attempts: int = 1, strata: Sequence[str] = (), wires: int = 0
) -> EvalPlan:
    """A plan without a workspace: pair i on scene i, strata in turn, tripwires first."""
    rows = []
    for pair in range(1, wires + pairs + 1):
        wire = pair <= wires
        told = {"condition": strata[pair % len(strata)]} if strata else {}
        for side in ("new",) if wire or not baseline else (("new", "old") if pair % 2 else ("old", "new")):
            rows.append(
                Row(
                    scenario=format(pair, "064x"),
                    seed=pair,
                    slot=SLOT,
                    side=side,
                    pair=pair,
                    tripwire=wire,
                    strata=told,
                )
            )
    return EvalPlan(
        name="plan", policy="1" * 64, release=RELEASE, baseline=OLD if baseline else "", suite="2" * 64,
        executor=Origin.REAL, slots=(SLOT,), pairs=pairs, attempt=1, attempts=attempts, exclusions=("camera",),
        registered_ns=1, rows=tuple(rows),
    )  # fmt: skip


def came_of(
    made: EvalPlan, outcome: Callable[[int, Row], dict[str, Any]], *, rows: int | None = None, attempt: int = 1
) -> planned.Planned:
    """The first rows of a plan, each with the trial that ``outcome(number, row)`` changes from a clean success."""
    digest, done = "a" * 64, []
    for number, row in enumerate(made.rows[:rows], 1):
        fields: dict[str, Any] = {
            "scenario": row.scenario, "release": made.release if row.side == "new" else made.baseline,
            "executor": made.executor, "slot": row.slot, "seed": row.seed, "success": True, "violations": 0,
            "started_ns": 1 + number, "plan": digest, "row": number,
        }  # fmt: skip
        changes = outcome(number, row)
        early = bool(changes.pop("early", False))
        trial = Trial(**{**fields, **changes})
        done.append(RecordedTrial(digest=format(number, "064x"), trial=trial, chosen_by="", early=early))
    return planned.read(made, digest, done, attempt=attempt)


def suite(
    ws: Workspace, count: int = 100, *, site: str = "bench", attempts: int = 1, name: str = "s", **changes: Any
) -> Ref:
    """A held-out suite of ``count`` scenes; a change may be a function of the scene's number."""
    digests = []
    for i in range(count):
        fields = {key: value(i) if callable(value) else value for key, value in changes.items()}
        scene = scenarios.Scenario(name=f"{name}-{i}", site=site, initial={"x": i / 7}, **fields)
        digests.append(scenarios.register(ws, scene).digest)
    held = scenarios.Suite(name=name, role="gate-holdout", scenarios=tuple(digests), attempts=attempts)
    return scenarios.register_suite(ws, held)


def plan(
    ws: Workspace,
    policy: Ref,
    release: Ref,
    *,
    pairs: int = 0,
    held: Ref | None = None,
    now_ns: int = 1,
    **changes: Any,
) -> EvalPlan:
    """A registered plan over all scenes of a suite, made for it where none is given."""
    held = held or suite(ws, pairs or 100)
    count = pairs or len(ws.get_json(held.digest)["scenarios"])
    fields: dict[str, Any] = {"slots": (SLOT,), "executor": Origin.REAL, "name": "plan"}
    made = plans.make(
        ws, policy=policy, release=release, suite=held, pairs=count, now_ns=now_ns, **{**fields, **changes}
    )
    plans.register(ws, made)
    return made


def trial(made: EvalPlan, number: int, success: bool = True, **changes: Any) -> Trial:
    """The trial of a row, from 1, as it should be."""
    row = made.rows[number - 1]
    fields: dict[str, Any] = {
        "scenario": row.scenario,
        "release": made.release if row.side == "new" else made.baseline,
        "executor": made.executor,
        "slot": row.slot,
        "seed": row.seed,
        "success": success,
        "violations": 0,
        "started_ns": made.registered_ns + number,
        "plan": made.digest,
        "row": number,
    }
    return Trial(**{**fields, **changes})


def run(
    ws: Workspace,
    made: EvalPlan,
    outcomes: Sequence[bool] | Callable[[Row], bool],
    *,
    first: int = 1,
    count: int = 0,
    chosen_by: str = "",
    **changes: Any,
) -> None:
    """Run rows from ``first`` on; a function says what comes of each."""
    if callable(outcomes):
        rows = made.rows[first - 1 : first - 1 + count] if count else made.rows[first - 1 :]
        outcomes = [outcomes(row) for row in rows]
    done = [trial(made, first + i, ok, **changes) for i, ok in enumerate(outcomes)]
    trials.record_trials(ws, done, chosen_by=chosen_by)
