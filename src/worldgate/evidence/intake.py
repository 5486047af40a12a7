"""Trials that somebody else ran, held against the suite, the plan and the ledger before they are recorded.

Refused: a scenario that the suite does not hold, an origin that the file contradicts, another checkpoint, a time before
the plan, the same run twice in a file or on the ledger, a figure that no oracle of the scenario gives (often another
unit), one beyond what is plausible, and figures that contradict the count of violations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from worldgate.core import seams
from worldgate.core.digest import short
from worldgate.core.errors import DataRefused, NotFound, UsageError
from worldgate.core.evidence import Trial
from worldgate.core.names import Slot
from worldgate.core.streams import Origin
from worldgate.core.times import SECOND, format_ns, now_ns
from worldgate.evidence import judging, plans, scenarios, trials
from worldgate.evidence.plans import EvalPlan, Row
from worldgate.evidence.scenarios import Scenario, Suite
from worldgate.evidence.told import Asked, Entry, Told
from worldgate.record.events import Ref, is_digest
from worldgate.record.workspace import Workspace

IMPORTED = "trials.imported"
SLACK_NS = 300 * SECOND
"""How far the clock of whoever wrote the file may be ahead."""
_ENVELOPE_UNMEASURED = "the file measures no envelope"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What a file of trials is held against."""

    release: str
    """Digest of the release that ran."""
    listed: Mapping[str, Scenario]
    """Digest -> scenario."""
    origin: Origin
    now_ns: int
    """A trial that begins later is no trial yet."""
    plan: EvalPlan | None = None
    plan_digest: str = ""
    taken: frozenset[tuple[str, int]] = frozenset()
    """(plan, row) that have a trial already."""
    known: frozenset[tuple[str, str, int, int]] = frozenset()
    """(scenario, slot, seed, started_ns) of trials on the ledger."""


def read(path: Path, *, format: str = "", asked: Asked | None = None) -> Told:
    """Read a file of trials.

    Args:
        path: the file.
        format: entry of the seam ``trial_formats``; empty: the one that knows it.
        asked: what the file cannot say.

    Raises:
        NotFound: no such file, or no format that knows it.
        DataRefused: what its reader refuses.
    """
    if not path.is_file():
        raise NotFound("no such file of trials", where=path)
    names = [format] if format else list(seams.cards("trial_formats"))
    for name in names:
        module = seams.load("trial_formats", name)
        if format or module.accepts(path):
            told: Told = module.read(path, asked or Asked())
            return told
    hint = f"--format, one of {', '.join(names)}"
    raise NotFound("no format knows this file of trials", got=path.name, where=path, hint=hint)


def check(told: Told, intake: Intake) -> tuple[Trial, ...]:
    """Every trial of a file, or none.

    Raises:
        DataRefused: what the docstring of this module lists, with the place in the file.
    """
    if told.origin is not None and told.origin is not intake.origin:
        raise DataRefused("the file says that it ran elsewhere", got=told.origin, hint=f"--origin {told.origin}")
    names = {scenario.name: digest for digest, scenario in intake.listed.items()}
    found: list[Trial] = []
    seen, taken = set(intake.known), set(intake.taken)
    for entry in told.entries:
        digest = names.get(entry.scenario, entry.scenario)
        scenario = intake.listed.get(digest)
        if scenario is None:
            hint = ", ".join(sorted(names)[:5])
            raise DataRefused("no such scenario", got=ascii(entry.scenario)[:80], where=entry.where, hint=hint)
        trial = _trial(entry, digest, scenario, intake, taken)
        key = (trial.scenario, trial.slot, trial.seed, trial.started_ns)
        if key in seen:
            what = "the same run is there already"
            raise DataRefused(what, got=scenario.name, where=entry.where, hint="each run once, with its own start")
        seen.add(key)
        if trial.row:
            taken.add((trial.plan, trial.row))
        found.append(trial)
    return tuple(found)


def _trial(entry: Entry, digest: str, scenario: Scenario, intake: Intake, taken: set[tuple[str, int]]) -> Trial:
    try:
        slot = Slot.parse(entry.slot)
    except UsageError as error:
        raise DataRefused(error.what, got=error.got, where=entry.where, hint="--slot site/robot/arm") from error
    if slot.site != scenario.site:
        raise DataRefused("a scenario of another site", got=f"{scenario.site} on {slot}", where=entry.where)
    if entry.log and not is_digest(entry.log):
        raise DataRefused("log is a digest", got=ascii(entry.log)[:80], where=entry.where)
    if not 0 < entry.started_ns <= intake.now_ns + SLACK_NS:
        got = format_ns(entry.started_ns) if entry.started_ns > 0 else entry.started_ns
        raise DataRefused("a trial began at some time that is past", got=got, where=entry.where)
    excluded = entry.excluded or _check_figures(entry, scenario)
    row = _row(entry, digest, str(slot), intake, taken)
    seed = entry.seed
    if seed is None:  # on a robot the seed of a row only names the run
        seed = row[1].seed if row is not None and intake.origin is Origin.REAL else _number(entry)
    return Trial(
        scenario=digest,
        release=intake.release,
        executor=intake.origin,
        slot=str(slot),
        seed=seed,
        success=entry.success,
        violations=entry.violations or 0,
        metrics=entry.metrics,
        excluded=excluded,
        log=entry.log,
        started_ns=entry.started_ns,
        plan=intake.plan_digest,
        row=row[0] if row is not None else 0,
    )


def _number(entry: Entry) -> int:
    """The last number of a place stands in for a seed that the file does not tell: it differs from run to run."""
    last = entry.where.replace(":", ".").split(".")[-1]
    return int(last) if last.isdecimal() else 0


def _check_figures(entry: Entry, scenario: Scenario) -> str:
    """Refuse figures that contradict scenario or violations; returns why the envelope is not measured, if it is not."""
    known = judging.metrics_of(scenario)
    limits = {name: limit for name, limit in known.items() if limit is not None}
    for name, value in entry.metrics.items():
        if name not in known:
            what = "a figure that no oracle of this scenario gives"
            hint = f"one of {', '.join(known)}" if known else "leave it out"
            raise DataRefused(what, got=name, where=entry.where, hint=f"{hint}; a unit stands in each name")
        limit = limits.get(name)
        if not math.isfinite(value) or (limit is not None and abs(value) > limit.plausible):
            raise DataRefused("a figure beyond what is plausible", got=f"{name} {value:g}", where=entry.where)
    if entry.violations is None:
        return _ENVELOPE_UNMEASURED if limits else ""
    broken = [name for name, limit in limits.items() if name in entry.metrics and limit.broken(entry.metrics[name])]
    if broken and not entry.violations:
        got = f"{broken[0]} {entry.metrics[broken[0]]:g} and no violation"
        raise DataRefused("figures that contradict the count of violations", got=got, where=entry.where)
    if entry.violations and not broken and limits and limits.keys() <= entry.metrics.keys():
        got = f"{entry.violations} violations and every figure within its limit"
        raise DataRefused("figures that contradict the count of violations", got=got, where=entry.where)
    return ""


def _row(entry: Entry, scenario: str, slot: str, intake: Intake, taken: set[tuple[str, int]]) -> tuple[int, Row] | None:
    """The plan's row that a trial belongs to: the one it names, else the only one left that fits."""
    plan = intake.plan
    if plan is None:
        if entry.row:
            raise DataRefused("a row of a plan, and no plan", got=entry.row, where=entry.where, hint="--plan ID")
        return None
    if entry.started_ns < plan.registered_ns:
        got, hint = format_ns(entry.started_ns), f"registered {format_ns(plan.registered_ns)}"
        raise DataRefused("it began before its plan was registered", got=got, where=entry.where, hint=hint)
    side = "old" if intake.release == plan.baseline else "new"
    fits = [
        (number, row)
        for number, row in enumerate(plan.rows, 1)
        if (row.scenario, row.slot, row.side) == (scenario, slot, side)
        and (intake.plan_digest, number) not in taken
        and entry.row in (0, number)
        and entry.seed in (None, row.seed)
    ]
    if not fits:
        hint = "each row is run once, with its scenario, arm, seed and side"
        raise DataRefused("no row of the plan is left for it", got=entry.row or None, where=entry.where, hint=hint)
    return fits[0]


def intake_of(ws: Workspace, *, release: str, suite: Suite, origin: Origin, plan: Ref | None = None) -> Intake:
    """What trials of a release on a suite are held against, from the ledger as it stands.

    Raises:
        UsageError: a plan of another release or suite, or for another origin.
    """
    digests: Iterable[str] = suite.scenarios
    registered = plans.load(ws, plan.digest) if plan is not None else None
    if registered is not None:
        fits = registered.suite == suite.digest and release in {registered.release, registered.baseline}
        if not fits or registered.executor is not origin:
            got = f"release {short(registered.release)}, suite {short(registered.suite)}, {registered.executor}"
            raise UsageError("a plan of another release, suite or origin", got=got, hint="worldgate show PLAN")
        digests = [*suite.scenarios, *(row.scenario for row in registered.rows)]
    held = trials.read_list(trials.collect(ws, release, upto_seq=ws.ledger.head().seq))
    return Intake(
        release=release,
        listed={digest: scenarios.load(ws, digest) for digest in dict.fromkeys(digests)},
        origin=origin,
        now_ns=now_ns(),
        plan=registered,
        plan_digest=plan.digest if plan is not None else "",
        taken=frozenset((t.trial.plan, t.trial.row) for t in held if t.trial.row),
        known=frozenset((t.trial.scenario, t.trial.slot, t.trial.seed, t.trial.started_ns) for t in held),
    )


def check_checkpoint(ws: Workspace, told: Told, release: str) -> None:
    """Refuse a file whose checkpoint is a digest that the release does not hold.

    Raises:
        DataRefused: other weights ran.
    """
    if not is_digest(told.checkpoint):
        return
    manifest = ws.get_json(release)
    held = {release, *map(str, dict(manifest.get("weights", {})).values())}
    if told.checkpoint not in held:
        raise DataRefused("the file names another checkpoint", got=short(told.checkpoint), where=short(release))


def record(ws: Workspace, path: Path, found: Sequence[Trial], *, actor: str | None = None) -> list[Ref]:
    """Keep trials with the file that told of them, and record ``trials.imported`` after them."""
    refs = trials.record_trials(ws, found, actor=actor)
    file = Ref("trial_file", ws.store.put_bytes(path.read_bytes()), path.name)
    body = {"file": file.digest, "release": found[0].release, "trials": [ref.digest for ref in refs]}
    ws.record(IMPORTED, body=body, inputs=refs, outputs=(file,), actor=actor)
    return refs
