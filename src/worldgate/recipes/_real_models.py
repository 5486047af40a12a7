"""Models on real logs: each episode predicted by one trained without it, beside a control with shuffled actions.

The subject of every decision is the model trained by the same recipe on all episodes; the merged report judges that
recipe (``cross_validated``). Every fold's model is trained from a dataset of its own and recorded like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from worldgate.core.episodes import Episode
from worldgate.core.evidence import Verdict
from worldgate.core.progress import Progress
from worldgate.core.report import Picture, Section, figure
from worldgate.core.worlds import WorldModel
from worldgate.data import datasets
from worldgate.evidence import figures
from worldgate.evidence.gap import gap
from worldgate.evidence.gap_report import GapConfig, GapReport, merge
from worldgate.recipes import _real_figures as drawn
from worldgate.recipes import _real_gates as gates
from worldgate.recipes._real import RealConfig
from worldgate.recipes._real_data import Fold, Taken, cut
from worldgate.recipes._real_gates import Admission
from worldgate.recipes._real_stage import Stage
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
class Contest:
    """A family on one dataset: how it is trained, what it is judged on."""

    title: str
    family: str
    config: FamilyConfig
    control: FamilyConfig
    """The same with shuffled actions."""
    measured: GapConfig
    horizons_s: tuple[float, ...]
    whole: Ref
    """Dataset of all episodes."""
    folds: tuple[Fold, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A training recipe with what held-out episodes say of it."""

    ref: Ref
    """The model trained on all episodes."""
    report: GapReport
    unseen: tuple[WorldModel, Episode]
    """The last fold's model and an episode it never saw."""


def judge_state(stage: Stage, taken: Taken, config: RealConfig) -> set[Verdict]:
    """Telemetry: train, judge, decide; what the gate said of the control."""
    robot = stage.robot
    whole, folds = cut(stage, taken, taken.telemetry, purpose="telemetry", count=config.state.folds)
    good = state.Config(
        inputs=Inputs(states=robot.states, action=robot.action),
        phase=PhaseConfig(steps=config.state.steps, batch=32, rate=2e-3),
        loop=LoopConfig(seed=config.seed, threads=1, checkpoint_every=_RARELY, evaluate_every=_RARELY),
    )
    epsilon = {name: e for name, e in robot.epsilon.items() if name.split("[")[0] in robot.states}
    contest = Contest(
        title="b. Telemetry",
        family="state",
        config=good,
        control=replace(good, loop=replace(good.loop, shuffle_actions=True)),
        measured=GapConfig(horizon_s=_HORIZON_S, windows=config.windows, seed=config.seed, epsilon=epsilon),
        horizons_s=(0.5, 1.0),
        whole=whole,
        folds=tuple(folds),
    )
    return _hold(stage, taken, contest)


def judge_video(stage: Stage, taken: Taken, config: RealConfig) -> set[Verdict]:
    """Video: the same at the cameras' rate, a group of episodes held out at a time."""
    robot = stage.robot
    whole, folds = cut(stage, taken, taken.video, purpose="video", count=config.video.folds)
    loop = LoopConfig(
        seed=config.seed,
        max_seconds=config.video.seconds,
        threads=1,
        checkpoint_every=_RARELY,
        evaluate_every=_RARELY,
    )
    good = conv.Config(
        inputs=Inputs(states=robot.states, action=robot.action, cameras=robot.cameras, size=config.video.size),
        loop=loop,
    )
    contest = Contest(
        title="c. Video",
        family="conv",
        config=good,
        control=replace(good, loop=replace(loop, shuffle_actions=True)),
        measured=GapConfig(
            horizon_s=_HORIZON_S,
            windows=config.windows,
            seed=config.seed,
            epsilon={name: e for name, e in robot.epsilon.items() if "/" in name},
            video_metrics=("video_moving",),
        ),
        horizons_s=robot.video_horizons_s,
        whole=whole,
        folds=tuple(folds),
    )
    return _hold(stage, taken, contest)


def _hold(stage: Stage, taken: Taken, contest: Contest) -> set[Verdict]:
    """Try both, ask the gate about each signal, tell what it says and close the part."""
    signals = tuple(contest.measured.epsilon)
    good = _try(stage, contest, contest.config, contest.family)
    control = _try(stage, contest, contest.control, f"{contest.family}, actions shuffled")
    admissions: list[Admission] = []
    for item in (good, control):
        admissions += gates.admit(
            stage, item.ref, item.report, signals, sites=taken.sites, horizons_s=contest.horizons_s
        )
    for found in admissions:
        because = f" ({found.why})" if found.why else ""
        stage.story.say(f"{found.model.name} for {found.signal}: {found.verdict}{because}")
    said = ", ".join(f"{a.signal} {a.verdict}" for a in admissions if a.model == good.ref)
    of_control = {a.verdict for a in admissions if a.model == control.ref}
    found_of = {item.ref.name: drawn.figures_of(item.report, signals, contest.horizons_s) for item in (good, control)}
    stage.facts.setdefault("figures", {}).update(found_of)
    stage.close_scene(
        Section(
            title=contest.title,
            verdict=f"{good.ref.name}: {said}; the control: {', '.join(sorted(of_control))}",
            tone="good" if of_control == {Verdict.REJECT} else "bad" if Verdict.ADMIT in of_control else "neutral",
            words=(_words(contest), _WORDS),
            tables=(drawn.table(found_of), gates.table(admissions, caption="One signed decision a model and signal")),
            pictures=(*_curves(good, signals), *_strips(good, admissions)),
            commands=(f"worldgate show {admissions[0].decision.ref.digest[:12]}",),
        )
    )
    return of_control


def _try(stage: Stage, contest: Contest, config: FamilyConfig, name: str) -> Tried:
    """Train without each fold and judge on it, then train on everything."""
    ws, folds = stage.ws, contest.folds
    episodes = datasets.load(ws, contest.whole.digest)
    reports, unseen = [], []
    with stage.story.progress(f"{name}: {len(folds)} folds") as progress:
        for number, fold in enumerate(folds):
            tell = _within(progress, number, len(folds) + 1)
            called = f"{name}, fold {number + 1}"
            ref = training.train(ws, fold.dataset.digest, contest.family, config, name=called, progress=tell)
            model = training.load(ws, ref.digest)
            held_out = [e for e in episodes if e.log in fold.held_out]
            reports.append(gap(model, held_out, contest.measured, donors=episodes, dataset=contest.whole.digest))
            unseen.append((model, held_out[0]))
        tell = _within(progress, len(folds), len(folds) + 1)
        subject = training.train(ws, contest.whole.digest, contest.family, config, name=name, progress=tell)
    report = merge(reports, subject=training.load(ws, subject.digest).spec)
    return Tried(ref=subject, report=report, unseen=unseen[-1])


def _within(progress: Progress, part: int, parts: int) -> Progress:
    """Progress of one training as a share of all."""

    def tell(done: int, total: int, note: str = "") -> None:
        progress(100 * part + round(100 * done / max(total, 1)), 100 * parts, note)

    return tell


def _curves(item: Tried, signals: Sequence[str]) -> list[Picture]:
    return [
        figure(figures.horizon_curves(item.report, s), alt=f"error of {item.ref.name} by horizon, {s}") for s in signals
    ]


def _strips(item: Tried, admissions: Sequence[Admission]) -> list[Picture]:
    """Pictures of a held-out second, evidence only where a decision says so."""
    model, episode = item.unseen
    if not model.spec.cameras:
        return []
    reach = {
        a["signal"].split("/")[0]: int(a["steps"])
        for found in admissions
        if found.model == item.ref
        for a in found.decision.payload["admitted"]
    }
    return drawn.strips(model, episode, _HORIZON_S, reach)


_WORDS = (
    "The control learned from the same episodes with actions that belong to other moments. HOLD means that nothing"
    " failed but the episodes are too few to conclude; the reason says how many are needed. H is the horizon up to"
    " which the error stays within the tolerance with the stated probability, by a lower 95 % bound."
)


def _words(contest: Contest) -> str:
    alone = all(len(fold.held_out) == 1 for fold in contest.folds)
    how = "left out alone" if alone else f"left out in one of {len(contest.folds)} groups"
    count = sum(len(fold.held_out) for fold in contest.folds)
    return (
        f"Dataset {contest.whole.digest[:12]} holds {count} episodes. Each was {how} and predicted by a model that"
        " never saw it; the bounds are over episodes."
    )
