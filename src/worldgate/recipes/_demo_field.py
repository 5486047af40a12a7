"""Scene c of the demo: a release goes to the field, a person is nearly touched, and the record says what ran there."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from worldgate.core.errors import NotFound
from worldgate.core.names import Slot
from worldgate.core.report import Picture, Section, Table, figure
from worldgate.core.times import SECOND, format_ns
from worldgate.core.worlds import Policy
from worldgate.data.ingest import ingest
from worldgate.evidence.scenarios import Scenario
from worldgate.fleet import deployments
from worldgate.fleet.as_of import Answer, Certainty, as_of
from worldgate.fleet.backfill import backfill
from worldgate.fleet.ribbon import ribbon
from worldgate.recipes._cell_gates import ENVELOPE, MAX_STEPS, cell_scenario, environment
from worldgate.recipes._cell_stage import DAY, Stage
from worldgate.recipes._demo_record import recording
from worldgate.recipes._demo_stage import ARM_B, LATE, NEAR_MISS, RECORDED, SWITCH_ERROR, SWITCHED
from worldgate.record.events import Ref
from worldgate.sim import scenario as situations
from worldgate.sim.record import record

_SEARCH = 200
"""Shifts looked through for a near-miss before giving up."""
_CONTEXT = 12
"""Steps that a near-miss must have before and after it: what its replay starts from and is compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NearMiss:
    """What happened on arm B."""

    log: Ref
    at_ns: int
    """The moment of least clearance, on the robot's clock."""
    clearance_m: float
    scenario: situations.Scenario
    seed: int


def deploy(stage: Stage, release: Ref, old: Ref, slots: Sequence[Slot]) -> None:
    """r0 is backfilled from a spreadsheet, r1 assigned to every arm; each robot but one says that it booted it."""
    ws = stage.ws
    sheet = stage.folder / "past-deployments.csv"
    _write_past(sheet, old, slots)
    backfill(ws, sheet, recorded_at_ns=SWITCHED + 60 * SECOND)
    for slot in slots:
        deployments.assign(
            ws, release, slot, SWITCHED, authorise=deployments.by_gate, recorded_at_ns=SWITCHED - 1800 * SECOND
        )
        if slot != late_arm(slots):
            boot(stage, slot, release, number=7, learned_ns=SWITCHED + 60 * SECOND)


def late_arm(slots: Sequence[Slot]) -> Slot:
    """The arm whose receipt comes days late: the first that is not the near-miss's."""
    return next(slot for slot in slots if slot != ARM_B)


def boot(stage: Stage, slot: Slot, release: Ref, *, number: int, learned_ns: int) -> None:
    """A robot's signed receipt of what it loaded, and when we learned of it."""
    receipt = deployments.Receipt(
        slot=str(slot),
        release=release.digest,
        boot=number,
        booted_ns=SWITCHED,
        alive_ns=NEAR_MISS + 3600 * SECOND,
        err_ns=SWITCH_ERROR,
    )
    envelope = deployments.sign_receipt(receipt, stage.ws.signer(str(slot.robot)))
    deployments.receive(stage.ws, envelope, recorded_at_ns=learned_ns)


def _write_past(path: Path, old: Ref, slots: Sequence[Slot]) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["slot", "release", "from", "to", "error_s", "source"])
        for slot in slots:
            rows.writerow(
                [slot, old.digest, format_ns(RECORDED), format_ns(SWITCHED), SWITCH_ERROR / SECOND, "shift book"]
            )


def near_miss(stage: Stage, release: Ref, policy: Policy, *, seed: int) -> NearMiss:
    """Let shifts go by until a person reaches in on arm B and the arm comes too near, then keep that shift's log.

    Raises:
        NotFound: no shift of the search came near; another seed will.
    """
    for number in range(_SEARCH):
        scenario = cell_scenario(str(ARM_B.site), seed + number, person=True)
        least, at_step, steps = _least_clearance(policy, scenario, seed + number)
        if 0.0 < least < (ENVELOPE.clearance_m or 0.0) and _CONTEXT <= at_step <= steps - _CONTEXT:
            break
    else:
        raise NotFound("no near-miss in these shifts", got=_SEARCH, hint="--set seed=1")
    situation = situations.from_json(scenario.initial)
    path = stage.folder / "field" / f"{format_ns(NEAR_MISS)[:10]}-{ARM_B.arm}.mcap"
    path.parent.mkdir(exist_ok=True)
    record(
        path,
        site=str(ARM_B.site),
        arm=str(ARM_B.arm),
        expert=policy,
        seed=seed + number,
        scenario=situation,
        start_ns=NEAR_MISS,
        release=release.digest,
        config=recording(),
    )
    (log,) = ingest(stage.ws, path, site=str(ARM_B.site), robot=str(ARM_B.robot), arm=str(ARM_B.arm))
    at_ns = NEAR_MISS + at_step * SECOND // 10
    stage.story.say(f"shift {number + 1}: clearance {least * 100:.1f} cm on {ARM_B} at {format_ns(at_ns)}")
    return NearMiss(log=log, at_ns=at_ns, clearance_m=least, scenario=situation, seed=seed + number)


def _least_clearance(policy: Policy, scenario: Scenario, seed: int) -> tuple[float, int, int]:
    """Least clearance of one shift, at which step, of how many."""
    world = environment(str(ARM_B))(scenario, seed)
    observation = world.reset(seed=seed)
    policy.reset(seed=seed)
    least, at_step, step = float("inf"), 0, 0
    for step in range(MAX_STEPS):
        transition = world.step(policy.act(observation))
        observation = transition.observation
        if transition.facts["clearance_m"] < least:
            least, at_step = transition.facts["clearance_m"], step
        if transition.done:
            break
    return least, at_step, step + 1


def questions(stage: Stage, release: Ref, happened: NearMiss, slots: Sequence[Slot]) -> Section:
    """As-of: certain at the near-miss, ambiguous beside a switch, and different after a late receipt arrives."""
    ws = stage.ws
    ask: Callable[..., Answer] = lambda slot, at, known=None: as_of(ws, str(slot), at, known)  # noqa: E731
    late = late_arm(slots)
    beside = SWITCHED + 2 * SECOND
    asked = SWITCHED + 3600 * SECOND
    before = ask(late, asked)
    boot(stage, late, release, number=3, learned_ns=LATE)
    after, reproduced = ask(late, asked), ask(late, asked, LATE - SECOND)
    rows = [
        ("the near-miss", ARM_B, happened.at_ns, "now", ask(ARM_B, happened.at_ns)),
        ("two seconds after the switch", ARM_B, beside, "now", ask(ARM_B, beside)),
        ("before its receipt came", late, asked, "then", before),
        ("after its receipt came", late, asked, "now", after),
        ("as known before it came", late, asked, format_ns(LATE - SECOND), reproduced),
    ]
    stage.facts["as_of"] = {what: str(answer.certainty) for what, _, _, _, answer in rows}
    assert replace(before, known_as_of_ns=None) == replace(reproduced, known_as_of_ns=None), "the past is reproducible"
    good = rows[0][4].certainty is Certainty.CERTAIN and rows[1][4].certainty is Certainty.AMBIGUOUS
    table = Table(
        headings=("asked", "slot", "time (UTC)", "known as of", "answer"),
        rows=tuple(
            (what, str(slot), format_ns(at), known, str(answer.headline)) for what, slot, at, known, answer in rows
        ),
    )
    return Section(
        title="c. Which checkpoint was on which arm?",
        verdict=f"{rows[0][4].certainty} at the near-miss, {rows[1][4].certainty} beside the switch",
        tone="good" if good else "bad",
        words=(
            f"r1 went to {len(slots)} arms at {format_ns(SWITCHED)}, each robot knowing its switch to ±"
            f" {SWITCH_ERROR // SECOND} s."
            f" On {ARM_B} a person reached in and the arm came within {happened.clearance_m * 100:.1f} cm of them;"
            f" the envelope asks for {(ENVELOPE.clearance_m or 0) * 100:.0f} cm.",
            f"A receipt that came days late changed today's answer for {late}. What was answered before it came"
            " can still"
            " be asked for, and comes out the same.",
        ),
        tables=(table,),
        pictures=(_ribbon(stage, happened, slots),),
        commands=(
            f"worldgate fleet as-of {ARM_B} {format_ns(happened.at_ns)}",
            f"worldgate fleet as-of {late} {format_ns(asked)} --known-as-of {format_ns(LATE - SECOND)}",
        ),
    )


def _ribbon(stage: Stage, happened: NearMiss, slots: Sequence[Slot]) -> Picture:
    names = {ref.digest: ref.name for ref in stage.ws.artifacts("release")}
    drawing = ribbon(
        deployments.Deployments.of(stage.ws),
        [str(slot) for slot in slots],
        SWITCHED - 2 * DAY,
        LATE + DAY,
        names=names,
        marks={"near-miss ": happened.at_ns},
    )
    return figure(drawing, alt="releases by slot and time, one band each for desired, reported and observed", wide=True)
