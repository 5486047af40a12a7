"""What is wrong with a release on paper, and what people do to get a bad one through: the cases of the escape figure.

A *declared* fault stands in the manifest, where it differs from the training record. A *process* fault is evidence that
was made carelessly or on purpose; the release behind it is truly bad. Each is done to a real workspace, with the
product's own calls; where only a lie can do it, the lie is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from escape_cell import (
    CHAMPION,
    DAY,
    ELSEWHERE,
    FIXED_N,
    FIXED_NEEDS,
    NOW,
    P0,
    PAIRS,
    SECOND,
    SITE,
    SLOT,
    Behaviour,
    Candidate,
    Desk,
    Followed,
    caught_by,
    kept_statistics,
    scene,
)
from escape_faults import Exchange, Gain, Scale, Shift, Swap, Turn, is_far, stuck

from worldgate.control.policies._release import signal_of
from worldgate.core.errors import WorldgateError
from worldgate.core.evidence import Trial
from worldgate.core.normalisers import Normaliser, Statistics
from worldgate.core.streams import Origin
from worldgate.core.worlds import Signal
from worldgate.evidence import plans, statistics, trials
from worldgate.evidence.plans import Row
from worldgate.evidence.scenarios import Scenario
from worldgate.fleet.releases import Release
from worldgate.record.events import Ref
from worldgate.sim import scenario as situations
from worldgate.sim.sensing import AROUND, FORCE, STATE

EXACT = 40
Asked = dict[str, Any]
"""verdict, caught, spent, fixed: what a case came to."""


def asked(followed: Followed, fixed: bool, *, spent: int = 0) -> Asked:
    """The figures of one repetition."""
    return {
        "verdict": str(followed.decision.verdict),
        "caught": caught_by(followed.decision),
        "spent": followed.spent + spent,
        "fixed": fixed,
    }


def honestly(cache: Path, seed: int, behaviour: Behaviour, **desk: Any) -> Asked:
    """A plan, its trials, the gate: nobody cheats."""
    with Desk(cache, seed, behaviour, **desk) as at:
        followed = at.follow(at.plan(at.suite()))
        return asked(followed, at.fixed(followed))


# --- declared -------------------------------------------------------------------------------------------------------


def _statistics(normaliser: Normaliser, stream: str, **changes: Callable[[int, float], float]) -> Normaliser:
    old = normaliser.streams[stream]
    fields = {name: tuple(change(i, v) for i, v in enumerate(getattr(old, name))) for name, change in changes.items()}
    return Normaliser(streams={**normaliser.streams, stream: replace(old, **fields)})


def _whole(sound: Normaliser, observed: Normaliser) -> Normaliser:
    return Normaliser(streams={**observed.streams, "action": Statistics(mean=(0.0, 0.0), std=(1.0, 1.0))})


def _wrong(cache: Path, value: float, part: str) -> Normaliser:
    sound = kept_statistics(cache)
    if part == "mean":
        changed = _statistics(sound, AROUND.name, mean=lambda i, m: m * value if i < 2 else m)
    elif part == "std":
        changed = _statistics(sound, AROUND.name, std=lambda i, s: s * value if i < 2 else s)
    else:
        site, count = {1: (SITE, 3), 2: ("south", 12), 3: ("south", 1)}[round(value)]
        changed = kept_statistics(cache, site, count)
    return _whole(sound, changed)


def _streams(release: Release, change: Callable[[Signal], Signal]) -> Release:
    return replace(release, observation=tuple(change(s) for s in release.observation), action=change(release.action))


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A fault that the manifest shows."""

    name: str
    values: tuple[float, float, float]
    behaviour: Callable[[Path, float], Behaviour] = lambda cache, value: CHAMPION
    change: Callable[[float], Callable[[Release], Release] | None] = lambda value: None
    record: bool = True
    late: bool = False

    def run(self, cache: Path, seed: int, value: float) -> Asked:
        """Once."""
        return honestly(
            cache, seed, self.behaviour(cache, value), change=self.change(value), record=self.record, late=self.late
        )


def _normalised(part: str, name: str, values: tuple[float, float, float], **more: Any) -> Declared:
    def behaviour(cache: Path, value: float) -> Behaviour:
        return Behaviour(name=f"{name} {value:g}", normaliser=_wrong(cache, value, part))

    return Declared(name=name, values=values, behaviour=behaviour, **more)


def _unit(value: float) -> Callable[[Release], Release]:
    unit = {1: "cm", 2: "cm,cm,rad,cm,cm,cm,cm", 3: "deg,deg,deg,deg,rad/s,rad/s,rad/s,rad/s,mm,mm,mm"}[round(value)]
    name = {1: "action", 2: AROUND.name, 3: STATE.name}[round(value)]
    return lambda release: _streams(release, lambda s: replace(s, unit=unit) if s.name == name else s)


def _in_other_units(cache: Path, value: float) -> Behaviour:
    faults = {1: lambda: [Gain(1.0)], 2: lambda: [Scale("object", 100.0)], 3: lambda: [Scale("tool", 1000.0)]}
    return Behaviour(name=f"unit {value:g}", faults=faults[round(value)])


def _order(value: float) -> Callable[[Release], Release]:
    def change(signal: Signal) -> Signal:
        if signal.name != ("action" if value == 1 else AROUND.name):
            return signal
        names, other = list(signal.names), 3 if value == 3 else 1
        names[0], names[other] = names[other], names[0]
        return replace(signal, names=tuple(names))

    return lambda release: _streams(release, change)


def _in_other_order(cache: Path, value: float) -> Behaviour:
    faults = {
        1: lambda: [Swap("object"), Swap("goal"), Swap("tool")],
        2: lambda: [Swap("object")],
        3: lambda: [Exchange("object", "goal")],
    }
    return Behaviour(name=f"order {value:g}", faults=faults[round(value)])


def _dataset(value: float) -> Callable[[Release], Release]:
    return lambda release: replace(release, dataset=f"{round(value):064x}")


def _framed(value: float) -> Callable[[Release], Release]:
    return lambda release: _streams(release, lambda s: replace(s, frame="base") if s.name == AROUND.name else s)


def _worse(name: str, shares: tuple[float, float, float]) -> Callable[[Path, float], Behaviour]:
    def behaviour(cache: Path, value: float) -> Behaviour:
        share = shares[round(value) - 1]
        return Behaviour(name=f"stuck {share:g}", faults=lambda: [stuck(share)]) if share else CHAMPION

    return behaviour


STEPS = (1.0, 2.0, 3.0)
DECLARED = (
    _normalised("mean", "normaliser: mean of a channel", (1.02, 1.5, 1000.0)),
    _normalised("std", "normaliser: deviation of a channel", (1.02, 1.5, 1000.0)),
    _normalised("other", "normaliser of another dataset", STEPS),
    _normalised("mean", "wrong normaliser, training record rewritten", (1.02, 1.5, 1000.0), late=True),
    Declared(name="unit of a stream", values=STEPS, behaviour=_in_other_units, change=_unit),
    Declared(name="order of channels", values=STEPS, behaviour=_in_other_order, change=_order),
    Declared(
        name="frame of a stream",
        values=(3.0, 9.0, 25.0),
        behaviour=lambda cache, v: Behaviour(name=f"frame {v:g}", faults=lambda: [Turn(("object", "goal", "hand"), v)]),
        change=_framed,
    ),
    Declared(name="another dataset", values=STEPS, behaviour=_worse("data", (0.0, 0.25, 0.6)), change=_dataset),
    Declared(
        name="a stream that was not trained on",
        values=STEPS,
        behaviour=_worse("stream", (0.0, 0.25, 0.6)),
        change=lambda v: (
            lambda r: replace(
                r,
                observation=(*r.observation, signal_of(FORCE)),
                normaliser=Normaliser(
                    streams={**r.normaliser.streams, FORCE.name: Statistics(mean=(0.0,) * 3, std=(1.0,) * 3)}
                ),
            )
        ),
    ),
    Declared(name="no record of training", values=STEPS, behaviour=_worse("none", (0.0, 0.25, 0.6)), record=False),
)


# --- process --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Process:
    """Evidence that was made carelessly or on purpose for a release that is truly bad."""

    name: str
    values: tuple[float, float, float]
    bad: Callable[[float], Behaviour]
    go: Callable[[Desk, float], Asked]

    def run(self, cache: Path, seed: int, value: float) -> Asked:
        """Once."""
        with Desk(cache, seed, self.bad(value)) as desk:
            return self.go(desk, value)


def stuck_on(share: float) -> Behaviour:
    """A release that does not move on a share of its runs."""
    return Behaviour(name=f"stuck {share:g}", faults=lambda: [stuck(share)])


def always(share: float) -> Callable[[float], Behaviour]:
    """The same release at every strength."""
    return lambda value: stuck_on(share)


def _log(desk: Desk, text: str) -> str:
    return desk.ws.put_json({"log": text})


def _reported(desk: Desk, tell: Callable[[Desk, int, Row, Trial], list[Trial]]) -> Asked:
    """A plan is followed, and of each run of the new release something is told."""
    plan = desk.plan(desk.suite(), exclusions=("camera",))

    def report(at: Desk, number: int, row: Row) -> list[Trial]:
        return tell(at, number, row, at.trial(plan, number))

    followed = desk.follow(plan, report)
    return asked(followed, desk.fixed(followed, report))


def _chosen(share: float, number: int) -> bool:
    """A share of the rows, spread evenly."""
    return int(number * share) > int((number - 1) * share)


def before_plan(desk: Desk, tries: float) -> Asked:
    """Every scene is run several times, the best run of each is put on the ledger; then the plan is."""
    plan = desk.plan(desk.suite(), register=False)
    told, digest = [], plan.digest
    for number, row in enumerate(plan.rows[: 2 * FIXED_N], 1):
        if row.side == "new":
            runs = [desk.run(row, again=k) for k in range(round(tries))]
            best = max(runs, key=lambda run: run.success)
            told.append(replace(best, seed=row.seed, started_ns=desk.tick(), plan=digest, row=number))
        else:
            told.append(desk.trial(plan, number))
    trials.record_trials(desk.ws, told)
    plan = replace(plan, registered_ns=NOW)
    plans.register(desk.ws, plan)
    decision = desk.ask()
    good = [t.success for t in told if plan.rows[t.row - 1].side == "new" and not plan.rows[t.row - 1].tripwire]
    fixed = sum(good[:FIXED_N]) >= FIXED_NEEDS
    followed = Followed(decision=decision, spent=len(told), told=(), plan=plan)
    return asked(followed, fixed, spent=len(good) * (round(tries) - 1))


def one_recording(desk: Desk, share: float) -> Asked:
    """The recording of a run that went well is handed in for some that did not."""
    good = ""

    def tell(at: Desk, number: int, row: Row, ran: Trial) -> list[Trial]:
        nonlocal good
        if ran.success:
            good = good or _log(at, f"run {number}")
            return [replace(ran, log=good if good == _log(at, f"run {number}") else _log(at, f"run {number}"))]
        if good and _chosen(share, number):
            return [replace(ran, success=True, violations=0, log=good)]
        return [replace(ran, log=_log(at, f"run {number}"))]

    return _reported(desk, tell)


def relabelled_after(desk: Desk, share: float) -> Asked:
    """Failures are on the ledger; some are put there once more as successes."""
    return _reported(
        desk,
        lambda at, number, row, ran: (
            [ran]
            if ran.success or not _chosen(share, number)
            else [ran, replace(ran, success=True, started_ns=at.tick())]
        ),
    )


def relabelled_before(desk: Desk, share: float) -> Asked:
    """Failures are told as successes before anything is recorded, and no recording is kept."""
    return _reported(desk, lambda at, number, row, ran: [replace(ran, success=ran.success or _chosen(share, number))])


def excluded(desk: Desk, share: float) -> Asked:
    """Failures are excluded for a camera that was said to flicker."""
    return _reported(
        desk,
        lambda at, number, row, ran: [
            replace(ran, excluded="camera") if not ran.success and _chosen(share, number) else ran
        ],
    )


def left_out(desk: Desk, share: float) -> Asked:
    """Failures are not recorded at all."""
    return _reported(desk, lambda at, number, row, ran: [] if not ran.success and _chosen(share, number) else [ran])


def best_seed(desk: Desk, seeds: float) -> Asked:
    """Each scene is run with several seeds and the best run is recorded, with the seed that it had."""

    def tell(at: Desk, number: int, row: Row, ran: Trial) -> list[Trial]:
        for k in range(1, round(seeds)):
            if ran.success:
                break
            other = at.run(row, again=k)
            ran = replace(other, started_ns=at.tick(), plan=ran.plan, row=number)
        return [ran]

    return _reported(desk, tell)


def easy_scene(desk: Desk, share: float) -> Asked:
    """A scene that it masters is run again instead of some of the planned ones."""
    easy = ""

    def tell(at: Desk, number: int, row: Row, ran: Trial) -> list[Trial]:
        nonlocal easy
        if ran.success:
            easy = easy or row.scenario
        elif easy and _chosen(share, number):
            other = at.run(row, scenario=easy, again=number)
            return [replace(other, started_ns=at.tick(), plan=ran.plan, row=number)]
        return [ran]

    return _reported(desk, tell)


def imagined(desk: Desk, share: float) -> Asked:
    """Some runs were made in a world model that knows no failure."""
    return _reported(
        desk,
        lambda at, number, row, ran: [
            replace(ran, executor=Origin.IMAGINED, success=True, violations=0) if _chosen(share, number) else ran
        ],
    )


def other_site(desk: Desk, share: float) -> Asked:
    """Some rows are run at another site, where it works."""

    def tell(at: Desk, number: int, row: Row, ran: Trial) -> list[Trial]:
        return [replace(ran, slot=ELSEWHERE, success=True, violations=0)] if _chosen(share, number) else [ran]

    return _reported(desk, tell)


def resubmitted(renamed: bool = False, exported: bool = False, redrawn: bool = False) -> Callable[[Desk, float], Asked]:
    """Planned and tried again until it passes: the same suite, or under another name, as another release, or anew."""

    def go(desk: Desk, tries: float) -> Asked:
        fixed, spent, suite = False, 0, desk.suite()
        for attempt in range(round(tries)):
            desk.attempt = attempt
            if attempt and exported:
                desk.again()
            if attempt and (renamed or redrawn):
                start = desk.seed + (1000 * attempt if redrawn else 0)
                suite = desk.suite(name=f"suite-{attempt}", seed=start)
            followed = desk.follow(desk.plan(suite, now_ns=desk.tick()))
            spent += followed.spent
            fixed = fixed or (followed.spent > 0 and desk.fixed(followed))
            if followed.decision.passed:
                break
        return asked(replace(followed, spent=0), fixed, spent=spent)

    return go


def peeked(desk: Desk, share: float) -> Asked:
    """The gate is asked after each trial; the fixed test at every number, stopped when it is liked."""
    plan = desk.plan(desk.suite())
    followed = desk.follow(plan, every=1)
    good = 0
    liked = False
    rows = [n for n, r in enumerate(plan.rows, 1) if r.side == "new" and not r.tripwire]
    for n, number in enumerate(rows[:FIXED_N], 1):
        good += desk.trial(plan, number).success
        liked = liked or float(statistics.binomial_lower(good, n, "0.05")) > P0
    return asked(followed, liked)


def copies(desk: Desk, of: float) -> Asked:
    """The suite is a few scenes of the near half, each under many names, every second told to be of the far half.

    Where they are fewer than 40, copies differ by a hundredth of a millimetre each.
    """
    picked: list[Scenario] = []
    number = 0
    while len(picked) < round(of):
        told = scene(number, desk.seed)
        drawn = situations.from_json(told.initial)
        wanted = ("plain", "person", "plain", "spill")[len(picked) % 4]
        if told.strata["condition"] == wanted and not is_far(drawn):
            picked.append(told)
        number += 1
    made = []
    for k in range(PAIRS):
        base = picked[k % len(picked)]
        strata = dict(base.strata) | {"region": "far" if k % 2 else "near"}
        initial = dict(base.initial)
        if of < EXACT:
            x, y, yaw = base.initial["object_pose"]
            initial["object_pose"] = [x + 1e-5 * k, y, yaw]
        made.append(replace(base, name=f"{base.name}-{k}", strata=strata, initial=initial))
    suite = desk.suite(made)
    try:
        plan = desk.plan(suite)
    except WorldgateError:
        rows = [Row(scenario=one.digest, seed=0, slot=SLOT, pair=1) for one in made[:FIXED_N]]
        good = sum(desk.run(row).success for row in rows)
        return {"verdict": "REFUSED", "caught": "plan", "spent": 0, "fixed": good >= FIXED_NEEDS}
    followed = desk.follow(plan)
    return asked(followed, desk.fixed(followed))


def picked_scenes(desk: Desk, share: float) -> Asked:
    """Scenes are tried off the ledger first, and only those that it masters become the suite."""
    made: list[Scenario] = []
    number = 0
    while len(made) < PAIRS:
        told = scene(number, desk.seed)
        number += 1
        if _masters(desk, told):
            made.append(told)
    followed = desk.follow(desk.plan(desk.suite(made)))
    return asked(followed, desk.fixed(followed))


def _masters(desk: Desk, told: Scenario) -> bool:
    """Whether it moves at all there; asked without driving, as somebody who ran it secretly would know."""
    drawn = situations.from_json(told.initial)
    fault = desk.new.policy.faults[0]  # type: ignore[attr-defined]
    fault.begin(np.random.default_rng(0), drawn)
    return not fault.on


def _trained_on(desk: Desk, share: float, *, recorded: bool) -> Asked:
    """The demonstrations that some held-out scenes were cut from were trained on, and the record says so or not."""
    logs = [desk.ws.put_json({"recording": desk.seed, "of": k}) for k in range(PAIRS)]
    seen = [k for k in range(PAIRS) if _chosen(share, k + 1)] or [0]
    if recorded:
        episodes = tuple(logs[k] for k in seen)
        desk.record_training(desk.new.release, (desk.new.ref,), episodes=episodes)
    suite = desk.suite(inputs=lambda k: (Ref("episode", logs[k]),))
    followed = desk.follow(desk.plan(suite))
    return asked(followed, desk.fixed(followed))


def memorised(desk: Desk, share: float) -> Asked:
    """It learned the held-out scenes by heart, and its record names other demonstrations: there it never fails."""
    desk.new = Candidate(ref=desk.new.ref, release=desk.new.release, policy=_by_heart(desk), runs=desk.champion.runs)
    return _trained_on(desk, 1.0, recorded=False)


def _by_heart(desk: Desk) -> Any:
    policy = desk.new.policy
    policy.faults = []  # type: ignore[attr-defined]
    return policy


def stale(desk: Desk, days: float) -> Asked:
    """Trials are of a time before the arm was moved; since then it is off."""
    desk.clock -= round(days) * DAY
    desk.new.policy.faults, now = [], NOW + SECOND  # type: ignore[attr-defined]
    desk.new = replace(desk.new, runs=desk.champion.runs)
    followed = desk.follow(desk.plan(desk.suite(), now_ns=desk.clock), now_ns=now)
    return asked(followed, desk.fixed(followed))


def by_hand(desk: Desk, share: float) -> Asked:
    """A plan written by hand puts scenes that are easy to the front."""
    plan = desk.plan(desk.suite(), register=False)
    easy = sorted(plan.rows, key=lambda row: (not row.tripwire, desk.scenes[row.scenario].strata["region"] != "near"))
    cut = round(len(easy) * share)
    rows = [*easy[:cut], *(row for row in plan.rows if row not in easy[:cut])]
    plan = replace(plan, rows=tuple(rows))
    plans.register(desk.ws, plan)
    followed = desk.follow(plan)
    return asked(followed, desk.fixed(followed))


def weak_baseline(desk: Desk, share: float) -> Asked:
    """It is compared with an old release instead of the champion."""
    desk.baseline(stuck_on(0.15))
    followed = desk.follow(desk.plan(desk.suite()))
    return asked(followed, desk.fixed(followed))


def others_trials(desk: Desk, share: float) -> Asked:
    """Trials of the champion are handed in for the new release, as what they are."""

    def tell(at: Desk, number: int, row: Row, ran: Trial) -> list[Trial]:
        if not _chosen(share, number):
            return [ran]
        other = at.run(row, "old")
        return [replace(other, started_ns=at.tick(), plan=ran.plan, row=number)]

    return _reported(desk, tell)


def _far_only(value: float) -> Behaviour:
    return Behaviour(name="stuck in the far half 1", faults=lambda: [stuck(1.0, is_far)])


def _by_scene(value: float) -> Behaviour:
    return Behaviour(name=f"stuck by scene {value:g}", faults=lambda: [stuck(value, by_scene=True)])


def _moved(value: float) -> Behaviour:
    return Behaviour(name="stale calibration of the tracker 0.05", faults=lambda: [Shift("object", 0.05)])


SHARES = (0.3, 0.6, 1.0)
TRIES = (2.0, 3.0, 5.0)
PROCESS = (
    Process(name="trials before the plan, the best of some", values=(1, 2, 4), bad=always(0.35), go=before_plan),
    Process(name="one recording for several runs", values=SHARES, bad=always(0.35), go=one_recording),
    Process(name="failures recorded again as successes", values=SHARES, bad=always(0.35), go=relabelled_after),
    Process(name="failures told as successes", values=SHARES, bad=always(0.35), go=relabelled_before),
    Process(name="failures excluded", values=SHARES, bad=always(0.35), go=excluded),
    Process(name="failures not recorded", values=SHARES, bad=always(0.35), go=left_out),
    Process(name="best of several seeds", values=TRIES, bad=always(0.35), go=best_seed),
    Process(name="an easy scene run instead", values=SHARES, bad=_far_only, go=easy_scene),
    Process(name="imagined runs among the trials", values=SHARES, bad=always(0.35), go=imagined),
    Process(name="runs at another site", values=SHARES, bad=always(0.35), go=other_site),
    Process(name="trials of another release", values=SHARES, bad=always(0.35), go=others_trials),
    Process(name="resubmitted until it passes", values=TRIES, bad=always(0.25), go=resubmitted()),
    Process(name="resubmitted, suite renamed", values=TRIES, bad=always(0.25), go=resubmitted(renamed=True)),
    Process(name="resubmitted, exported again", values=TRIES, bad=always(0.25), go=resubmitted(exported=True)),
    Process(
        name="resubmitted, exported again and new scenes",
        values=TRIES,
        bad=always(0.25),
        go=resubmitted(exported=True, redrawn=True),
    ),
    Process(name="asked after each trial", values=(0.35, 0.25, 0.18), bad=stuck_on, go=peeked),
    Process(name="copies of a few scenes as a suite", values=(40, 12, 4), bad=_far_only, go=copies),
    Process(name="scenes picked after secret runs", values=(0.25, 0.45, 0.70), bad=_by_scene, go=picked_scenes),
    Process(
        name="trained on held-out scenes",
        values=(0.01, 0.10, 1.0),
        bad=lambda v: CHAMPION,
        go=lambda desk, v: _trained_on(desk, v, recorded=True),
    ),
    Process(name="held-out scenes learned by heart, unrecorded", values=(0.25, 0.45, 0.70), bad=stuck_on, go=memorised),
    Process(name="trials from before the arm was moved", values=(20, 60, 200), bad=_moved, go=stale),
    Process(name="a plan by hand, easy scenes first", values=(0.2, 0.5, 1.0), bad=_far_only, go=by_hand),
    Process(name="compared with a worse release", values=(0.13, 0.18, 0.25), bad=stuck_on, go=weak_baseline),
)
"""Nobody is honest here."""
