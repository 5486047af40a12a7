"""What the actors of each task can do, how fast tasks are watched, and PushT beside gym-pusht.

``.venv/bin/python benchmarks/tasks.py [--quick] [--json] [--only NAME ...]``. For each task: how often its competent
actor succeeds on the task's own terms; and, where the task takes goals, the protocol SWM-25/50 on rows of runs that a
noisy actor made (five groups of 50 held-out pairs), with its controls: goals of other episodes, and random actions.
Intervals are exact, 95 %. Frames a second are those of watching a noisy run with pictures of 64 px, by the process's
clock on one core.

PushT beside gym-pusht 0.1.8 (``make bench-env``): the same starts and actions in both, episodes of three actors to
their end; the greatest distance of the T's places, of its turn, and of the coverage. What is measured in full replaces
the rows of the same tasks in ``benchmarks/results/tasks.json``; ``--quick`` takes a few of everything and keeps
nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import pusht_env

from worldgate.core.atomic import write_atomic
from worldgate.core.errors import DataRefused
from worldgate.core.seams import cards, load
from worldgate.evidence.reaching import PairConfig, draw_pairs, evaluate
from worldgate.evidence.statistics import binomial_interval
from worldgate.sim.tasks import open_actor, open_task
from worldgate.sim.watch import collect, watch

KEPT = Path(__file__).resolve().parent / "results" / "tasks.json"
RUNS, QUICK_RUNS = 100, 5
HELD_OUT, QUICK_HELD_OUT = 60, 4
FRAMES = 2_000
PUSHT_STARTS, PUSHT_QUICK, PUSHT_STEPS = 20, 2, 300
SAME_PX = 1e-6
"""Bar of the T's place beside gym-pusht's."""


def row(what: str, value: float | None, unit: str, **more: Any) -> dict[str, Any]:
    """A row of the table."""
    plain = {"peer": None, "peer_value": None, "ratio": None, "bar": None, "ok": None}
    return {"what": what, "value": value, "unit": unit, **plain, **more}


def interval(successes: int, n: int) -> list[float]:
    """Exact, 95 %, to twelve digits outward."""
    low, high = binomial_interval(successes, n, "0.05")
    return [float(low), float(high)]


def expert(name: str, runs: int) -> dict[str, Any]:
    """How often the competent actor succeeds."""
    module: Any = load("tasks", name)
    who = module.ACTORS[0]
    task, actor = open_task(name, {"size": 16}), open_actor(who, name, {"size": 16})
    won, steps = 0, []
    for seed in range(runs):
        taken = list(watch(task, actor, seed=seed))
        reached = any(step.transition.facts["success"] for step in taken)
        won += reached
        steps += [len(taken)] if reached else []
    more = {"runs": runs, "steps": float(np.median(steps)) if steps else None}
    return row(f"{name}: {who} succeeds", round(won / runs, 4), "1", interval=interval(won, runs), **more)


def speed(name: str, frames: int) -> dict[str, Any]:
    """Rows a second of watching."""
    module: Any = load("tasks", name)
    who = "noisy" if "noisy" in module.ACTORS else module.ACTORS[0]
    task, actor = open_task(name), open_actor(who, name)
    start, made, seed = time.process_time(), 0, 0
    while made < frames:
        made += len(collect(task, actor, seed=seed))
        seed += 1
    return row(f"{name}: watched, {who}", round(made / (time.process_time() - start), 1), "frames/s")


def reaching(name: str, held_out: int, config: PairConfig) -> list[dict[str, Any]]:
    """The protocol with the competent actor, and its controls; nothing where the task or the actor takes no goals."""
    module: Any = load("tasks", name)
    options = {"size": 16}
    task, actor = open_task(name, options), open_actor(module.ACTORS[0], name, options)
    if not task.spec.takes_goals or not hasattr(actor, "aim"):
        return []
    if config.budget > task.spec.steps:
        return []
    maker = open_actor("noisy" if "noisy" in module.ACTORS else module.ACTORS[0], name, options)
    episodes = [collect(task, maker, seed=10_000 + seed) for seed in range(held_out)]
    try:
        protocol = draw_pairs(task, episodes, trained=(), config=config, options=options)
    except DataRefused as error:
        return [row(f"{name}: SWM-25/50 not drawn: {error.got}", None, "1")]
    report = evaluate(task, actor, protocol)
    return [
        row(
            f"{name}: SWM-25/50, {module.ACTORS[0]}, {arm.value}", round(rate.rate, 4), "1",
            interval=interval(rate.successes, rate.n), group_mean=round(rate.group_mean, 4),
            group_sd=None if rate.group_sd is None else round(rate.group_sd, 4), pairs=rate.n,
            protocol=protocol.digest[:12],
        )
        for arm, rate in report.rates().items()
    ]  # fmt: skip


class Peer:
    """gym-pusht at the other end of a pipe."""

    def __init__(self) -> None:
        command = [str(pusht_env.PYTHON), str(pusht_env.HERE / "pusht_steps.py"), "8"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """What it tells; the picture is not looked at."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write((json.dumps(request) + "\n").encode())
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        self._process.stdout.read(8 * 8 * 3)
        return told

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def beside_gym_pusht(starts: int) -> list[dict[str, Any]]:
    """How far ours and gym-pusht's part over whole episodes."""
    if not pusht_env.PYTHON.exists():
        return [row("pusht beside gym-pusht: absent: .venv-pusht, made by make bench-env", None, "px")]
    peer, task = Peer(), open_task("pusht", {"size": 8})
    apart, turned, covered, steps, ends = 0.0, 0.0, 0.0, 0, 0
    for kind in ("scripted", "noisy", "random"):
        actor = open_actor(kind, "pusht")
        for seed in range(starts):
            peer.ask({"reset": seed})
            seen, done = task.reset(seed=seed), False
            actor.reset(seed=seed)
            while not done:
                action = np.asarray(actor.act(seen), np.float32)
                theirs = peer.ask({"step": action.tolist()})
                transition = task.step(action)
                seen, done = transition.observation, transition.done
                x, y, turn = theirs["info"]["block_pose"]
                ours = seen["observation.environment_state"]
                apart = max(apart, float(np.hypot(ours[0] - x, ours[1] - y)))
                turned = max(turned, abs(float((ours[2] - turn + np.pi) % (2 * np.pi) - np.pi)))
                covered = max(covered, abs(transition.facts["coverage"] - theirs["info"]["coverage"]))
                steps += 1
                ends += bool(transition.facts["success"]) is not bool(theirs["terminated"])
    peer.close()
    more = {"peer": "gym-pusht 0.1.8", "peer_value": 0.0, "steps": steps, "episodes": 3 * starts}
    return [
        row("pusht: the T apart, greatest", apart, "px", bar=SAME_PX, ok=apart <= SAME_PX, **more),
        row("pusht: its turn apart, greatest", turned, "rad", **more),
        row("pusht: coverage apart, greatest", covered, "1", **more),
        row("pusht: steps that end in one and not the other", float(ends), "1", bar=0.0, ok=ends == 0, **more),
    ]


def keep(machine: str, name: str, rows: list[dict[str, Any]]) -> None:
    """Put the rows of a task in the place of those that stood there."""
    held = json.loads(KEPT.read_text())["rows"] if KEPT.exists() else []
    held = [one for one in held if one["task"] != name] + [one for one in rows if one["task"] == name]
    whole = {"name": "tasks", "machine": machine, "rows": sorted(held, key=lambda one: str(one["task"]))}
    write_atomic(KEPT, (json.dumps(whole, indent=1) + "\n").encode(), overwrite=True)


def main() -> None:
    """Measure, print, and keep a full result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few of everything")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--only", nargs="*", default=[], help="these tasks; the kept rows of others stay")
    asked = parser.parse_args()
    quick = asked.quick
    config = PairConfig(groups=2, pairs=4) if quick else PairConfig()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    rows: list[dict[str, Any]] = []
    for name in asked.only or cards("tasks"):
        print(name, file=sys.stderr, flush=True)
        found = [expert(name, QUICK_RUNS if quick else RUNS), speed(name, 200 if quick else FRAMES)]
        found += reaching(name, QUICK_HELD_OUT if quick else HELD_OUT, config)
        if name == "pusht":
            found += beside_gym_pusht(PUSHT_QUICK if quick else PUSHT_STARTS)
        load = round(os.getloadavg()[0], 1)
        rows += [one | {"task": name, "load": load} for one in found]
        if not quick:
            keep(machine, name, rows)
    whole = {"name": "tasks", "machine": machine, "rows": rows}
    if asked.json:
        print(json.dumps(whole))
        return
    for one in rows:
        bounds = f"  [{one['interval'][0]:.4f}, {one['interval'][1]:.4f}]" if "interval" in one else ""
        mark = "" if one["ok"] is None else "  ok" if one["ok"] else "  behind"
        print(f"{one['what']:56} {one['value']} {one['unit']}{bounds}{mark}")


if __name__ == "__main__":
    main()
