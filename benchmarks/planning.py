"""Planning in latents: success against latency, beside controls, on held-out pairs of five tasks.

``.venv/bin/python benchmarks/planning.py [--quick] [--json] [--only TASK ...] [--seconds S] [--cache FOLDER]``. For
each task: episodes of its actors are watched, the family ``jepa`` learns from most of them for ``--seconds``, and each
planner is tried on five groups of 50 pairs of the rest (protocol SWM-25/50: the goal stands 25 rows ahead, 50 steps
are allowed; pairs that begin at their goal are left out). Every rate is exact at 95 % and stands beside two controls on
the same pairs: goals of other episodes, and random actions. Milliseconds are those of a plan, by the wall clock, on one
thread.

Trainings and trials are cached by set, seconds and code, and a stopped training goes on where it was; what was measured
in full is kept in ``benchmarks/results/planning.json`` with machine and commit, and ``--quick`` (one task, seconds of
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
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldgate.control.lookahead import CostConfig
from worldgate.control.lookahead.latent import LatentLookahead
from worldgate.control.planners import open_planner
from worldgate.control.planning import PlanningConfig, PlanningPolicy
from worldgate.core.atomic import is_done, write_atomic
from worldgate.core.digest import digest_json
from worldgate.core.episodes import Episode
from worldgate.evidence.reaching import Arm, PairConfig, draw_pairs, evaluate
from worldgate.sim.tasks import open_actor, open_task
from worldgate.sim.watch import collect
from worldgate.worlds import checkpoint
from worldgate.worlds.latents import HasLatent, LatentConfig
from worldgate.worlds.models import jepa
from worldgate.worlds.tracks import Inputs
from worldgate.worlds.train import loop
from worldgate.worlds.train.config import LoopConfig, PhaseConfig
from worldgate.worlds.train.monitor import Progress

KEPT = Path(__file__).resolve().parent / "results" / "planning.json"
SIZE, HELD_OUT = 64, 5
"""Pixels a side; every fifth episode is held out."""


@dataclass(frozen=True, kw_only=True)
class Set:
    """A task, who is watched, and what is learned from."""

    task: str
    actors: tuple[str, ...]
    runs: int
    inputs: Inputs
    learn: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def _inputs(camera: str, *, states: tuple[str, ...] = (), read: tuple[str, ...] = ()) -> Inputs:
    return Inputs(states=states, cameras=(f"observation.images.{camera}",), read=read, size=SIZE)


SETS = {
    "two_room": Set(task="two_room", actors=("noisy",), runs=600, inputs=_inputs("top", read=("observation.state",))),
    "wall": Set(task="wall", actors=("noisy",), runs=600, inputs=_inputs("top", read=("observation.state",))),
    "reacher": Set(
        task="reacher", actors=("scripted", "random"), runs=200, inputs=_inputs("camera", read=("observation.state",))
    ),
    "pusht": Set(
        task="pusht",
        actors=("noisy", "play", "scripted"),
        runs=240,
        inputs=_inputs("top", states=("observation.state",), read=("observation.environment_state",)),
        learn={"shape": True},
    ),
    "push": Set(
        task="push",
        actors=("noisy", "play"),
        runs=240,
        inputs=_inputs("top", states=("observation.state",), read=("observation.environment_state",)),
        learn={"shape": True},
    ),
}
PLANNERS: Mapping[str, tuple[str, Mapping[str, Any], PlanningConfig]] = {
    "direct": ("direct", {}, PlanningConfig()),
    "icem, 50 ms": ("icem", {}, PlanningConfig(budget_ms=50, cost=CostConfig(hold=5))),
    "cem": ("cem", {}, PlanningConfig(cost=CostConfig(hold=5))),
}


def watched(name: str, runs: int) -> list[Episode]:
    """Episodes of a set's actors, in turn."""
    chosen = SETS[name]
    options = {"size": SIZE, **chosen.options}
    task, actors = open_task(chosen.task, options), [open_actor(a, chosen.task, options) for a in chosen.actors]
    return [collect(task, actors[seed % len(actors)], seed=seed) for seed in range(runs)]


def trained(name: str, episodes: list[Episode], seconds: float, cache: Path) -> tuple[HasLatent, dict[str, float]]:
    """A model of a set and what its training was, from the cache where it is there."""
    chosen = SETS[name]
    base = jepa.Config()
    config = replace(
        base,
        inputs=chosen.inputs,
        learn=LatentConfig(**chosen.learn),
        phase=PhaseConfig(steps=1_000_000, batch=64, rate=1e-3, warmup=50, ema=0.99, decay=1e-3),
        loop=LoopConfig(max_seconds=seconds, evaluate_every=1_000, checkpoint_every=200, threads=1),
    )
    train, val = _split(episodes)
    about = {"config": config, "episodes": [e.id for e in episodes], "code": loop.code_digest(), "seconds": seconds}
    run = cache / f"{name}-{digest_json(about)[:16]}"
    if not is_done(run / "model"):
        if (run / "config.json").exists():
            loop.resume(run, train, val, _tell)
        else:
            loop.train("jepa", train, val, config, run, _tell)
    steps = max(json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines())
    took = float(checkpoint.about(run / "model")["about"]["seconds"])
    world = checkpoint.load(run / "model", device="cpu")
    assert isinstance(world, HasLatent)
    frames = steps * 64 * (config.net.known + config.learn.steps + 1)
    return world, {"steps": steps, "seconds": took, "frames_per_s": round(frames / took, 1)}


def _tell(progress: Progress) -> None:
    if progress.facts:
        print(progress.step, {k: round(v, 3) for k, v in progress.facts.items()}, file=sys.stderr, flush=True)


def _split(episodes: list[Episode]) -> tuple[list[Episode], list[Episode]]:
    return (
        [e for i, e in enumerate(episodes) if i % HELD_OUT],
        [e for i, e in enumerate(episodes) if not i % HELD_OUT],
    )


def rows_of(name: str, runs: int, seconds: float, pairs: PairConfig, cache: Path) -> list[dict[str, Any]]:
    """One line a planner."""
    chosen, episodes = SETS[name], watched(name, runs)
    world, training = trained(name, episodes, seconds, cache)
    options = {"size": SIZE, **chosen.options}
    task, (train, val) = open_task(chosen.task, options), _split(episodes)
    protocol = draw_pairs(task, val, trained={e.id for e in train}, config=pairs, options=options)
    out = []
    for label, (planner, asked, planning) in PLANNERS.items():
        spec = task.spec
        lookahead = LatentLookahead(world.latent, world.spec, spec.low, spec.high)
        policy = PlanningPolicy(
            lookahead, open_planner(planner, asked), planning, low=spec.low, high=spec.high, name=label
        )
        key = digest_json({"protocol": protocol.digest, "model": world.spec.digest, "policy": policy.digest})
        path = cache / f"trials-{key[:16]}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, json.dumps(_tried(task, policy, protocol)).encode())
        out.append(_row(name, label, json.loads(path.read_text()), training, len(train), protocol.digest))
        print(out[-1], file=sys.stderr, flush=True)
    return out


def _tried(task: Any, policy: PlanningPolicy, protocol: Any) -> dict[str, Any]:
    report = evaluate(task, policy, protocol)
    ms = [d.ms for d in policy.decisions]
    rates = {arm.value: rate for arm, rate in report.rates().items()}
    return {
        arm: {
            "rate": r.rate,
            "interval": [float(r.lower), float(r.upper)],
            "groups": [r.group_mean, r.group_sd],
            "n": r.n,
            "steps": r.steps,
        }
        for arm, r in rates.items()
    } | {"plan_ms": [float(np.quantile(ms, q)) for q in (0.5, 0.95, 1.0)], "plans": len(ms)}


def _row(name: str, label: str, told: dict[str, Any], training: Any, train: int, protocol: str) -> dict[str, Any]:
    own = told[Arm.OWN.value]
    return {
        "what": f"{name}: {label}", "value": round(own["rate"], 4), "unit": "1", "peer": None, "peer_value": None,
        "ratio": None, "bar": None, "ok": None, "interval": own["interval"], "groups": own["groups"], "pairs": own["n"],
        "steps_to_goal": own["steps"],
        "shuffled": told[Arm.SHUFFLED.value]["rate"], "shuffled_interval": told[Arm.SHUFFLED.value]["interval"],
        "random": told[Arm.RANDOM.value]["rate"], "random_interval": told[Arm.RANDOM.value]["interval"],
        "plan_ms": {q: round(v, 2) for q, v in zip(("median", "p95", "worst"), told["plan_ms"], strict=True)},
        "training": training, "train_episodes": train, "protocol": protocol[:12],
    }  # fmt: skip


def main() -> None:
    """Measure, print, and keep a full result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one task, seconds of training, few pairs")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--only", nargs="+", choices=tuple(SETS), default=list(SETS))
    parser.add_argument("--seconds", type=float, default=300.0, help="of training, each task")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "worldgate-planning")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    whole: dict[str, Any] = {
        "name": "planning",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "commit": commit.stdout.strip(),
        "peer": "absent: LeWM of stable-worldmodel has not been run on these episodes",
        "rows": [],
    }
    pairs = PairConfig(groups=2, pairs=5) if asked.quick else PairConfig()
    begun = time.monotonic()
    for name in ["two_room"] if asked.quick else asked.only:
        runs, seconds = (60, 20.0) if asked.quick else (SETS[name].runs, asked.seconds)
        whole["rows"] += rows_of(name, runs, seconds, pairs, asked.cache)
        if not asked.quick:
            keep(whole)
    whole["seconds"] = round(time.monotonic() - begun)
    if asked.json:
        print(json.dumps(whole))
        return
    for row in whole["rows"]:
        low, high = row["interval"]
        print(
            f"{row['what']:24} {100 * row['value']:5.1f} % [{100 * low:.1f}, {100 * high:.1f}]  shuffled "
            f"{100 * row['shuffled']:.1f}  random {100 * row['random']:.1f}  a plan {row['plan_ms']['median']:.1f} ms"
            f" (p95 {row['plan_ms']['p95']:.1f})"
        )


def keep(whole: Mapping[str, Any]) -> None:
    """Rows of these tasks replace those kept before."""
    before = json.loads(KEPT.read_text())["rows"] if KEPT.exists() else []
    named = {row["what"].split(":")[0] for row in whole["rows"]}
    rows = [row for row in before if row["what"].split(":")[0] not in named] + whole["rows"]
    write_atomic(KEPT, (json.dumps({**whole, "rows": rows}, indent=1) + "\n").encode(), overwrite=True)


if __name__ == "__main__":
    main()
