"""The loop on real robots: logs in, models judged on unseen episodes, signed decisions, what a promotion lacks.

Shared by the recipes ``droid`` and ``g1``, which say what their robot is. Episodes are few, so each is held out once
and predicted by a model trained without it; bounds are over episodes and their width is said. A control trained with
shuffled actions goes through the same gate and must be refused.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from worldgate.core.evidence import Verdict
from worldgate.core.report import Section, write_report
from worldgate.evidence.recompute import RECOMPUTE
from worldgate.recipes import _real_data as data
from worldgate.recipes import _real_gates as gates
from worldgate.recipes._real_stage import Robot, Stage
from worldgate.recipes._result import Result
from worldgate.recipes._story import Quiet, Story
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

NOTICE = "Real recordings of real robots, judged offline. Pictures and states marked imagined are a model's."
PERSON = "engineer"


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Where the logs are."""

    root: str = ""
    """Folder of the logs, or of several such folders; empty: $WORLDGATE_DATA, else shared/data/real beside the
    checkout."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StateConfig:
    """How the telemetry model learns."""

    steps: int = 80
    """Steps of each training; with so few episodes the ridge start does most of the work."""
    folds: int = 0
    """Groups of episodes that are held out in turn; 0: each episode alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoConfig:
    """How the video model learns."""

    seconds: float = 25.0
    """For each training, its tokenizer included; 0: no video model."""
    folds: int = 2
    """Groups of episodes that are held out in turn."""
    size: int = 64
    """Pixels a side."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RealConfig:
    """Sizes of a run on real logs."""

    seed: int = 0
    """Of everything that is drawn."""
    windows: int = 24
    """Most windows that one held-out episode is judged on."""
    data: DataConfig = field(default_factory=DataConfig)
    state: StateConfig = field(default_factory=StateConfig)
    video: VideoConfig = field(default_factory=VideoConfig)


DEBUG = RealConfig(windows=3, state=StateConfig(steps=2, folds=2), video=VideoConfig(seconds=0.0))
"""Every stage but video, in seconds."""


def run(robot: Robot, folder: Path, config: RealConfig, story: Story | None = None) -> Result:
    """Judge a robot's logs in a new workspace and write one report.

    Args:
        robot: what it is.
        folder: a folder that holds no workspace.
        config: where the logs are, sizes and seeds.
        story: where to tell what happens.

    Raises:
        NotFound: no logs there; nothing is made.
        AlreadyExists: the folder holds a workspace.
        MissingExtra: torch is not installed.
    """
    begun = time.monotonic()
    source = data.locate(robot, config.data.root)
    ws = Workspace.init(folder, person=PERSON, name=robot.name)
    stage = Stage(ws=ws, folder=folder, story=story or Quiet(), robot=robot)
    as_told = _play(stage, source, config)
    report = write_report(
        folder / "report.html", title=robot.title, lead=robot.lead, notice=NOTICE, sections=stage.sections
    )
    first = stage.facts["decisions"][0]["decision"][:12]
    return Result(
        report=report,
        workspace=folder,
        seconds=time.monotonic() - begun,
        as_told=as_told,
        facts=stage.facts,
        commands=(f"worldgate record verify -w {folder}", f"worldgate show {first} -w {folder}"),
    )


def _play(stage: Stage, source: Path, config: RealConfig) -> bool:
    """All parts in order; whether the control was refused and the record holds.

    Telemetry is strong enough evidence to refuse the control for every signal. Video of a few episodes may leave that
    open (HOLD); it must not be admitted.
    """
    from worldgate.recipes import _real_models as models  # torch

    stage.scene("a. Real logs come in")
    taken, section = data.take_in(stage, source)
    stage.close_scene(section)
    stage.scene("b. Telemetry, each episode predicted by a model that never saw it")
    as_told = models.judge_state(stage, taken, config) == {Verdict.REJECT}
    if config.video.seconds:
        stage.scene("c. Video")
        as_told &= Verdict.ADMIT not in models.judge_video(stage, taken, config)
    stage.scene("d. What a promotion would still need")
    stage.close_scene(gates.promotion(stage, taken))
    stage.scene("e. The record")
    return _verified(stage) and as_told


def _verified(stage: Stage) -> bool:
    """Verify everything, decisions recomputed."""
    with stage.story.progress("verifying the record"):
        held = verify(stage.ws, recompute=RECOMPUTE)
    verdict = (
        f"{held.records} records hold, {held.recomputed} decisions recomputed" if held.ok else str(held.problems[0])
    )
    stage.close_scene(
        Section(
            title="e. The record",
            verdict=verdict,
            tone="good" if held.ok else "bad",
            words=(
                "Every log, dataset, training run, gap report and decision of this page is a signed event; each"
                " decision was computed again from its evidence, to the byte.",
            ),
            commands=("worldgate record verify",),
        )
    )
    stage.facts |= {"verified": held.ok, "records": held.records}
    return held.ok
