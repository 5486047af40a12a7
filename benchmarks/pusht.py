"""How well the scripted expert does PushT, beside a naive actor and aimless motion.

``.venv/bin/python benchmarks/pusht.py [--quick] [--json] [--cache FOLDER]``. gym-pusht runs in an environment of its
own (``make bench-env``); every actor gets the same starts and at most 300 steps. Success is PushT's own: more than 95 %
of the goal covered. Bounds, 5 % each side: success by Clopper and Pearson, greatest coverage by the bootstrap over
episodes. Each episode is cached by actor, start and code. ``--quick`` takes four starts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import pusht_env as pusht

from worldgate.core.atomic import write_atomic
from worldgate.core.digest import digest_json
from worldgate.evidence.bootstrap import ratio_interval
from worldgate.evidence.statistics import binomial_interval
from worldgate.sim.gym import GymEnvironment

KEPT = Path(__file__).resolve().parent / "results" / "pusht.json"
STARTS, QUICK, LIMIT = 50, 4, 300
ACTORS = ("scripted", "centre", "random", "noisy")
BAR = 0.8
"""Mean greatest coverage from which an expert counts as competent."""


def run(env: pusht.PushT, kind: str, seed: int) -> dict[str, float]:
    """One episode without pictures kept: success, greatest coverage, steps, processor time of the actor."""
    place, policy = GymEnvironment(env, pusht.config(LIMIT)), pusht.actor(kind)
    policy.reset(seed=seed)
    seen, done, best, spent = place.reset(seed=seed), False, 0.0, 0.0
    while not done:
        start = time.process_time()
        action = policy.act(seen)
        spent += time.process_time() - start
        answer = place.step(action)
        seen, done = answer.observation, answer.done
        best = max(best, float(seen[pusht.COVERAGE][0]))
    told = place.outcome()
    return {"success": told["success"], "coverage": best, "steps": told["steps"], "cpu_s": spent}


def episodes(cache: Path, kind: str, starts: int) -> list[dict[str, float]]:
    """All of one actor, those known already from the cache."""
    env = None
    found = []
    for seed in range(starts):
        path = cache / f"{digest_json({'code': pusht.code(), 'kind': kind, 'seed': seed, 'limit': LIMIT})[:16]}.json"
        if not path.exists():
            env = env or pusht.PushT(16)
            write_atomic(path, json.dumps(run(env, kind, seed)).encode(), overwrite=True)
        found.append(json.loads(path.read_text()))
    if env is not None:
        env.close()
    return found


def rows(cache: Path, starts: int) -> list[dict[str, Any]]:
    """Two lines an actor."""
    table = []
    for kind in ACTORS:
        held = episodes(cache, kind, starts)
        print(f"{kind}: {starts} starts", file=sys.stderr, flush=True)
        won, coverage = int(sum(one["success"] for one in held)), [one["coverage"] for one in held]
        around = ratio_interval(coverage, [1.0] * starts)
        steps = [one["steps"] for one in held if one["success"]]
        extra = {
            "steps_to_success": float(np.median(steps)) if steps else None,
            "actor_cpu_ms_a_step": round(1e3 * sum(o["cpu_s"] for o in held) / sum(o["steps"] for o in held), 2),
            "starts": starts,
        }
        plain = {"peer": None, "peer_value": None, "ratio": None}
        table.append({
            "what": f"{kind}: success", "value": round(won / starts, 4), "unit": "1", **plain, "bar": None, "ok": None,
            "interval": [round(float(bound), 4) for bound in binomial_interval(won, starts, "0.1")], **extra,
        })  # fmt: skip
        bar = BAR if kind == "scripted" else None
        mean = around.estimate
        table.append({
            "what": f"{kind}: greatest coverage, mean", "value": round(mean, 4), "unit": "1", **plain, "bar": bar,
            "ok": None if bar is None else float(around.lower) >= bar,
            "interval": [round(float(around.lower), 4), round(float(around.upper), 4)], "starts": starts,
        })  # fmt: skip
    return table


def main() -> None:
    """Measure, print, and keep a full result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="four starts")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "worldgate-pusht")
    asked = parser.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    whole: dict[str, Any] = {"name": "pusht", "machine": machine, "load": round(os.getloadavg()[0], 1)}
    if not pusht.PYTHON.exists():
        whole["rows"] = [{"what": "absent: .venv-pusht, made by make bench-env", "value": None, "unit": ""}]
    else:
        asked.cache.mkdir(parents=True, exist_ok=True)
        whole["rows"] = rows(asked.cache, QUICK if asked.quick else STARTS)
        if not asked.quick:
            write_atomic(KEPT, (json.dumps(whole, indent=1) + "\n").encode(), overwrite=True)
    if asked.json:
        print(json.dumps(whole))
        return
    for row in whole["rows"]:
        bounds = f"  [{row['interval'][0]}, {row['interval'][1]}]" if "interval" in row else ""
        steps = f"  {row['steps_to_success']:g} steps to success" if row.get("steps_to_success") else ""
        mark = "" if row.get("ok") is None else "  ok" if row["ok"] else "  behind"
        print(f"{row['what']:42} {row['value']}{bounds}{steps}{mark}")


if __name__ == "__main__":
    main()
