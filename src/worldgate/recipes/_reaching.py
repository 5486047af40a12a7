"""A latent model for a task, from episodes that are watched to trials on held-out pairs, all in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worldgate.core.atomic import is_done
from worldgate.core.episodes import Episode
from worldgate.core.progress import Progress, silent
from worldgate.core.tasks import Task
from worldgate.evidence.reaching import PairConfig, ReachingProtocol, ReachingReport, draw_pairs, evaluate
from worldgate.sim.tasks import open_actor, open_task
from worldgate.sim.watch import collect

if TYPE_CHECKING:
    from worldgate.control.planning import Planned, PlanningConfig
    from worldgate.core.worlds import WorldModel
    from worldgate.worlds.models.jepa import Config as JepaConfig
    from worldgate.worlds.train.monitor import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """Whose runs of what are learned from."""

    task: str = "two_room"
    """An entry of ``worldgate list tasks`` that takes goals."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the task."""
    actors: tuple[str, ...] = ("noisy",)
    """Who is watched, in turn."""
    runs: int = 300
    held_out: int = 5
    """Every so manieth run is not learned from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A planner on every pair."""

    report: ReachingReport
    planned: tuple[Planned, ...]

    def plan_ms(self) -> dict[str, float]:
        """What a plan took, by the wall clock."""
        took = [one.ms for one in self.planned]
        return {name: float(np.quantile(took, q)) for name, q in (("median", 0.5), ("p95", 0.95), ("worst", 1.0))}


def watched(asked: Watching, progress: Progress = silent) -> tuple[list[Episode], list[Episode]]:
    """Episodes to learn from, and those that are held out."""
    task = open_task(asked.task, asked.options)
    actors = [open_actor(name, asked.task, asked.options) for name in asked.actors]
    train, held_out = list[Episode](), list[Episode]()
    for seed in range(asked.runs):
        episode = collect(task, actors[seed % len(actors)], seed=seed)
        (train if seed % asked.held_out else held_out).append(episode)
        progress(seed + 1, asked.runs, asked.task)
    return train, held_out


def pairs_of(
    asked: Watching, train: Sequence[Episode], held_out: Sequence[Episode], config: PairConfig
) -> tuple[Task, ReachingProtocol]:
    """The task, and held-out pairs for it."""
    task = open_task(asked.task, asked.options)
    trained = {episode.id for episode in train}
    return task, draw_pairs(task, held_out, trained=trained, config=config, options=asked.options)


def trained(
    run: Path, config: JepaConfig, train: Sequence[Episode], held_out: Sequence[Episode], report: Report | None = None
) -> WorldModel:
    """The family ``jepa`` from these episodes; what was begun in this folder is gone on with."""
    from worldgate.worlds import checkpoint
    from worldgate.worlds.train import loop

    if not is_done(run / "model"):
        if (run / "config.json").exists():
            loop.resume(run, train, held_out, report)
        else:
            loop.train("jepa", train, held_out, config, run, report)
    return checkpoint.load(run / "model")


def tried(
    world: WorldModel,
    task: Task,
    protocol: ReachingProtocol,
    planning: PlanningConfig,
    *,
    planner: str,
    options: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Tried:
    """Plan in a model's latents on every pair, beside the controls.

    Raises:
        CapabilityMissing: a model without latents to plan in.
    """
    from worldgate.control.lookahead.latent import LatentLookahead
    from worldgate.control.planners import open_planner
    from worldgate.control.planning import PlanningPolicy
    from worldgate.core.errors import CapabilityMissing
    from worldgate.worlds.latents import HasLatent

    if not isinstance(world, HasLatent):
        raise CapabilityMissing("no latents to plan in", got=world.spec.family, hint="the family jepa has them")
    spec = task.spec
    lookahead = LatentLookahead(world.latent, world.spec, spec.low, spec.high)
    name = f"{world.spec.digest} {planner} {sorted((options or {}).items())}"
    policy = PlanningPolicy(
        lookahead, open_planner(planner, options), planning, low=spec.low, high=spec.high, name=name
    )
    report = evaluate(task, policy, protocol, progress=progress)
    return Tried(report=report, planned=tuple(policy.planned))
