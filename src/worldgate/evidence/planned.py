"""What came of a plan: its rows in order, each with the trial that was run for it.

A row counts as its trial says only if the trial is the one that was planned: on the ledger after the plan, begun after
it, with the row's scene, seed, arm and release, run once. Anything else makes it a failure, so that neither a lost nor
a repeated nor a relabelled run can help. Rows are read up to the first that has no trial: which rows are judged never
depends on what came of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from worldgate.evidence.exact import Number, ratio
from worldgate.evidence.paired import Pair
from worldgate.evidence.plans import EvalPlan, Row, Side
from worldgate.evidence.scenes import Scenes, one_per_scene
from worldgate.evidence.trials import RecordedTrial


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A row and its trial."""

    number: int
    """Of the row, from 1."""
    row: Row
    trial: RecordedTrial
    problems: tuple[str, ...] = ()
    """Why it counts as a failure, whatever it says."""

    @property
    def lost(self) -> bool:
        """Whether it says nothing: excluded, or not the run that was planned."""
        return bool(self.problems or self.trial.trial.excluded)

    @property
    def success(self) -> bool | None:
        """What it says; ``None`` where it is lost."""
        return None if self.lost else self.trial.trial.success

    @property
    def clean(self) -> bool | None:
        """Whether no limit of the envelope was broken; a violation stands however the run was lost."""
        if self.trial.trial.violations:
            return False
        return None if self.lost else True

    def metric(self, name: str) -> Fraction | None:
        """A measured quantity; ``None`` where the run is lost or did not measure it."""
        value = None if self.lost else self.trial.trial.metrics.get(name)
        return None if value is None else ratio(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan and what came of it."""

    digest: str
    plan: EvalPlan
    attempt: int
    """Counted from the ledger; never below what the plan said."""
    runs: tuple[Run, ...]
    """Rows from the first, up to one that has no trial."""
    waiting: int
    """The row that has no trial; 0: all have."""
    beyond: int
    """Rows after it that have one."""

    @property
    def worn(self) -> bool:
        """Whether the suite has served all its attempts before."""
        return self.attempt > self.plan.attempts

    def share(self, alpha: Number) -> Fraction:
        """The part of an error probability that this attempt may spend."""
        return ratio(alpha) / self.plan.attempts

    def counted(self, side: Side = "new") -> Iterator[Run]:
        """Runs that enter bounds: no tripwires."""
        return (run for run in self.runs if run.row.side == side and not run.row.tripwire)

    def tripwires(self) -> Iterator[Run]:
        """Runs that must pass."""
        return (run for run in self.runs if run.row.tripwire)

    def successes(self) -> Scenes:
        """Success of the new release by scene."""
        return one_per_scene((run.row.scenario, _bit(run.success)) for run in self.counted())

    def clean(self) -> Scenes:
        """By scene, whether the new release stayed within the envelope."""
        return one_per_scene((run.row.scenario, _bit(run.clean)) for run in self.counted())

    def metric(self, name: str) -> Scenes:
        """A measured quantity of the new release by scene."""
        return one_per_scene((run.row.scenario, run.metric(name)) for run in self.counted())

    def pairs(self) -> tuple[Pair, ...]:
        """New against old, for each scene that both have run."""
        old = {run.row.pair: run for run in self.counted("old")}
        return tuple(
            Pair(scene=run.row.scenario, new=run.success, old=old[run.row.pair].success)
            for run in self.counted()
            if run.row.pair in old
        )

    def stratum(self, key: str, value: str) -> Planned:
        """Only the runs whose scene has this value."""
        return replace(self, runs=tuple(run for run in self.runs if run.row.strata.get(key) == value))

    def strata(self, key: str) -> tuple[str, ...]:
        """Every value that the plan's scenes have, run or not."""
        rows = (row for row in self.plan.rows if not row.tripwire)
        return tuple(sorted({row.strata[key] for row in rows if key in row.strata}))

    def planned_of(self, key: str, value: str) -> int:
        """Scenes of the plan with this value, of the new release."""
        return sum(r.side == "new" and not r.tripwire and r.strata.get(key) == value for r in self.plan.rows)


def _bit(said: bool | None) -> int | None:
    return None if said is None else int(said)


def read(plan: EvalPlan, digest: str, trials: Sequence[RecordedTrial], *, attempt: int) -> Planned:
    """Bring trials to the rows of their plan.

    Args:
        plan: as registered.
        digest: of the plan.
        trials: of the ledger, in its order; those of other plans are passed over.
        attempt: counted from the ledger.
    """
    by_row: dict[int, list[RecordedTrial]] = {}
    for recorded in trials:
        if recorded.trial.plan == digest:
            by_row.setdefault(recorded.trial.row, []).append(recorded)
    reused = _reused(by_row)
    runs: list[Run] = []
    waiting = 0
    for number, row in enumerate(plan.rows, 1):
        held = by_row.get(number)
        if held is None:
            waiting = number
            break
        runs.append(_run(plan, number, row, held, reused))
    beyond = sum(number > waiting for number in by_row if number <= len(plan.rows)) if waiting else 0
    return Planned(
        digest=digest,
        plan=plan,
        attempt=max(attempt, plan.attempt),
        runs=tuple(runs),
        waiting=waiting,
        beyond=beyond,
    )


def _run(plan: EvalPlan, number: int, row: Row, held: Sequence[RecordedTrial], reused: frozenset[str]) -> Run:
    """The first trial of a row stands for it, with the worst that any of them says."""
    first, problems = held[0], [p for trial in held for p in _problems(plan, row, trial)]
    if any(trial.trial.log in reused for trial in held):
        problems.append("its recording stands for another row too")
    if len(held) > 1:
        problems.append(f"run {len(held)} times")
        worst = max(trial.trial.violations for trial in held)
        first = replace(first, trial=replace(first.trial, violations=worst))
    return Run(number=number, row=row, trial=first, problems=tuple(dict.fromkeys(problems)))


def _problems(plan: EvalPlan, row: Row, recorded: RecordedTrial) -> Iterator[str]:
    trial = recorded.trial
    if recorded.early:
        yield "on the ledger before its plan"
    if trial.started_ns < plan.registered_ns:
        yield "begun before its plan was made"
    if trial.release != (plan.release if row.side == "new" else plan.baseline):
        yield "of another release than its row"
    if (trial.scenario, trial.seed, trial.slot) != (row.scenario, row.seed, row.slot):
        yield "not the scene, seed or arm of its row"
    if trial.executor != plan.executor:
        yield f"{trial.executor}, planned {plan.executor}"


def _reused(by_row: dict[int, list[RecordedTrial]]) -> frozenset[str]:
    """Recordings that stand for more than one row."""
    rows: dict[str, set[int]] = {}
    for number, held in by_row.items():
        for recorded in held:
            if recorded.trial.log:
                rows.setdefault(recorded.trial.log, set()).add(number)
    return frozenset(log for log, numbers in rows.items() if len(numbers) > 1)
