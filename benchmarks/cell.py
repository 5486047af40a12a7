"""How fast the embedded cell is and how well its experts do, on this machine.

``.venv/bin/python benchmarks/cell.py [--quick] [--json]``. There is no peer to run beside it: the bars are the times
that the demo needs. ``--quick`` takes a tenth of the seeds.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from worldgate.sim.attributes import Attributes
from worldgate.sim.camera import CameraConfig
from worldgate.sim.environment import CellEnvironment, EnvironmentConfig
from worldgate.sim.experts import EXPERTS, Expert
from worldgate.sim.record import RecordConfig, record
from worldgate.sim.sensing import SensorConfig, cell_camera

NEAR_M = 0.05
SITES = ("north", "south")


def row(what: str, value: float, unit: str, bar: float | None = None, *, least: bool = False) -> dict[str, Any]:
    """One line of the answer; ``bar`` is the most, or with ``least`` the least, that is good enough."""
    ok = None if bar is None else bool(value >= bar if least else value <= bar)
    plain = {"peer": None, "peer_value": None, "ratio": None}
    return {"what": what, "value": round(value, 4), "unit": unit, **plain, "bar": bar, "ok": ok}


def best_ms(call: Callable[[], object], repeats: int = 10) -> float:
    """Least CPU time of a call over repeats, ms."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def pictures() -> list[dict[str, Any]]:
    """Time of one picture with arm, object and person in view."""
    environment = CellEnvironment("north", attributes=Attributes(person=True))
    environment.reset(seed=3)
    for _ in range(30):
        environment.step(np.array([0.05, 0.0]))
    assert environment.cell is not None
    rows = []
    for size in (64, 128, 256):
        camera = cell_camera(environment.cell, "front", CameraConfig(height=size, width=size))
        draw = np.random.default_rng(0)
        for geometry, words in ((False, "colour"), (True, "colour, depth, segmentation, normals")):
            ms = best_ms(partial(camera.look, draw, geometry=geometry))
            bar = 3.0 if size == 64 and not geometry else None
            rows.append(row(f"one {size} x {size} picture: {words}", ms, "ms", bar))
    return rows


def episodes() -> list[dict[str, Any]]:
    """CPU time to run and record."""
    rows = []
    kinds = {
        "nothing": None,
        "two cameras at 10 Hz": SensorConfig(camera_hz=10.0, geometry=(), lidar=False),
        "everything, cameras at 30 Hz": SensorConfig(),
    }
    with tempfile.TemporaryDirectory() as folder:
        for words, sensors in kinds.items():
            start = time.process_time()
            for seed in range(3):
                if sensors is not None:
                    record(
                        Path(folder) / f"{words}{seed}.mcap",
                        seed=seed,
                        duration_s=6.0,
                        config=RecordConfig(sensors=sensors),
                    )
                else:
                    run("scripted", "north", seed, person=False, horizon_s=6.0)
            spent = (time.process_time() - start) / 3
            rows.append(
                row(
                    f"a run of up to 6 s, recording {words}",
                    spent,
                    "s",
                    1.0 if words == "two cameras at 10 Hz" else None,
                )
            )
    return rows


def run(expert: str, site: str, seed: int, *, person: bool, horizon_s: float = 12.0) -> tuple[bool, float]:
    """Success and smallest clearance of one run without cameras."""
    config = EnvironmentConfig(horizon_s=horizon_s)
    environment = CellEnvironment(site, attributes=Attributes(person=person), config=config)
    policy = Expert(EXPERTS[expert], site)
    observation, done = environment.reset(seed=seed), False
    policy.reset(seed=seed)
    while not done:
        answer = environment.step(policy.act(observation))
        observation, done = answer.observation, answer.done
    outcome = environment.outcome()
    return outcome["success"] == 1.0, outcome["clearance_m"]


def experts(seeds: int) -> list[dict[str, Any]]:
    """Share of successes and of near-misses."""
    rows = []
    for name in ("scripted", "careless", "noisy", "random"):
        for person in (False, True):
            found = [run(name, site, seed, person=person) for site in SITES for seed in range(seeds)]
            words = f"{name}, {'a person comes' if person else 'alone'}, {len(found)} runs"
            bar = 0.95 if name == "scripted" else None
            rows.append(row(f"{words}: success", float(np.mean([ok for ok, _ in found])), "1", bar, least=True))
            if person:
                near = float(np.mean([clearance < NEAR_M for _, clearance in found]))
                bar = 0.01 if name == "scripted" else None
                rows.append(row(f"{words}: nearer than {NEAR_M} m", near, "1", bar))
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = pictures() + episodes() + experts(10 if asked.quick else 100)
    if asked.json:
        print(json.dumps({"name": "cell", "machine": platform.processor() or platform.machine(), "rows": rows}))
        return
    for item in rows:
        bar = "" if item["bar"] is None else f"   bar {item['bar']} {'ok' if item['ok'] else 'MISSED'}"
        print(f"{item['what']:<62} {item['value']:>8.3f} {item['unit']}{bar}")


if __name__ == "__main__":
    main()
