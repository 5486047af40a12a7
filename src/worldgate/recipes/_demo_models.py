"""Scene b of the demo: world models learn the four arms, and are admitted only as far as held-out episodes allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worldgate.core.evidence import Verdict
from worldgate.core.report import Section, Table
from worldgate.data import datasets
from worldgate.evidence import gap_bounds
from worldgate.evidence.bootstrap import Interval
from worldgate.evidence.gap_report import GapConfig
from worldgate.recipes._cell_gates import gate_policy
from worldgate.recipes._cell_stage import SLOTS, Stage
from worldgate.recipes._demo_stage import DECIDED
from worldgate.recipes._judging import Judged, Measured, curves, judge, measure, skill_table
from worldgate.record.events import Ref

if TYPE_CHECKING:
    from worldgate.worlds.family import FamilyConfig

STATES = ("observation.state", "observation.environment_state")
CAMERA = "observation.images.front"
_MOVING = f"{CAMERA}/video_moving"
EPSILON: Mapping[str, float] = {
    "observation.state[m]": 0.02,
    "observation.state[rad]": 0.10,
    _MOVING: 0.04,
}
"""Largest tolerable error: 2 cm at the tool, which is the envelope's own limit; 0.1 rad at the joints; where pixels
move, less than the 0.055 that holding the last frame costs there on average."""

_COMPARED_S = 1.0
_WINDOWS = 2
"""Of each held-out episode, on which families of pictures are compared."""
_THREADS = 1
"""Tensors this small gain nothing from a second thread, and lose much where two virtual cores share one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """What scene b leaves behind."""

    state: Judged
    rivals: tuple[Measured, ...]
    """Of the families that learned pictures for the same time, the best first."""
    video: Judged
    """That one."""
    broken: Judged


def learn(stage: Stage, dataset: Ref, *, state_s: float, video_s: float, seed: int) -> tuple[Models, Section]:
    """Train ``state``, ``conv`` or ``flow``, and a control with shuffled actions; judge them on held-out episodes.

    Args:
        stage: where the demo stands.
        dataset: the recorded episodes.
        state_s: seconds for each model of telemetry.
        video_s: seconds for each model of pictures, of which the better one goes on.
        seed: of all training.
    """
    from worldgate.worlds.models import conv, flow, state  # torch, which `demo --quick` does without
    from worldgate.worlds.tracks import Inputs
    from worldgate.worlds.train.config import LoopConfig

    loop = LoopConfig(
        seed=seed, max_seconds=state_s, checkpoint_every=100_000, evaluate_every=100_000, threads=_THREADS
    )
    telemetry = state.Config(inputs=Inputs(states=STATES), loop=loop)
    inputs, video = Inputs(states=STATES, cameras=(CAMERA,)), replace(loop, max_seconds=video_s)
    pictures: dict[str, FamilyConfig] = {
        "conv": conv.Config(inputs=inputs, loop=video),
        "flow": flow.Config(inputs=inputs, loop=video),
    }
    shuffled = replace(telemetry, loop=replace(loop, shuffle_actions=True))
    first = _learn(stage, dataset, "state", telemetry, name="state")
    rivals = _ranked([_compare(stage, dataset, family, made) for family, made in pictures.items()])
    models = Models(
        state=first,
        rivals=rivals,
        video=_judge(stage, dataset, rivals[0].ref, name=rivals[0].ref.name),
        broken=_learn(stage, dataset, "state", shuffled, name="state, actions shuffled"),
    )
    return models, _section(stage, models)


def _learn(stage: Stage, dataset: Ref, family: str, config: FamilyConfig, *, name: str) -> Judged:
    return _judge(stage, dataset, _train(stage, dataset, family, config, name=name), name=name)


def _train(stage: Stage, dataset: Ref, family: str, config: FamilyConfig, *, name: str) -> Ref:
    from worldgate.worlds.train import stage as training

    with stage.story.progress(f"training {name}") as progress:
        return training.train(stage.ws, dataset.digest, family, config, name=name, progress=progress)


def _judge(stage: Stage, dataset: Ref, subject: Ref, *, name: str) -> Judged:
    from worldgate.worlds.train import stage as training

    ws = stage.ws
    judged = judge(
        ws,
        stage.story,
        subject,
        training.load(ws, subject.digest),
        datasets.load(ws, dataset.digest, "val"),
        policy=gate_policy(ws, "demo-admission"),
        sites=sorted({str(slot.site) for slot in SLOTS}),
        config=GapConfig(horizon_s=2.0, windows=8, epsilon=EPSILON),
        now_ns=DECIDED,
    )
    stage.story.say(f"{name}: {judged.said}")
    return judged


def _compare(stage: Stage, dataset: Ref, family: str, config: FamilyConfig) -> Measured:
    """Train one family of pictures and measure it over one second, on fewer windows than the gate asks for."""
    from worldgate.worlds.train import stage as training

    ref = _train(stage, dataset, family, config, name=family)
    short = GapConfig(horizon_s=_COMPARED_S, windows=_WINDOWS, epsilon={_MOVING: EPSILON[_MOVING]})
    held_out = datasets.load(stage.ws, dataset.digest, "val")
    measured = measure(stage.story, ref, training.load(stage.ws, ref.digest), held_out, short)
    found = _skill(measured)
    bounds = f"[{float(found.lower):+.2f}, {float(found.upper):+.2f}]"
    stage.story.say(f"{family}: {found.estimate:+.2f} {bounds} over the last frame, {_COMPARED_S:g} s ahead")
    return measured


def _skill(item: Measured) -> Interval:
    """Over the last frame where pixels move, on held-out episodes."""
    return gap_bounds.skill(item.report, _MOVING, "hold", item.report.step_of(_COMPARED_S), alpha="0.05")


def _ranked(rivals: Sequence[Measured]) -> tuple[Measured, ...]:
    return tuple(sorted(rivals, key=lambda item: _skill(item).estimate, reverse=True))


def _section(stage: Stage, models: Models) -> Section:
    good = [models.state, models.video]
    admitted = all(item.decision.verdict is Verdict.ADMIT for item in good)
    refused = models.broken.decision.verdict is Verdict.REJECT
    reach = [
        (item.ref.name, a["signal"], f"{a['epsilon']:g} {a['unit']}", f"{a['horizon_s']:g}")
        for item in good
        for a in item.decision.payload["admitted"]
    ]
    every = [*good, models.broken]
    stage.facts["admitted"] = {item.ref.name: str(item.decision.verdict) for item in every}
    stage.facts["pictures"] = models.video.ref.name
    stage.facts["horizons_s"] = {f"{name} {signal}": seconds for name, signal, _, seconds in reach}
    count = len(models.state.report.episodes)
    return Section(
        title="b. World models learn, and are admitted up to their valid horizon",
        verdict="two admitted, the one with shuffled actions refused" if admitted and refused else "not as told",
        tone="good" if admitted and refused else "bad",
        words=(
            f"Judged on {count} episodes that no model has seen. A model counts as evidence for a signal only up"
            " to H, the"
            " horizon to which its error stays within the site's tolerance with probability 0.8, by a lower 95 %"
            " bound.",
            f"Pictures were learned by {len(models.rivals)} families for the same time. {models.video.ref.name} does"
            " best on the held-out episodes, and goes on.",
            "The control learned from the same episodes with actions that belong to other moments. It must be"
            " refused, or"
            " the gate would pass a model that ignores what the arm is told to do.",
        ),
        tables=(
            Table(headings=("model", "signal", "tolerance", "H [s]"), rows=tuple(reach), caption="Admitted up to"),
            skill_table(
                models.rivals,
                (0.5, _COMPARED_S),
                signals=(_MOVING,),
                caption="Two families of pictures after the same time, where pixels move, on held-out episodes",
            ),
            skill_table(
                every,
                (0.5, 1.0),
                signals=(*EPSILON, "observation.environment_state[m]"),
                caption="Held-out skill with bootstrap bounds over episodes; none is admitted for the tracker",
            ),
        ),
        pictures=(
            *curves(models.state, ("observation.state[m]",)),
            *curves(models.video, (_MOVING,)),
        ),
        commands=tuple(f"worldgate show {item.decision.ref.digest[:12]}" for item in every),
    )
