"""Planning through what the record holds: a world model, held-out episodes of its dataset, a task; kept as evidence.

The task is simulated and says so; what is looked ahead in is imagined. A report never tells a rate without its
controls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worldgate.control import policies
from worldgate.control.lookahead import Lookahead
from worldgate.control.lookahead.latent import LatentLookahead
from worldgate.control.lookahead.model import ModelLookahead
from worldgate.control.lookahead.simulator import SimulatorLookahead
from worldgate.control.lookahead.terms import Envelope, KeepOut, SelfCollision, Term
from worldgate.control.planners import open_planner
from worldgate.control.planning import Planned, PlanningConfig, PlanningPolicy
from worldgate.core.digest import digest_json, short
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.normalisers import Normaliser
from worldgate.core.progress import Progress, silent
from worldgate.core.tasks import Task
from worldgate.core.worlds import ModelSpec, Policy, WorldModel
from worldgate.data import datasets
from worldgate.evidence import reaching
from worldgate.evidence.reaching import PairConfig, ReachingReport
from worldgate.fleet import releases
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.sim.tasks import open_task
from worldgate.worlds import checkpoint
from worldgate.worlds.latents import HasLatent
from worldgate.worlds.train import stage

_RATE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Constraints that plans must keep."""

    envelope: tuple[Envelope, ...] = ()
    keep_out: tuple[KeepOut, ...] = ()
    self_collision: tuple[SelfCollision, ...] = ()

    def terms(self) -> tuple[Term, ...]:
        """All of them."""
        return (*self.envelope, *self.keep_out, *self.self_collision)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanConfig:
    """How is planned, and what on."""

    planner: str = "icem"
    """An entry of the seam ``planners``."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the planner."""
    planning: PlanningConfig = field(default_factory=PlanningConfig)
    limits: Limits = field(default_factory=Limits)
    streams: tuple[str, ...] = ()
    """What of a goal counts, for models without latents to plan in; all that they tell without."""
    task: Mapping[str, Any] = field(default_factory=dict)
    """Options of the task; the size of its pictures is the model's."""
    pairs: PairConfig = field(default_factory=PairConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is planned in, where and from which episodes."""

    task: str
    """An entry of the seam ``tasks``."""
    dataset: Ref | None = None
    """Whose held-out episodes tell starts and goals; the one the model was trained on without."""
    split: str = "val"
    simulator: bool = False
    """Look ahead in a copy of the simulator instead: what a perfect model would reach."""
    warm: Ref | None = None
    """A release that begins the searches."""
    config: PlanConfig = field(default_factory=PlanConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A recorded evaluation."""

    evidence: Ref
    report: ReachingReport
    policy: PlanningPolicy
    task: Task


def plan_recorded(ws: Workspace, model: Ref, asked: Asked, *, progress: Progress = silent) -> Made:
    """Plan from held-out starts to held-out goals, beside controls, and keep every trial as evidence.

    Args:
        ws: the workspace.
        model: a recorded world model.
        asked: the rest.
        progress: called after every pair.

    Raises:
        DataRefused: a model of another rate or action than the task's.
        SplitLeak: episodes that the model was trained on.
        CapabilityMissing: a cost or constraint that the model cannot tell.
    """
    world = stage.load(ws, model.digest)
    task, options = _task(asked, world.spec)
    policy = _policy(ws, model, world, task, asked, options)
    held = asked.dataset.digest if asked.dataset is not None else world.spec.dataset
    if not held:
        raise UsageError("episodes of which dataset?", got=short(model.digest), hint="--dataset NAME")
    trained = {entry.id for entry in datasets.manifest(ws, world.spec.dataset).split("train")}
    protocol = reaching.draw_pairs(
        task,
        datasets.load(ws, held, asked.split),
        trained=trained,
        config=asked.config.pairs,
        options=options,
        dataset=held,
        split=asked.split,
    )
    report = reaching.evaluate(task, policy, protocol, progress=progress)
    inputs = [model, Ref("dataset", held), *([asked.warm] if asked.warm is not None else [])]
    return Made(evidence=reaching.put(ws, report, subject=model.digest, inputs=inputs), report=report, policy=policy,
                task=task)  # fmt: skip


def _task(asked: Asked, spec: ModelSpec) -> tuple[Task, dict[str, Any]]:
    """The task with pictures of the model's size, and its options; refused where the model is for something else."""
    size = {"size": spec.cameras[0].shape[0]} if spec.cameras else {}
    options = size | dict(asked.config.task)
    task = open_task(asked.task, options)
    told = task.spec
    if abs(told.rate_hz - spec.rate_hz) > _RATE * told.rate_hz:
        got = f"{spec.rate_hz:g} Hz, the task {told.rate_hz:g} Hz"
        raise DataRefused("a model of another rate than the task's", got=got, where=asked.task)
    if spec.action is None or spec.action.shape != told.action.shape or spec.action.unit != told.action.unit:
        mine = "none" if spec.action is None else f"{spec.action.shape} {spec.action.unit}"
        got = f"{mine}, the task {told.action.shape} {told.action.unit}"
        raise DataRefused("a model of other actions than the task's", got=got, where=asked.task)
    return task, options


def _policy(
    ws: Workspace, model: Ref, world: WorldModel, task: Task, asked: Asked, options: Mapping[str, Any]
) -> PlanningPolicy:
    config, spec = asked.config, task.spec
    lookahead: Lookahead
    if asked.simulator:
        lookahead = SimulatorLookahead(open_task(asked.task, options))
    elif isinstance(world, HasLatent):
        lookahead = LatentLookahead(world.latent, world.spec, spec.low, spec.high)
    else:
        statistics = Normaliser.from_bytes((stage.checkout(ws, model.digest) / checkpoint.NORMALISER).read_bytes())
        scale = {name: np.asarray(held.std) for name, held in statistics.streams.items()}
        lookahead = ModelLookahead(world, scale, spec.low, spec.high, config.streams)
    warm = _release(ws, asked.warm, task) if asked.warm is not None else None
    name = digest_json({"model": model.digest, "simulator": asked.simulator, "config": config, "warm": asked.warm})
    return PlanningPolicy(
        lookahead,
        open_planner(config.planner, config.options),
        config.planning,
        low=spec.low,
        high=spec.high,
        terms=config.limits.terms(),
        warm=warm,
        name=name,
    )


def _release(ws: Workspace, ref: Ref, task: Task) -> Policy:
    held = releases.load(ws, ref.digest)
    if abs(held.controller.rate_hz - task.spec.rate_hz) > _RATE * task.spec.rate_hz:
        got = f"{held.controller.rate_hz:g} Hz, the task {task.spec.rate_hz:g} Hz"
        raise DataRefused("a release of another rate than the task's", got=got, where=ref.name or short(ref.digest))
    if held.action.shape != task.spec.action.shape or held.action.unit != task.spec.action.unit:
        got = f"{held.action.shape} {held.action.unit}, the task {task.spec.action.shape} {task.spec.action.unit}"
        raise DataRefused("a release of other actions than the task's", got=got, where=ref.name or short(ref.digest))
    return policies.load(held, ws.store)


def told(planned: Sequence[Planned], config: PlanningConfig) -> list[str]:
    """What plans were, in words: how far they looked, which were cut short, unlawful or towards the unreachable."""
    count = len(planned)
    late, unlawful = sum(d.late for d in planned), sum(d.unlawful for d in planned)
    ahead = [d.ahead for d in planned]
    begun = ", ".join(f"{warm} {sum(d.warm == warm for d in planned)}" for warm in sorted({d.warm for d in planned}))
    took = np.quantile([one.ms for one in planned], [0.5, 0.95, 1.0])
    out = [
        f"plans: {count}, {min(ahead)} to {max(ahead)} rows ahead; begun from {begun}",
        f"a plan: median {took[0]:.1f} ms, p95 {took[1]:.1f} ms, worst {took[2]:.1f} ms by the wall clock",
    ]
    if config.budget_ms:
        empty = sum(d.late and not d.evaluated for d in planned)
        out.append(
            f"time budget {config.budget_ms:g} ms: {late} searches cut short, {empty} of them had no time to search "
            "and gave the warm start"
        )
    if unlawful:
        out.append(f"constraints: no lawful plan was found in {unlawful} of {count} times")
    first = {d.trial: d.chance for d in planned if d.chance is not None}
    if first:
        far = sum(chance < config.unreachable for chance in first.values())
        out.append(f"goals estimated to be unreachable in time: {far} of {len(first)} trials, foreign goals included")
    return out
