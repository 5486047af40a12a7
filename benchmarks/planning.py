"""Planning in latents: success against latency, beside controls, on held-out pairs of five tasks.

``.venv/bin/python benchmarks/planning.py [--quick] [--json] [--only TASK ...] [--pairs N] [--seconds S]
[--cache FOLDER]``. For each task: episodes of its actors are watched, the family ``jepa`` learns from most of them for
``--seconds``, and each planner is tried on five groups of ``--pairs`` pairs of the rest (protocol SWM-25/50: the goal
stands 25 rows ahead, 50 steps are allowed; pairs that begin at their goal are left out). Every rate is exact at 95 %
and stands beside two controls on the same pairs: goals of other episodes, and random actions. Milliseconds are those of
a plan, by the wall clock, on one thread.

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
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from worldgate.control.lookahead import CostConfig
from worldgate.control.planning import PlanningConfig
from worldgate.core.atomic import write_atomic
from worldgate.core.digest import digest_json
from worldgate.core.episodes import Episode
from worldgate.core.worlds import WorldModel
from worldgate.evidence.reaching import Arm, PairConfig
from worldgate.recipes._reaching import Tried, Watching, pairs_of, trained, tried, watched
from worldgate.worlds import checkpoint
from worldgate.worlds.latents import LatentConfig, Shaper
from worldgate.worlds.models import jepa
from worldgate.worlds.tracks import Inputs
from worldgate.worlds.train import loop
from worldgate.worlds.train.config import LoopConfig
from worldgate.worlds.train.monitor import Progress

KEPT = Path(__file__).resolve().parent / "results" / "planning.json"
SIZE, HELD_OUT = 64, 5
"""Pixels a side; every fifth episode is held out."""


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
    **learn: Any,
) -> Set:
    watching = Watching(task=task, options={"size": SIZE}, actors=actors, runs=runs, held_out=HELD_OUT)
    inputs = Inputs(states=states, cameras=(f"observation.images.{camera}",), read=read, size=SIZE)
    return Set(watching=watching, inputs=inputs, learn=learn)


AROUND = ("observation.environment_state",)
SETS = {
    "two_room": _set("two_room", ("noisy",), 600, "top"),
    "wall": _set("wall", ("noisy",), 600, "top", shaped_by=(Shaper.INVERSE,)),
    "reacher": _set("reacher", ("scripted", "random"), 200, "camera"),
    "pusht": _set(
        "pusht",
        ("noisy", "play", "scripted"),
        240,
        "top",
        states=("observation.state",),
        read=AROUND,
        shaped_by=(Shaper.PROBE,),
    ),
    "push": _set(
        "push", ("noisy", "play"), 240, "front", states=("observation.state",), read=AROUND, shaped_by=(Shaper.PROBE,)
    ),
}
PLANNERS: Mapping[str, tuple[str, Mapping[str, Any], PlanningConfig]] = {
    "direct": ("direct", {}, PlanningConfig()),
    "icem, 50 ms": ("icem", {}, PlanningConfig(budget_ms=50, cost=CostConfig(hold=5))),
    "cem": ("cem", {}, PlanningConfig(cost=CostConfig(hold=5))),
}


def model(
    name: str, train: list[Episode], held_out: list[Episode], seconds: float, cache: Path
) -> tuple[WorldModel, dict[str, float]]:
    """A model of a set and what its training was, from the cache where it is there."""
    chosen, base = SETS[name], jepa.Config()
    config = replace(
        base,
        inputs=chosen.inputs,
        learn=LatentConfig(**chosen.learn),
        phase=replace(base.phase, steps=1_000_000),
        loop=LoopConfig(max_seconds=seconds, evaluate_every=1_000, checkpoint_every=200, threads=1, bf16=True),
    )
    about = {"config": config, "episodes": [e.id for e in train], "code": loop.code_digest()}
    run = cache / f"{name}-{digest_json(about)[:16]}"
    world = trained(run, config, train, held_out, _tell)
    steps = max(json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines())
    took = float(checkpoint.about(run / "model")["about"]["seconds"])
    frames = steps * config.phase.batch * (config.net.known + config.learn.steps + 1)
    return world, {"steps": steps, "seconds": took, "frames_per_s": round(frames / took, 1)}


def _tell(progress: Progress) -> None:
    if progress.facts:
        print(progress.step, {k: round(v, 3) for k, v in progress.facts.items()}, file=sys.stderr, flush=True)


def rows_of(name: str, runs: int, seconds: float, pairs: PairConfig, cache: Path) -> list[dict[str, Any]]:
    """One line a planner."""
    watching = replace(SETS[name].watching, runs=runs)
    train, held_out = watched(watching)
    world, training = model(name, train, held_out, seconds, cache)
    task, protocol = pairs_of(watching, train, held_out, pairs)
    out = []
    for label, (planner, options, planning) in PLANNERS.items():
        asked = {"planner": planner, "options": options, "planning": planning}
        key = digest_json({"protocol": protocol.digest, "model": world.spec.digest, "asked": asked})
        path = cache / f"trials-{key[:16]}.json"
        if not path.exists():
            done = tried(world, task, protocol, planning, planner=planner, options=options)
            write_atomic(path, json.dumps(_told(done)).encode())
        out.append(_row(name, label, json.loads(path.read_text()), training, len(train), protocol.digest))
        print(out[-1], file=sys.stderr, flush=True)
    return out


def _told(done: Tried) -> dict[str, Any]:
    rates = {
        arm.value: {
            "rate": rate.rate,
            "interval": [float(rate.lower), float(rate.upper)],
            "groups": [rate.group_mean, rate.group_sd],
            "n": rate.n,
            "steps": rate.steps,
        }
        for arm, rate in done.report.rates().items()
    }
    return rates | {"plan_ms": done.plan_ms(), "plans": len(done.planned)}


def _row(name: str, label: str, told: dict[str, Any], training: Any, train: int, protocol: str) -> dict[str, Any]:
    own = told[Arm.OWN.value]
    return {
        "what": f"{name}: {label}", "value": round(own["rate"], 4), "unit": "1", "peer": None, "peer_value": None,
        "ratio": None, "bar": None, "ok": None, "interval": own["interval"], "groups": own["groups"], "pairs": own["n"],
        "steps_to_goal": own["steps"],
        "shuffled": told[Arm.SHUFFLED.value]["rate"], "shuffled_interval": told[Arm.SHUFFLED.value]["interval"],
        "random": told[Arm.RANDOM.value]["rate"], "random_interval": told[Arm.RANDOM.value]["interval"],
        "plan_ms": {q: round(v, 2) for q, v in told["plan_ms"].items()}, "plans": told["plans"],
        "training": training, "train_episodes": train, "protocol": protocol[:12],
    }  # fmt: skip


def main() -> None:
    """Measure, print, and keep a full result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one task, seconds of training, few pairs")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--only", nargs="+", choices=tuple(SETS), default=list(SETS))
    parser.add_argument("--pairs", type=int, default=50, help="in each of five groups")
    parser.add_argument("--seconds", type=float, default=300.0, help="of training, each task")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "worldgate-planning")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    whole: dict[str, Any] = {
        "name": "planning",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "peer": "absent: LeWM of stable-worldmodel has not been run on these episodes",
        "rows": [],
    }
    pairs = PairConfig(groups=2, pairs=5) if asked.quick else PairConfig(pairs=asked.pairs)
    begun = time.monotonic()
    for name in ["two_room"] if asked.quick else asked.only:
        runs, seconds = (60, 20.0) if asked.quick else (SETS[name].watching.runs, asked.seconds)
        rows = rows_of(name, runs, seconds, pairs, asked.cache)
        whole["rows"] += [{**row, "commit": commit.stdout.strip()} for row in rows]
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
