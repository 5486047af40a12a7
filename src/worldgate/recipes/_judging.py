"""Train a world model, measure its gap on held-out episodes, ask the admission gate: what several recipes share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from worldgate.core.episodes import Episode
from worldgate.core.evidence import Status
from worldgate.core.report import Picture, Table, figure
from worldgate.core.worlds import WorldModel
from worldgate.evidence import figures, gap_bounds
from worldgate.evidence.decide import Decision, Scope, decide, put_evidence
from worldgate.evidence.gap import gap
from worldgate.evidence.gap_bounds import Unmeasured
from worldgate.evidence.gap_report import GapConfig, GapReport
from worldgate.recipes._story import Story
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A world model with its gap on held-out episodes."""

    ref: Ref
    model: WorldModel
    report: GapReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged(Measured):
    """A world model with what the gate says of it."""

    decision: Decision

    @property
    def said(self) -> str:
        """The verdict with what stood in the way."""
        failed = [f"{c.check} {c.signal}".strip() for c in self.decision.checks if c.status is Status.FAIL]
        return f"{self.decision.verdict}{': ' + ', '.join(failed[:3]) if failed else ''}"


def judge(
    ws: Workspace,
    story: Story,
    subject: Ref,
    model: WorldModel,
    held_out: Sequence[Episode],
    *,
    policy: Ref,
    sites: Sequence[str],
    config: GapConfig,
    now_ns: int,
) -> Judged:
    """Measure a trained model's gap and decide its admission; both are recorded.

    Args:
        ws: the workspace.
        story: where progress goes.
        subject: the recorded world model; what it was fed stands on the ledger since its training.
        model: the same, loaded.
        held_out: episodes it has not seen.
        policy: the admission policy.
        sites: where it is to serve as evidence.
        config: how windows are cut, and epsilon by signal; signals the model does not predict are left out.
        now_ns: the moment of the decision.
    """
    measured = measure(story, subject, model, held_out, config)
    evidence = put_evidence(ws, measured.report, inputs=(subject,))
    decision = decide(ws, policy, subject, [evidence], scope=Scope(sites=tuple(sites)), now_ns=now_ns)
    return Judged(ref=subject, model=model, report=measured.report, decision=decision)


def measure(story: Story, subject: Ref, model: WorldModel, held_out: Sequence[Episode], config: GapConfig) -> Measured:
    """Measure a trained model's gap; nothing is recorded."""
    with story.progress(f"gap of {subject.name}") as progress:
        report = gap(model, held_out, fitting(config, model), lambda done, total: progress(done, total))
    return Measured(ref=subject, model=model, report=report)


def fitting(config: GapConfig, model: WorldModel) -> GapConfig:
    """The same configuration without tolerances of streams that this model does not predict."""
    streams = {signal.name for signal in (*model.spec.states, *model.spec.cameras)}
    own = {name: e for name, e in config.epsilon.items() if name.split("[")[0].split("/")[0] in streams}
    return replace(config, epsilon=own)


def skill_table(
    measured: Sequence[Measured], horizons_s: Sequence[float], *, signals: Sequence[str] = (), caption: str = ""
) -> Table:
    """Skill against both baselines with its interval, and action sensitivity, at some horizons.

    Args:
        measured: the models.
        horizons_s: how far ahead, in seconds.
        signals: which signals; empty: all that a gate may judge.
        caption: above the table.
    """
    rows = []
    for item in measured:
        for signal in item.report.signals:
            if signal.better != "lower" or (signals and signal.name not in signals):
                continue
            for seconds in horizons_s:
                step = item.report.step_of(seconds)
                row = [item.ref.name, signal.name, f"{seconds:g}"]
                for baseline in ("hold", "velocity"):
                    row.append(_interval(item.report, signal.name, baseline, step))
                row.append(_sensitivity(item.report, signal.name, step))
                rows.append(tuple(row))
    headings = ("model", "signal", "ahead [s]", "skill over last held", "over constant velocity", "action sensitivity")
    return Table(headings=headings, rows=tuple(rows), caption=caption)


def _interval(report: GapReport, signal: str, baseline: str, step: int) -> str:
    try:
        found = gap_bounds.skill(report, signal, baseline, step, alpha="0.05")
    except Unmeasured:
        return "-"
    return f"{found.estimate:+.2f} [{float(found.lower):+.2f}, {float(found.upper):+.2f}]"


def _sensitivity(report: GapReport, signal: str, step: int) -> str:
    try:
        found = gap_bounds.sensitivity(report, signal, step, alpha="0.05")
    except Unmeasured:
        return "-"
    return f"{found.estimate:.2f} [{float(found.lower):.2f}, {float(found.upper):.2f}]"


def curves(item: Measured, signals: Sequence[str]) -> tuple[Picture, ...]:
    """Error by horizon with intervals, the baselines beside it, shaded beyond H."""
    known = {s.name for s in item.report.signals}
    return tuple(
        figure(figures.horizon_curves(item.report, signal), alt=f"error of {item.ref.name} by horizon, {signal}")
        for signal in signals
        if signal in known
    )
