"""The tasks in MuJoCo: how fast they step, with and without pictures, and how often those who act in them succeed.

Steps are of the task alone, by processor time of one core. Success is over runs from seeds that no test uses, with the
exact 95 % interval; where an actor is held to goals, start and goal are rows of one run of ``play``, some steps apart,
and it has 100 steps. Bars: a scripted actor succeeds in at least nine runs of ten. ``--quick`` takes ten runs of each.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from typing import Any

from scipy.stats import binomtest

from worldgate.core.tasks import TRUTH, Task
from worldgate.core.worlds import Policy
from worldgate.sim.tasks import actors_of, open_actor, open_task
from worldgate.sim.watch import watch

CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("reacher", {}), ("reacher", {"task": "easy"}), ("cartpole", {}), ("cartpole", {"task": "balance"}), ("walker", {}),
    ("push", {}), ("push", {"site": "south"}), ("pick_place", {}), ("insert", {}), ("insert", {"clearance_m": 0.001}),
    ("insert", {"clearance_m": 0.0005}), ("instructed", {}), ("instructed", {"bins": 3}),
)  # fmt: skip
AIMED = ("push", "pick_place")
FIRST_SEED = 1000
BAR = 0.9
HARDER = {"insert clearance_m=0.0005"}
"""Shown for how far it goes; no bar."""


def label(name: str, options: dict[str, Any]) -> str:
    """The task with what is not as it ships."""
    return " ".join([name, *(f"{key}={value}" for key, value in options.items())])


def speed(name: str, size: int, seconds: float) -> float:
    """Steps a second of processor time, driven by the first of its actors."""
    task, actor = open_task(name, {"size": size}), open_actor(actors_of(name)[0], name, {"size": 0})
    count, used, seed = 0, 0.0, 0
    while used < seconds:
        seen = task.reset(seed=seed)
        actor.reset(seed=seed)
        seed += 1
        for _ in range(150):
            action = actor.act(seen)
            begun = time.process_time()
            transition = task.step(action)
            used += time.process_time() - begun
            seen, count = transition.observation, count + 1
            if transition.done:
                break
    return count / used


def rate(what: str, successes: list[bool], bar: float | None) -> dict[str, Any]:
    """A row of a rate with its interval."""
    interval = binomtest(sum(successes), len(successes)).proportion_ci(method="exact")
    value = sum(successes) / len(successes)
    return {
        "what": what, "value": round(value, 4), "unit": "1", "low": round(interval.low, 4),
        "high": round(interval.high, 4), "runs": len(successes), "bar": bar, "ok": bar is None or value >= bar,
    }  # fmt: skip


def success(name: str, options: dict[str, Any], who: str, runs: int) -> tuple[list[bool], float]:
    """Whether each run succeeded at its end, and the mean of the sums of rewards."""
    options = {**options, "size": 0}
    task, actor = open_task(name, options), open_actor(who, name, options)
    ends, total = [], 0.0
    for seed in range(FIRST_SEED, FIRST_SEED + runs):
        steps = [step.transition.facts for step in watch(task, actor, seed=seed)]
        ends.append(bool(steps[-1]["success"]))
        total += sum(facts["reward"] for facts in steps)
    return ends, total / runs


def goals(name: str, apart: int, runs: int) -> list[bool]:
    """Whether the scripted actor reached rows that somebody who plays came by."""
    task, play = open_task(name, {"size": 0}), open_actor("play", name, {"size": 0})
    actor = open_actor("scripted", name, {"size": 0})
    reached = []
    for seed in range(FIRST_SEED, FIRST_SEED + runs):
        rows = [step.observation[TRUTH] for step in watch(task, play, seed=seed, steps=apart + 20)]
        if len(rows) == apart + 20:  # shorter ones came upon the task's own goal
            reached.append(_reaches(task, actor, rows[10], rows[10 + apart], seed))
    return reached


def _reaches(task: Task, actor: Policy, start: Any, goal: Any, seed: int) -> bool:
    seen = task.begin(start, goal, seed=seed)
    actor.reset(seed=seed)
    actor.aim(task.goal(), steps=100)  # type: ignore[attr-defined]
    for _ in range(100):
        transition = task.step(actor.act(seen))
        seen = transition.observation
        if transition.done:
            break
    return bool(transition.facts["success"])


def measure(runs: int, seconds: float) -> list[dict[str, Any]]:
    """Every row of the table."""
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(name for name, _ in CASES):
        for size in (0, 64):
            told = f"{name}, steps, {f'{size} px' if size else 'no pictures'}"
            rows.append({"what": told, "value": round(speed(name, size, seconds)), "unit": "1/s", "ok": True})
    for name, options in CASES:
        for who in actors_of(name):
            if who == "play":
                continue
            ends, total = success(name, options, who, runs if who != "random" else max(10, runs // 4))
            told = label(name, options)
            bar = BAR if who == "scripted" and told not in HARDER else None
            rows.append(rate(f"{told}, {who}", ends, bar) | {"return": round(total, 1)})
    for name in AIMED:
        for apart in (25, 50):
            rows.append(rate(f"{name}, scripted, goals {apart} steps away", goals(name, apart, runs), None))
    return rows


def main() -> None:
    """Print the table, or one JSON object."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--quick", action="store_true", help="ten runs of each")
    arguments.add_argument("--json", action="store_true", help="one JSON object")
    told = arguments.parse_args()
    rows = measure(10 if told.quick else 200, 0.5 if told.quick else 2.0)
    if told.json:
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        print(json.dumps({"name": "mujoco_tasks", "machine": machine, "rows": rows}))
        return
    for row in rows:
        interval = f"  {row['low']:.3f} to {row['high']:.3f} of {row['runs']}" if "low" in row else ""
        more = f"  return {row['return']}" if "return" in row else ""
        bar = f"  bar {row['bar']} {'ok' if row['ok'] else 'short'}" if row.get("bar") else ""
        print(f"{row['what']:45} {row['value']:>9} {row['unit']}{interval}{more}{bar}")


if __name__ == "__main__":
    main()
