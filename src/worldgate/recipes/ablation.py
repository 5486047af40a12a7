"""Ablation: what each part of the latent model is worth, one switch at a time, on the same episodes and pairs.

Every variant learns for the same time from the same watched runs and plans on the same held-out pairs, with and without
search. A row says what changed and nothing else did; success stands beside its controls and has exact intervals, so a
part whose interval overlaps that of the whole is not shown to be worth anything here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldgate.core.atomic import write_atomic
from worldgate.core.config import resolve
from worldgate.core.digest import to_json
from worldgate.core.errors import AlreadyExists
from worldgate.core.progress import Progress
from worldgate.core.report import Section, Table, write_report
from worldgate.evidence.reaching import Arm, PairConfig
from worldgate.recipes._reaching import Tried, Watching, pairs_of, trained, tried, watched
from worldgate.recipes._result import Result
from worldgate.recipes._story import Quiet, Story

if TYPE_CHECKING:
    from worldgate.worlds.models.jepa import Config as JepaConfig
    from worldgate.worlds.train.monitor import Progress as TrainProgress
    from worldgate.worlds.train.monitor import Report

CARD = {
    "line": "what each switch of the latent model is worth: the same runs, pairs and seconds for every variant",
    "inputs": "a simulated task that takes goals",
    "needs": "models",
    "source": "the switches of LeWM, RC-aux, Fast-LeWM and GC-IDM",
}

VARIANTS: Mapping[str, tuple[str, ...]] = {
    "whole": (),
    "step by step, no prefix": ('net.reckoning="step"',),
    "one step ahead": ("learn.steps=1",),
    "no SIGReg": ("learn.sigreg=0.0",),
    "no inverse dynamics": ("net.inverse=false",),
    "no reachability": ("net.reach=false",),
    "no probe": ("net.probe=false",),
    "one member": ("net.members=1",),
    "one known row": ("net.known=1",),
    "no head shapes latents": ("learn.shaped_by=[]",),
    "the probe shapes latents, too": ('learn.shaped_by=["inverse", "probe"]',),
    "heads learn along with latents alone": ("heads.steps=0",),
    "straightened": ("learn.straighten=0.1",),
}

_SKILL = "latent_skill_over_copy_last_at_the_end"
_PLACE = frozenset({"phase_index", "phase", "step", "loss", "rate"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationConfig:
    """The recipe's configuration."""

    watching: Watching = field(default_factory=Watching)
    pairs: PairConfig = field(default_factory=lambda: PairConfig(groups=1, pairs=50))
    cameras: tuple[str, ...] = ("observation.images.top",)
    states: tuple[str, ...] = ()
    read: tuple[str, ...] = ("observation.state",)
    """Streams that the probe reads out."""
    model: tuple[str, ...] = ()
    """``key=value`` for every variant."""
    variants: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(VARIANTS))
    """Name -> ``key=value`` that differ."""
    seconds: float = 120.0
    """Of training, each variant."""
    planner: str = "icem"
    seed: int = 0


def run(folder: Path, config: AblationConfig | None = None, story: Story | None = None) -> Result:
    """Train and try every variant.

    Args:
        folder: where runs and the page go; must not exist.
        config: what is compared.
        story: where progress goes.

    Raises:
        AlreadyExists: the folder exists.
        ConfigError: a switch that the family does not have.
        DataRefused: too few episodes to draw pairs from.
    """
    from worldgate.control.lookahead import CostConfig
    from worldgate.control.planning import PlanningConfig

    config, story, begun = config or AblationConfig(), story or Quiet(), time.monotonic()
    if folder.exists():
        raise AlreadyExists("this folder exists", where=folder, hint="--out with another name")
    made = {name: _variant(config, sets) for name, sets in config.variants.items()}
    folder.mkdir(parents=True)
    story.scene("a. Runs to learn from, and held-out pairs")
    with story.progress("watching") as progress:
        train, held_out = watched(config.watching, progress)
    task, protocol = pairs_of(config.watching, train, held_out, config.pairs)
    story.say(f"{len(train)} runs to learn from, {len(protocol.pairs)} pairs of {len(held_out)} held-out runs")
    story.scene("b. The same seconds for every variant")
    planning = PlanningConfig(cost=CostConfig(hold=5))
    found: dict[str, dict[str, Any]] = {}
    for number, (name, chosen) in enumerate(made.items()):
        with story.progress(f"training: {name}") as progress:
            world = trained(folder / "runs" / f"{number:02d}", chosen, train, held_out, _said(progress))
        planners = ["direct", config.planner] if chosen.net.inverse else [config.planner]
        trials = {}
        for planner in planners:
            with story.progress(f"planning: {name}, {planner}") as progress:
                trials[planner] = tried(world, task, protocol, planning, planner=planner, progress=progress)
        found[name] = _facts(folder / "runs" / f"{number:02d}", trials)
        story.say("  ".join(_row(name, found[name], config.planner)))
    facts = {"protocol": protocol.digest, "variants": found, "seconds_each": config.seconds}
    write_atomic(folder / "ablation.json", json.dumps(to_json(facts), indent=1).encode())
    page = _page(folder, config, found)
    return Result(
        report=page, workspace=folder, seconds=time.monotonic() - begun, as_told=True, facts=facts, commands=()
    )


def _said(progress: Progress) -> Report:
    def tell(now: TrainProgress) -> None:
        progress(now.step, now.steps, f"loss {now.loss:.3f}")

    return tell


def _variant(config: AblationConfig, sets: tuple[str, ...]) -> JepaConfig:
    from worldgate.worlds.models import jepa

    base = (
        f"inputs.cameras={json.dumps(config.cameras)}",
        f"inputs.states={json.dumps(config.states)}",
        f"inputs.read={json.dumps(config.read)}",
        f"loop.max_seconds={config.seconds}",
        f"loop.seed={config.seed}",
        "phase.steps=1000000",
        "heads.steps=1000000",
        "loop.threads=1",
    )
    made: JepaConfig = resolve(jepa.Config(), sets=(*base, *config.model, *sets), environment=False).value
    return made


def _facts(run: Path, trials: Mapping[str, Tried]) -> dict[str, Any]:
    """What a variant came to: the last held-out figures of its training, and its trials."""
    from worldgate.worlds.latent_training import LatentPhase

    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    judged: Mapping[str, Any] = next((line for line in reversed(lines) if _SKILL in line), {})
    return {
        "steps": max((line["step"] for line in lines if line["phase"] == LatentPhase.name), default=0),
        "figures": {name: value for name, value in judged.items() if name not in _PLACE},
        "trials": {
            name: {**{arm.value: to_json(rate) for arm, rate in t.report.rates().items()}, "plan_ms": t.plan_ms()}
            for name, t in trials.items()
        },
    }


def _row(name: str, facts: Mapping[str, Any], planner: str) -> tuple[str, ...]:
    def told(chosen: str, arm: Arm) -> str:
        if chosen not in facts["trials"]:
            return "-"
        rate = facts["trials"][chosen][arm.value]
        share = 100 * rate["successes"] / rate["n"]
        return f"{share:.0f} [{100 * float(rate['lower']):.0f}, {100 * float(rate['upper']):.0f}]"

    def number(key: str) -> str:
        return f"{facts['figures'][key]:.2f}" if key in facts["figures"] else "-"

    return (
        name,
        told("direct", Arm.OWN),
        told(planner, Arm.OWN),
        told(planner, Arm.SHUFFLED),
        told(planner, Arm.RANDOM),
        f"{facts['trials'][planner]['plan_ms']['median']:.0f}",
        number(_SKILL),
        number("latent_action_sensitivity"),
        number("effective_rank"),
        str(facts["steps"]),
    )


def _page(folder: Path, config: AblationConfig, found: Mapping[str, Mapping[str, Any]]) -> Path:
    shown = Table(
        headings=(
            "variant", "direct [%]", f"{config.planner} [%]", "shuffled goals [%]", "random actions [%]", "a plan [ms]",
            "skill over copy-last", "action sensitivity", "effective rank", "steps",
        ),
        rows=tuple(_row(name, facts, config.planner) for name, facts in found.items()),
        caption="Success on the same held-out pairs, exact 95 % intervals; the shuffled and random controls beside it",
    )  # fmt: skip
    return write_report(
        folder / "report.html",
        title="Ablation of the latent model",
        lead="One switch at a time: the same runs, the same pairs, the same seconds of training.",
        notice="Simulated trials. One training of each variant: intervals are over pairs, not over trainings.",
        sections=[Section(title=f"{config.watching.task}, {config.seconds:g} s each", tables=(shown,))],
    )
