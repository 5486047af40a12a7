"""Rank recorded releases in a recorded world model: what the command does, on the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from worldgate.control import grounds, policies, ranking, replays
from worldgate.core.digest import short
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.progress import Progress, silent
from worldgate.core.worlds import Policy, WorldModel
from worldgate.evidence.decide import DECIDED
from worldgate.evidence.rank_report import RankReport, put
from worldgate.fleet import releases
from worldgate.fleet.replay import admitted_steps
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.worlds.train import stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is ranked where."""

    task: str = grounds.CELL
    site: str = "north"
    starts: int = 20
    seconds: float = 12.0
    """Longest run in the cell; a task says its own."""
    seed: int = 0
    """Of the first start; each further one takes the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A recorded ranking."""

    evidence: Ref
    report: RankReport


def rank_recorded(
    ws: Workspace,
    model: Ref,
    chosen: Sequence[Ref],
    asked: Asked | None = None,
    *,
    now_ns: int,
    progress: Progress = silent,
) -> Made:
    """Run releases in a world model and in its true environment, and keep every outcome as evidence.

    Args:
        ws: the workspace.
        model: a recorded world model; it need not be admitted, and the report says whether it is.
        chosen: releases, each once.
        asked: where and how often.
        now_ns: when this is asked: an admission must be in force then.
        progress: called after each run.

    Raises:
        UsageError: no release, one twice, or no start.
        DataRefused: a release that acts at another rate, or in other units, than the world model.
        CapabilityMissing: a task that cannot be judged from an observation.
    """
    asked = asked or Asked()
    if not chosen or len({ref.digest for ref in chosen}) < len(chosen):
        raise UsageError("ranking takes releases, each once", got=", ".join(short(r.digest) for r in chosen))
    if asked.starts < 1:
        raise UsageError("ranking needs starts", got=asked.starts, hint="--starts 20")
    world = stage.load(ws, model.digest)
    ground = grounds.ground(asked.task, world.spec, site=asked.site, seconds=asked.seconds)
    begun = ranking.starts(ground, world.spec, range(asked.seed, asked.seed + asked.starts))
    runs = ranking.compare(ground, world, _policies(ws, world, chosen), begun, progress=progress)
    admission = replays.admitted(ws, asked.site, now_ns).get(model.digest)
    decision = _decision(ws, model.digest, asked.site) if admission is not None else ""
    told = {s.name for s in (*world.spec.states, *world.spec.cameras)}
    steps = admitted_steps(admission) if admission is not None else {}
    report = RankReport(
        subject=model.digest,
        origin=ground.make().origin,
        task=ground.task,
        outcome=ground.outcome,
        unit=ground.unit,
        seeds=tuple(start.seed for start in begun),
        steps=ground.steps,
        rate_hz=world.spec.rate_hz,
        admission=decision,
        valid_steps=min(ground.steps, *(steps.get(name, 0) for name in told)),
        policies=runs,
    )
    inputs = [model, *chosen, *([Ref("decision", decision)] if decision else [])]
    return Made(evidence=put(ws, report, inputs=inputs), report=report)


def _decision(ws: Workspace, model: str, site: str) -> str:
    """Digest of the newest admission decision about a model at a site."""
    found = [
        str(event.body["decision"])
        for event in ws.ledger.events(DECIDED)
        if event.body["gate"] == "admission"
        and event.body["subject"] == model
        and (not event.body["sites"] or site in event.body["sites"])
    ]
    return found[-1]


def _policies(ws: Workspace, world: WorldModel, chosen: Sequence[Ref]) -> dict[str, Policy]:
    """By name or short digest, refused where they do not fit what the model tells and takes."""
    spec = world.spec
    told = {s.name: s for s in (*spec.states, *spec.reads, *spec.cameras)}
    found: dict[str, Policy] = {}
    for ref in chosen:
        held = releases.load(ws, ref.digest)
        name = ref.name if ref.name and ref.name not in found else short(ref.digest)
        if abs(held.controller.rate_hz - spec.rate_hz) > 1e-6 * spec.rate_hz:
            got = f"{held.controller.rate_hz:g} Hz, the world model {spec.rate_hz:g} Hz"
            raise DataRefused("a release that acts at another rate", got=got, where=name)
        for signal in held.observation:
            there = told.get(signal.name)
            if there is None:
                hint = f"train one with inputs.states that hold it; this one tells {', '.join(sorted(told))}"
                raise DataRefused("the world model does not tell what this release reads", got=signal.name, hint=hint)
            if (there.unit and signal.unit and there.unit != signal.unit) or there.shape != signal.shape:
                got = f"{signal.shape} {signal.unit}, told as {there.shape} {there.unit}"
                raise DataRefused("a release that reads another unit or width", got=got, where=f"{name}:{signal.name}")
        found[name] = policies.load(held, ws.store)
    return found
