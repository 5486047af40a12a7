"""Planning in latents: success against latency, beside controls, on held-out pairs of five tasks.

``.venv/bin/python benchmarks/planning.py [--quick] [--json] [--only TASK ...] [--pairs N] [--seconds S]
[--cache FOLDER] [--peer [SIZE ...]]``. For each task: episodes of its actors are watched, the family ``jepa`` learns
from most of them for ``--seconds`` of processor time, and each planner is tried on five groups of ``--pairs`` pairs of
the rest (protocol SWM-25/50: the goal stands 25 rows ahead, 50 steps are allowed; pairs that begin at their goal are
left out). Every rate is exact at 95 % and stands beside two controls on the same pairs: goals of other episodes, and
random actions. Milliseconds are those of a plan, by the wall clock, on one thread.

``--peer`` sets LeWM (``make bench-env``) beside ours, on 20 pairs where ``--pairs`` says nothing else: it learns from
the same episodes, pictures alone, for as many seconds of processor time as ours used, in three sizes or those named,
and plans by its own search and by our cem. ``peer_value`` is the best of all its rows, chosen on these very pairs, in
its favour. What would take more than 15 minutes is not tried: its ``value`` is empty, its milliseconds are those of
five plans. ``training.starved`` says why a training counts as not converged.

Trainings and trials are cached by set, seconds and code, and a stopped training goes on where it was; what was measured
in full is kept in ``benchmarks/results/planning.json``, each row with its commit, and ``--quick`` (one task, seconds of
training, few pairs) keeps nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import lewm

from worldgate.control.lookahead import CostConfig
from worldgate.control.planning import PlanningConfig
from worldgate.core.atomic import write_atomic
from worldgate.core.digest import digest_json
from worldgate.core.episodes import Episode
from worldgate.core.tasks import Task
from worldgate.core.worlds import WorldModel
from worldgate.evidence.reaching import Arm, PairConfig, ReachingProtocol, ReachingReport, evaluate
from worldgate.recipes._reaching import Watching, pairs_of, trained, tried, watched
from worldgate.worlds import checkpoint
from worldgate.worlds.latent_training import LatentPhase
from worldgate.worlds.latents import LatentConfig, Shaper
from worldgate.worlds.models import jepa
from worldgate.worlds.tracks import Inputs
from worldgate.worlds.train import loop
from worldgate.worlds.train.config import Clock, LoopConfig
from worldgate.worlds.train.monitor import Progress

KEPT = Path(__file__).resolve().parent / "results" / "planning.json"
SIZE, HELD_OUT = 64, 5
"""Pixels a side; every fifth episode is held out."""
PEER, AFFORDABLE_S = "LeWM of stable-worldmodel 0.1.1", 900.0
"""Who is compared with, and how long a row of it may take."""


@dataclass(frozen=True, kw_only=True)
class Set:
    """Whose runs are learned from, and what of them."""

    watching: Watching
    inputs: Inputs
    learn: Mapping[str, Any] = field(default_factory=dict)


def _set(
    task: str,
    actors: tuple[str, ...],
    runs: int,
    camera: str,
    *,
    states: tuple[str, ...] = (),
    read: tuple[str, ...] = ("observation.state",),
    options: Mapping[str, Any] | None = None,
    **learn: Any,
) -> Set:
    watching = Watching(
        task=task, options={"size": SIZE, **(options or {})}, actors=actors, runs=runs, held_out=HELD_OUT
    )
    inputs = Inputs(states=states, cameras=(f"observation.images.{camera}",), read=read, size=SIZE)
    return Set(watching=watching, inputs=inputs, learn=learn)


AROUND = ("observation.environment_state",)
SETS = {
    "two_room": _set("two_room", ("noisy",), 600, "top"),
    "wall": _set("wall", ("noisy",), 600, "top"),
    "reacher": _set("reacher", ("scripted", "random"), 200, "camera"),
    "pusht": _set(
        "pusht",
        ("noisy", "play", "scripted"),
        240,
        "top",
        states=("observation.state",),
        read=AROUND,
        options={"relative": True},
        shaped_by=(Shaper.INVERSE, Shaper.PROBE),
    ),
    "push": _set(
        "push",
        ("noisy", "play"),
        240,
        "front",
        states=("observation.state",),
        read=AROUND,
        shaped_by=(Shaper.INVERSE, Shaper.PROBE),
    ),
}
PLANNERS: Mapping[str, tuple[str, Mapping[str, Any], PlanningConfig]] = {
    "direct": ("direct", {}, PlanningConfig()),
    "icem, 50 ms": ("icem", {}, PlanningConfig(budget_ms=50, cost=CostConfig(hold=5))),
    "cem": ("cem", {}, PlanningConfig(cost=CostConfig(hold=5))),
}


def model(
    name: str, train: list[Episode], held_out: list[Episode], seconds: float, cache: Path
) -> tuple[WorldModel, dict[str, Any]]:
    """A model of a set and what its training was, from the cache where it is there."""
    chosen, base = SETS[name], jepa.Config()
    config = replace(
        base,
        inputs=chosen.inputs,
        learn=LatentConfig(**chosen.learn),
        phase=replace(base.phase, steps=1_000_000),
        heads=replace(base.heads, steps=1_000_000),
        loop=LoopConfig(
            max_seconds=seconds, clock=Clock.PROCESS, evaluate_every=1_000, checkpoint_every=200, threads=1, bf16=True
        ),
    )
    about = {"config": config, "episodes": [e.id for e in train], "code": loop.code_digest()}
    run = cache / f"{name}-{digest_json(about)[:16]}"
    world = trained(run, config, train, held_out, _tell)
    last = {line["phase"]: line for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())}
    took = float(checkpoint.about(run / "model")["about"]["seconds"])
    seen = last[LatentPhase.name]["step"] * config.phase.batch * (config.net.known + config.learn.steps + 1)
    part = config.phase.share / (config.phase.share + config.heads.share)
    facts: dict[str, Any] = {"steps": {name: line["step"] for name, line in last.items()}, "seconds": took}
    facts["wall_s"] = round(sum(line["step"] / line["rate"] for line in last.values()), 1)
    return world, facts | {"frames_per_s": round(seen / (part * took), 1)}


def _tell(progress: Progress) -> None:
    if progress.facts:
        print(progress.step, {k: round(v, 3) for k, v in progress.facts.items()}, file=sys.stderr, flush=True)


@dataclass(frozen=True, kw_only=True)
class Trying:
    """A task, its pairs, and where trials are kept."""

    name: str
    task: Task
    protocol: ReachingProtocol
    cache: Path

    def ours(self, world: WorldModel, label: str) -> dict[str, Any]:
        """What came of one of our planners."""
        planner, options, planning = PLANNERS[label]
        asked = {"planner": planner, "options": options, "planning": planning}

        def found() -> dict[str, Any]:
            done = tried(world, self.task, self.protocol, planning, planner=planner, options=options)
            return _told(done.report, [one.ms for one in done.planned])

        return self._kept({"model": world.spec.digest, "asked": asked}, found)

    def peers(self, folder: Path, label: str, policy: lewm.Way) -> dict[str, Any]:
        """What came of planning with a peer; its latency alone, where trying it on all pairs would take too long."""

        def found() -> dict[str, Any]:
            first = lewm.latency(policy, self.task, self.protocol)
            plans = 2 * len(self.protocol.pairs) * lewm.plans_of(policy, self.protocol.config.budget)
            if plans * float(np.median(first)) / 1e3 > AFFORDABLE_S:
                return {"plan_ms": _quantiles(first), "plans": len(first)}
            return _told(evaluate(self.task, policy, self.protocol), policy.plan_ms())

        code = lewm.code("lewm_plan.py", "lewm_wire.py", "lewm.py")
        return self._kept({"model": folder.name, "asked": label, "code": code}, found)

    def _kept(self, asked: Mapping[str, Any], found: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        path = self.cache / f"trials-{digest_json({'protocol': self.protocol.digest, **asked})[:16]}.json"
        if not path.exists():
            write_atomic(path, json.dumps(found()).encode())
        told: dict[str, Any] = json.loads(path.read_text())
        return told


def rows_of(
    name: str, runs: int, seconds: float, pairs: PairConfig, cache: Path, sizes: Sequence[str]
) -> list[dict[str, Any]]:
    """One line a planner; with sizes of LeWM also its lines, on the same pairs."""
    watching = replace(SETS[name].watching, runs=runs)
    train, held_out = watched(watching)
    world, training = model(name, train, held_out, seconds, cache)
    task, protocol = pairs_of(watching, train, held_out, pairs)
    trying = Trying(name=name, task=task, protocol=protocol, cache=cache)
    out, what = [], f"{name}, beside LeWM" if sizes else name
    for label in PLANNERS:
        out.append(_row(f"{what}: {label}", trying.ours(world, label), training, len(train), protocol))
        print(out[-1], file=sys.stderr, flush=True)
    theirs = peer_rows(trying, train, held_out, training["seconds"], sizes)
    best = max((row for row in theirs if row["value"] is not None), key=lambda row: row["value"], default=None)
    if best is not None:
        starved = best["training"]["starved"]
        label = best["what"].removeprefix(f"{name}, ") + (f" (starved: {starved})" if starved else "")
        for row in out:
            ratio = round(row["value"] / best["value"], 3) if best["value"] else None
            row |= {"peer": label, "peer_value": best["value"], "ratio": ratio}
    return out + theirs


def peer_rows(
    trying: Trying, train: Sequence[Episode], held_out: Sequence[Episode], seconds: float, sizes: Sequence[str]
) -> list[dict[str, Any]]:
    """LeWM in each of these sizes, by each way to plan with it."""
    out, camera = [], SETS[trying.name].inputs.cameras[0]
    for size in sizes:
        folder = lewm.taught(trying.cache, camera, train, held_out, size, seconds)
        bridge = lewm.opened(folder)
        try:
            for label, policy in lewm.ways(bridge, camera, trying.task.spec, {"cem": PLANNERS["cem"][2]}).items():
                told = trying.peers(folder, label, policy)
                what = f"{trying.name}, LeWM {size}: {label}"
                out.append(_row(what, told, lewm.training(folder), len(train), trying.protocol))
                print(out[-1], file=sys.stderr, flush=True)
        finally:
            bridge.close()
    return out


def _told(report: ReachingReport, plan_ms: Sequence[float]) -> dict[str, Any]:
    rates = {
        arm.value: {
            "rate": rate.rate,
            "interval": [float(rate.lower), float(rate.upper)],
            "groups": [rate.group_mean, rate.group_sd],
            "n": rate.n,
            "steps": rate.steps,
        }
        for arm, rate in report.rates().items()
    }
    return rates | {"plan_ms": _quantiles(plan_ms), "plans": len(plan_ms)}


def _quantiles(ms: Sequence[float]) -> dict[str, float]:
    return {name: float(np.quantile(ms, q)) for name, q in (("median", 0.5), ("p95", 0.95), ("worst", 1.0))}


def _row(what: str, told: dict[str, Any], training: Any, train: int, protocol: ReachingProtocol) -> dict[str, Any]:
    nothing = {"rate": None, "interval": None, "groups": None, "n": 0, "steps": None}
    own, shuffled, random = (told.get(arm.value, nothing) for arm in (Arm.OWN, Arm.SHUFFLED, Arm.RANDOM))
    return {
        "what": what, "value": None if own["rate"] is None else round(own["rate"], 4), "unit": "1",
        "peer": None, "peer_value": None, "ratio": None, "bar": None, "ok": None,
        "interval": own["interval"], "groups": own["groups"], "pairs": own["n"], "steps_to_goal": own["steps"],
        "shuffled": shuffled["rate"], "shuffled_interval": shuffled["interval"],
        "random": random["rate"], "random_interval": random["interval"],
        "plan_ms": {q: round(v, 2) for q, v in told["plan_ms"].items()}, "plans": told["plans"],
        "training": training, "train_episodes": train, "protocol": protocol.digest[:12],
    }  # fmt: skip


def main() -> None:
    """Measure, print, and keep a full result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one task, seconds of training, few pairs")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--only", nargs="+", choices=tuple(SETS), default=list(SETS))
    parser.add_argument("--pairs", type=int, help="in each of five groups; 50, beside a peer 4")
    parser.add_argument("--seconds", type=float, default=300.0, help="of training, each task")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "worldgate-planning")
    parser.add_argument("--peer", nargs="*", choices=lewm.SIZES, help="LeWM of .venv-swm beside ours, in these sizes")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    whole: dict[str, Any] = {
        "name": "planning",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "peer": "not asked for: --peer",
        "rows": [],
    }
    sizes: tuple[str, ...] = ()
    if asked.peer is not None and lewm.PYTHON.exists():
        whole["peer"], sizes = PEER, tuple(asked.peer) or lewm.SIZES[: 1 if asked.quick else None]
    elif asked.peer is not None:
        whole["peer"] = "absent: .venv-swm, made by make bench-env"
    pairs = PairConfig(pairs=asked.pairs or (4 if sizes else 50))
    pairs = PairConfig(groups=2, pairs=2 if sizes else 5) if asked.quick else pairs
    begun = time.monotonic()
    for name in ["two_room"] if asked.quick else asked.only:
        runs, seconds = (60, 20.0) if asked.quick else (SETS[name].watching.runs, asked.seconds)
        rows = rows_of(name, runs, seconds, pairs, asked.cache, sizes)
        whole["rows"] += [{**row, "commit": commit.stdout.strip()} for row in rows]
        if not asked.quick:
            keep(whole)
    whole["seconds"] = round(time.monotonic() - begun)
    if asked.json:
        print(json.dumps(whole))
        return
    print(f"peer: {whole['peer']}")
    for row in whole["rows"]:
        plan = f"a plan {row['plan_ms']['median']:.1f} ms (p95 {row['plan_ms']['p95']:.1f})"
        if row["value"] is None:
            print(f"{row['what']:46} not tried on all pairs: {plan}")
            continue
        low, high = row["interval"]
        beside = f"  beside {row['peer_value']:.0%}: {row['peer']}" if row["peer"] else ""
        print(
            f"{row['what']:46} {100 * row['value']:5.1f} % [{100 * low:.1f}, {100 * high:.1f}]  shuffled "
            f"{100 * row['shuffled']:.1f}  random {100 * row['random']:.1f}  {plan}{beside}"
        )


def keep(whole: Mapping[str, Any]) -> None:
    """Rows of these tasks replace those kept before; a peer's rows go only where they were measured anew."""
    before = json.loads(KEPT.read_text())["rows"] if KEPT.exists() else []
    named = {row["what"].split(":")[0] for row in whole["rows"]}
    rows = [row for row in before if row["what"].split(":")[0] not in named] + whole["rows"]
    peer = PEER if any("LeWM" in row["what"] for row in rows) else whole["peer"]
    write_atomic(KEPT, (json.dumps({**whole, "peer": peer, "rows": rows}, indent=1) + "\n").encode(), overwrite=True)


if __name__ == "__main__":
    main()
