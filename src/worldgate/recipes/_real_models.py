"""Models on real logs: each episode predicted by one trained without it, beside a control with shuffled actions.

The subject of every decision is the model trained by the same recipe on all episodes; the merged report judges that
recipe (``cross_validated``). Every fold's model is trained from a dataset of its own and recorded like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from worldgate.core.evidence import Verdict
from worldgate.core.progress import Progress
from worldgate.data import datasets
from worldgate.evidence import figures, gap_bounds
from worldgate.evidence.bootstrap import Interval
from worldgate.evidence.gap import gap
from worldgate.evidence.gap_bounds import Unmeasured
from worldgate.evidence.gap_report import GapConfig, GapReport, merge
from worldgate.recipes import _real_gates as gates
from worldgate.recipes._real import RealConfig
from worldgate.recipes._real_data import Fold, Taken, cut
from worldgate.recipes._real_gates import Admission
from worldgate.recipes._real_stage import Stage
from worldgate.recipes._report import Section, Table, figure
from worldgate.record.events import Ref
from worldgate.worlds.family import FamilyConfig
from worldgate.worlds.models import conv, state
from worldgate.worlds.tracks import Inputs
from worldgate.worlds.train import stage as training
from worldgate.worlds.train.config import LoopConfig, PhaseConfig

_HORIZON_S = 1.0
_RARELY = 1_000_000
"""Steps between snapshots and evaluations: these trainings are too short for either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A training recipe with what held-out episodes say of it."""

    ref: Ref
    """The model trained on all episodes."""
    report: GapReport


def judge_state(stage: Stage, taken: Taken, config: RealConfig) -> bool:
    """Telemetry: train, judge, decide; whether the control was refused for every signal."""
    robot = stage.robot
    whole, folds = cut(stage, taken, taken.telemetry, purpose="telemetry", count=config.state.folds)
    good = state.Config(
        inputs=Inputs(states=robot.states, action=robot.action),
        phase=PhaseConfig(steps=config.state.steps, batch=32, rate=2e-3),
        loop=LoopConfig(seed=config.seed, checkpoint_every=_RARELY, evaluate_every=_RARELY),
    )
    broken = replace(good, loop=replace(good.loop, shuffle_actions=True))
    epsilon = {name: e for name, e in robot.epsilon.items() if name.split("[")[0] in robot.states}
    measured = GapConfig(horizon_s=_HORIZON_S, windows=config.windows, seed=config.seed, epsilon=epsilon)
    tried = [
        _try(stage, whole, folds, "state", each, name=name, measured=measured)
        for name, each in (("state", good), ("state, actions shuffled", broken))
    ]
    return _decide(
        stage,
        tried,
        tuple(epsilon),
        (0.5, 1.0),
        taken.sites,
        "b. Telemetry",
        held=_words(whole, folds, len(taken.accepted)),
    )


def judge_video(stage: Stage, taken: Taken, config: RealConfig) -> bool:
    """Video: the same at the cameras' rate, a few episodes held out at a time."""
    robot = stage.robot
    whole, folds = cut(stage, taken, taken.video, purpose="video", count=config.video.folds)
    good = conv.Config(
        inputs=Inputs(states=robot.states, action=robot.action, cameras=robot.cameras, size=config.video.size),
        loop=LoopConfig(
            seed=config.seed,
            max_seconds=config.video.seconds,
            checkpoint_every=_RARELY,
            evaluate_every=_RARELY,
        ),
    )
    broken = replace(good, loop=replace(good.loop, shuffle_actions=True))
    epsilon = {name: e for name, e in robot.epsilon.items() if "/" in name}
    measured = GapConfig(
        horizon_s=_HORIZON_S,
        windows=config.windows,
        seed=config.seed,
        epsilon=epsilon,
        video_metrics=("video_moving",),
    )
    tried = [
        _try(stage, whole, folds, "conv", each, name=name, measured=measured)
        for name, each in (("conv", good), ("conv, actions shuffled", broken))
    ]
    return _decide(
        stage,
        tried,
        tuple(epsilon),
        robot.video_horizons_s,
        taken.sites,
        "c. Video",
        held=_words(whole, folds, len(taken.accepted)),
    )


def _try(
    stage: Stage,
    whole: Ref,
    folds: Sequence[Fold],
    family: str,
    config: FamilyConfig,
    *,
    name: str,
    measured: GapConfig,
) -> Tried:
    """Train without each fold and judge on it, then train on everything."""
    ws = stage.ws
    episodes = datasets.load(ws, whole.digest)
    reports = []
    with stage.story.progress(f"{name}: {len(folds)} folds") as progress:
        for number, fold in enumerate(folds):
            tell = _within(progress, number, len(folds) + 1)
            ref = training.train(
                ws, fold.dataset.digest, family, config, name=f"{name}, fold {number + 1}", progress=tell
            )
            held_out = [e for e in episodes if e.log in fold.held_out]
            model = training.load(ws, ref.digest)
            reports.append(gap(model, held_out, measured, donors=episodes, dataset=whole.digest))
        tell = _within(progress, len(folds), len(folds) + 1)
        subject = training.train(ws, whole.digest, family, config, name=name, progress=tell)
    spec = training.load(ws, subject.digest).spec
    return Tried(ref=subject, report=merge(reports, subject=spec))


def _within(progress: Progress, part: int, parts: int) -> Progress:
    """Progress of one training as a share of all."""

    def tell(done: int, total: int, note: str = "") -> None:
        progress(100 * part + round(100 * done / max(total, 1)), 100 * parts, note)

    return tell


def _decide(
    stage: Stage,
    tried: Sequence[Tried],
    signals: Sequence[str],
    horizons_s: Sequence[float],
    sites: Sequence[str],
    title: str,
    *,
    held: str,
) -> bool:
    """Ask the gate about both models, tell what it says, and close the part; whether the control was refused."""
    admissions: list[Admission] = []
    for item in tried:
        admissions += gates.admit(stage, item.ref, item.report, signals, sites=sites, horizons_s=horizons_s)
    good, control = tried
    for found in admissions:
        stage.story.say(
            f"{found.model.name} for {found.signal}: {found.verdict}" + (f" ({found.why})" if found.why else "")
        )
    figures_of = {item.ref.name: _figures(item.report, signals, horizons_s) for item in tried}
    stage.facts.setdefault("figures", {}).update(figures_of)
    refused = all(a.verdict is Verdict.REJECT for a in admissions if a.model == control.ref)
    said = ", ".join(f"{a.signal} {a.verdict}" for a in admissions if a.model == good.ref)
    stage.close_scene(
        Section(
            title=title,
            verdict=f"{good.ref.name}: {said}; the control was {'refused' if refused else 'not refused everywhere'}",
            tone="good" if refused else "bad",
            words=(held, _WORDS),
            tables=(_table(figures_of), gates.table(admissions, caption="One signed decision a model and signal")),
            pictures=tuple(
                figure(figures.horizon_curves(good.report, s), alt=f"error of {good.ref.name} by horizon, {s}")
                for s in signals
            ),
            commands=(f"worldgate show {admissions[0].decision.ref.digest[:12]}",),
        )
    )
    return refused


_WORDS = (
    "The control learned from the same episodes with actions that belong to other moments. HOLD means that nothing"
    " failed but the episodes are too few to conclude; the reason says how many are needed. H is the horizon up to"
    " which the error stays within the tolerance with the stated probability, by a lower 95 % bound."
)


def _words(whole: Ref, folds: Sequence[Fold], count: int) -> str:
    how = "left out alone" if len(folds) == count else f"left out in one of {len(folds)} groups"
    return (
        f"Dataset {whole.digest[:12]} holds {count} episodes. Each was {how} and predicted by a model that never saw"
        " it; the bounds are over episodes."
    )


def _figures(report: GapReport, signals: Sequence[str], horizons_s: Sequence[float]) -> list[dict[str, Any]]:
    """Per signal and horizon: error, both baselines, skill with its interval, sensitivity, H."""
    return [_row(report, signal, seconds) for signal in signals for seconds in horizons_s]


def _row(report: GapReport, signal: str, seconds: float) -> dict[str, Any]:
    step = report.step_of(seconds)
    values = gap_bounds.column(report, signal, "model", step)
    row: dict[str, Any] = {
        "signal": signal,
        "unit": report.signal(signal).unit,
        "seconds": seconds,
        "episodes": len(values),
        "error": sum(values) / len(values),
    }
    for baseline in ("hold", "velocity"):
        row[baseline] = _bound(lambda b=baseline: gap_bounds.skill(report, signal, b, step, alpha="0.05"))
    row["sensitivity"] = _bound(lambda: gap_bounds.sensitivity(report, signal, step, alpha="0.05"))
    for probability in ("0.8", "0.5"):
        row[f"H at {probability}"] = gap_bounds.valid_horizon(
            report, signal, probability=probability, alpha="0.05"
        ).seconds
    return row


def _bound(compute: Any) -> dict[str, float] | None:
    try:
        found: Interval = compute()
    except Unmeasured:
        return None
    return {
        "estimate": found.estimate,
        "lower": float(found.lower),
        "upper": float(found.upper),
        "width": found.width,
    }


def _table(figures_of: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    rows = []
    for name, found in figures_of.items():
        for row in found:
            rows.append(
                (
                    name,
                    row["signal"],
                    f"{row['seconds']:g}",
                    f"{row['error']:.4g} {row['unit']}".strip(),
                    *(_shown(row[key]) for key in ("hold", "velocity", "sensitivity")),
                    f"{row['H at 0.8']:.2g} / {row['H at 0.5']:.2g}",
                    str(row["episodes"]),
                )
            )
    headings = (
        "model",
        "signal",
        "ahead [s]",
        "error",
        "skill over last held",
        "skill over constant velocity",
        "action sensitivity",
        "H at p 0.8 / 0.5 [s]",
        "episodes",
    )
    return Table(headings=headings, rows=tuple(rows), caption="Estimate [lower, upper] by one-sided 95 % bounds")


def _shown(found: Mapping[str, float] | None) -> str:
    if found is None:
        return "-"
    return f"{found['estimate']:+.2f} [{found['lower']:+.2f}, {found['upper']:+.2f}] width {found['width']:.2f}"
