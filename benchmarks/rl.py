"""Policies that learned in imagination: against the cloned policy they began as, and against published curves.

``python benchmarks/rl.py --work FOLDER [--minutes M] [--only improve|cartpole-balance|...] [--quick] [--json]``. Each
piece goes on where the last one stopped: learning in a task resumes from its snapshot, an improvement that is done is
read again. All returns are of the true (simulated) environment over runs that nothing was learned from, with 90 %
bootstrap intervals over runs; an improvement is paired by situation.

Published figures (``peers/rl_published.json``) are of TD-MPC2 and DreamerV3 as kept in nicklashansen/tdmpc2, mean of
up to three seeds; ours is one seed. Their files do not say whether a step is a decision or one of the two control
periods it is held for; ours counts decisions: a row says how many were taken, and one that stopped before the first
published point after zero is marked ``starved`` and claims nothing. Evaluations on the way are five runs or fewer.
``--quick`` makes everything small, keeps nothing, and prints the last full result beside it.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldgate.control.imagination.actor_critic import BehaviourConfig
from worldgate.control.imagination.checking import Estimate, estimate
from worldgate.control.imagination.improve import ImproveConfig, Improver
from worldgate.control.imagination.online import Online, OnlineConfig
from worldgate.control.imagination.outcomes import OutcomeConfig
from worldgate.control.imagination.stage import cloned
from worldgate.control.policies import mlp
from worldgate.core.atomic import write_atomic
from worldgate.sim.tasks import open_actor, open_task
from worldgate.sim.watch import collect
from worldgate.worlds import checkpoint
from worldgate.worlds.models import state
from worldgate.worlds.tracks import Inputs
from worldgate.worlds.train.loop import train

HERE = Path(__file__).resolve().parent
KEPT, PUBLISHED = HERE / "results" / "rl.json", HERE / "peers" / "rl_published.json"
LEARNED: dict[str, tuple[str, dict[str, Any]]] = {
    "cartpole-balance": ("cartpole", {"task": "balance"}),
    "cartpole-swingup": ("cartpole", {"task": "swingup"}),
    "reacher-easy": ("reacher", {}),
    "walker-walk": ("walker", {}),
}
ONLINE = OnlineConfig(
    steps=100_000, every=2500, ratio=64, random=2500, runs=3, window=32, behaviour_rate=5e-4,
    behaviour=BehaviourConfig(starts=128),
)  # fmt: skip
STREAMS = ("observation.state", "observation.environment_state")


def improved(demonstrations: int, config: ImproveConfig, steps: int, folder: Path) -> dict[str, Any]:
    """The cell's push: cloned from few demonstrations, improved in a telemetry model of these and noisy ones."""
    task, options = open_task("push", {"size": 0}), {"size": 0}
    clean = [collect(task, open_actor("scripted", "push", options), seed=i) for i in range(demonstrations)]
    noisy = [collect(task, open_actor("noisy", "push", options), seed=1000 + i) for i in range(demonstrations)]
    fitted = mlp.train(clean, mlp.MlpConfig(steps=steps))
    inputs = Inputs(states=STREAMS)
    model = replace(state.Config(), inputs=inputs, phase=replace(state.Config().phase, steps=steps // 4))
    world = checkpoint.load(train("state", [*clean, *noisy], [], model, folder / "state"))
    begun = time.monotonic()
    made = Improver(world, cloned(fitted.release({}), fitted.tensors), task, config).go()
    took = time.monotonic() - begun
    return {"demonstrations": demonstrations, "moved": made.moved, "seconds": round(took, 1), **made.check.body()}


def learned(name: str, config: OnlineConfig, folder: Path, until: float) -> None:
    """Go on learning in a task until a time, or its end."""
    where, options = LEARNED[name]
    task = open_task(where, {"size": 0, **options})
    run = Online(task, {"name": where, **options}, config, folder / name)
    while time.monotonic() < until and run.steps < config.steps:
        run.go(until=run.steps + config.every)
        print(f"{name}: {run.steps} decisions, {run.updates} updates", file=sys.stderr)


def curve(name: str, folder: Path) -> list[dict[str, Any]]:
    """The lines of a run, newest last."""
    path = folder / name / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """One row a figure."""
    rows, published = [], json.loads(PUBLISHED.read_text())["rows"]
    if (folder / "improve.json").exists():
        found = json.loads((folder / "improve.json").read_text())
        for what in ("true_return", "true_success", "imagined_return"):
            part = found[what]
            rows.append(
                {
                    "what": f"push, {what.replace('_', ' ')}, improved in imagination",
                    **{k: round(part["after"][k], 4) for k in ("lower", "upper", "n")},
                    "value": round(part["after"]["mean"], 4),
                    "unit": "success" if "success" in what else "discounted return",
                    "peer": "its cloned start",
                    "peer_value": round(part["before"]["mean"], 4),
                    "gain": {k: round(part["gain"][k], 4) for k in ("mean", "lower", "upper")},
                    "bar": "gain above 0",
                    "ok": part["gain"]["lower"] > 0,
                    "verdict": found["verdict"],
                }
            )
    for name in LEARNED:
        lines = curve(name, folder)
        if not lines:
            continue
        last, peers = lines[-1], published[name]
        ours: Estimate = estimate(np.array(last["returns"]))
        for peer, points in peers.items():
            starved = last["step"] < min(int(step) for step in points if int(step))
            at = max((int(step) for step in points if int(step) <= last["step"]), default=0)
            at = min(int(step) for step in points if int(step)) if starved else at
            rows.append(
                {
                    "what": f"{name}, {last['step']} decisions, {last['updates']} updates, {last['seconds']:.0f} s",
                    "value": round(ours.mean, 1), "lower": round(ours.lower, 1), "upper": round(ours.upper, 1),
                    "n": ours.count,
                    "unit": "return of a run",
                    "peer": f"{peer} at {at} steps, published" + (", ours starved" if starved else ""),
                    "peer_value": round(float(np.mean(points[str(at)])), 1),
                    "ok": None if starved else ours.lower >= float(np.mean(points[str(at)])),
                    "curve": [[line["step"], round(line["return"], 1)] for line in lines],
                }
            )  # fmt: skip
    return rows


def commit() -> str:
    """Of this checkout."""
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=True
    ).stdout.strip()


def machine() -> str:
    """What ran it."""
    return f"{platform.machine()}, one core of torch {torch.__version__}"


def show(rows: list[dict[str, Any]]) -> None:
    """As lines."""
    for row in rows:
        bounds = f"{row['value']:g} ({row['lower']:g} to {row['upper']:g}, n={row['n']})"
        more = f"; {row['verdict']}" if "verdict" in row else ""
        print(f"{row['what']}: {bounds} {row['unit']}; {row['peer']}: {row['peer_value']:g}{more}")


def main() -> None:
    """Go on, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--only", nargs="*", default=(), choices=["improve", *LEARNED])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if told.quick or told.work is None else told.work
        folder.mkdir(parents=True, exist_ok=True)
        wanted = told.only or (("improve",) if told.quick else ("improve", *LEARNED))
        improving, online, demonstrations, steps = ImproveConfig(), ONLINE, 16, 2000
        if told.quick:
            improving = replace(improving, runs=8, rounds=4, check=8, outcomes=OutcomeConfig(steps=200))
            online, demonstrations, steps = replace(online, steps=1500, random=1000, every=500, ratio=2), 6, 200
        if "improve" in wanted and not (folder / "improve.json").exists():
            found = improved(demonstrations, improving, steps, folder)
            write_atomic(folder / "improve.json", json.dumps(found).encode())
        tasks = [name for name in LEARNED if name in wanted]
        for i, name in enumerate(tasks):
            part = 60 * told.minutes / len(tasks)
            learned(name, online, folder, time.monotonic() + part)
            print(f"{i + 1} of {len(tasks)} tasks", file=sys.stderr)
        rows = rows_of(folder)
    whole = {"name": "rl", "machine": machine(), "commit": commit(), "quick": told.quick, "rows": rows}
    if not told.quick and told.work is not None:
        write_atomic(KEPT, (json.dumps(whole, indent=1) + "\n").encode(), overwrite=True)
    if told.json:
        print(json.dumps(whole))
        return
    show(rows)
    if told.quick and KEPT.exists():
        kept = json.loads(KEPT.read_text())
        print(f"last full run, {kept['machine']}, {kept['commit']}:")
        show(kept["rows"])


if __name__ == "__main__":
    main()
