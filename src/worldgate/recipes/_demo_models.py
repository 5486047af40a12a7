"""Scene b of the demo: world models learn the four arms, and are admitted only as far as held-out episodes allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worldgate.core.evidence import Verdict
from worldgate.core.report import Section, Table
from worldgate.data import datasets
from worldgate.evidence.gap_report import GapConfig
from worldgate.recipes._demo_gates import gate_policy
from worldgate.recipes._demo_stage import DECIDED, SLOTS, Stage
from worldgate.recipes._judging import Judged, curves, judge, skill_table
from worldgate.record.events import Ref

if TYPE_CHECKING:
    from worldgate.worlds.family import FamilyConfig

STATES = ("observation.state", "observation.environment_state")
CAMERA = "observation.images.front"
EPSILON: Mapping[str, float] = {
    "observation.state[m]": 0.02,
    "observation.state[rad]": 0.10,
    f"{CAMERA}/video_moving": 0.04,
}
"""Largest tolerable error: 2 cm at the tool, which is the envelope's own limit; 0.1 rad at the joints; where pixels
move, less than the 0.055 that holding the last frame costs there on average."""

_THREADS = 1
"""Tensors this small gain nothing from a second thread, and lose much where two virtual cores share one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """What scene b leaves behind."""

    state: Judged
    video: Judged
    broken: Judged


def learn(stage: Stage, dataset: Ref, *, state_s: float, video_s: float, seed: int) -> tuple[Models, Section]:
    """Train ``state``, ``conv`` and a control with shuffled actions; judge all three on the same held-out episodes."""
    from worldgate.worlds.models import conv, state  # torch, which `demo --quick` does without
    from worldgate.worlds.tracks import Inputs
    from worldgate.worlds.train.config import LoopConfig

    loop = LoopConfig(
        seed=seed, max_seconds=state_s, checkpoint_every=100_000, evaluate_every=100_000, threads=_THREADS
    )
    telemetry = state.Config(inputs=Inputs(states=STATES), loop=loop)
    pictures = conv.Config(inputs=Inputs(states=STATES, cameras=(CAMERA,)), loop=replace(loop, max_seconds=video_s))
    shuffled = replace(telemetry, loop=replace(loop, shuffle_actions=True))
    models = Models(
        state=_learn(stage, dataset, "state", telemetry, name="state"),
        video=_learn(stage, dataset, "conv", pictures, name="conv"),
        broken=_learn(stage, dataset, "state", shuffled, name="state, actions shuffled"),
    )
    return models, _section(stage, models)


def _learn(stage: Stage, dataset: Ref, family: str, config: FamilyConfig, *, name: str) -> Judged:
    from worldgate.worlds.train import stage as training

    ws = stage.ws
    with stage.story.progress(f"training {name}") as progress:
        ref = training.train(ws, dataset.digest, family, config, name=name, progress=progress)
    judged = judge(
        ws,
        stage.story,
        ref,
        training.load(ws, ref.digest),
        datasets.load(ws, dataset.digest, "val"),
        policy=gate_policy(ws, "demo-admission"),
        sites=sorted({str(slot.site) for slot in SLOTS}),
        config=GapConfig(horizon_s=2.0, windows=8, epsilon=EPSILON),
        now_ns=DECIDED,
    )
    stage.story.say(f"{name}: {judged.said}")
    return judged


def _section(stage: Stage, models: Models) -> Section:
    good = [models.state, models.video]
    admitted = all(item.decision.verdict is Verdict.ADMIT for item in good)
    refused = models.broken.decision.verdict is Verdict.REJECT
    reach = [
        (item.ref.name, a["signal"], f"{a['epsilon']:g} {a['unit']}", f"{a['horizon_s']:g}")
        for item in good
        for a in item.decision.payload["admitted"]
    ]
    stage.facts["admitted"] = {item.ref.name: str(item.decision.verdict) for item in (*good, models.broken)}
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
            "The control learned from the same episodes with actions that belong to other moments. It must be"
            " refused, or"
            " the gate would pass a model that ignores what the arm is told to do.",
        ),
        tables=(
            Table(headings=("model", "signal", "tolerance", "H [s]"), rows=tuple(reach), caption="Admitted up to"),
            skill_table(
                [*good, models.broken],
                (0.5, 1.0),
                signals=(*EPSILON, "observation.environment_state[m]"),
                caption="Held-out skill with bootstrap bounds over episodes; none is admitted for the tracker",
            ),
        ),
        pictures=(
            *curves(models.state, ("observation.state[m]",)),
            *curves(models.video, (f"{CAMERA}/video_moving",)),
        ),
        commands=tuple(f"worldgate show {item.decision.ref.digest[:12]}" for item in (*good, models.broken)),
    )
