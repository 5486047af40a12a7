"""What the automatic labellers find on the simulated cell, against what its physics knows: precision, recall, F1.

``.venv/bin/python benchmarks/labellers.py [--quick] [--json] [--real FOLDER]``. Runs of two sites, four experts and
five sets of attributes are simulated without cameras, on seeds that no labeller was tuned on (100 and up; tuning used 0
to 2). The truth is taken from the physics, every 10 ms, beside the recording: which geoms touch, how fast the tool's
surface moves against the object's at their touch, whether the object lies in the bay. Labellers see the log alone.

Time figures: shares of time; segment figures: spans with both boundaries within the schema's tolerance, one to one.
Truth is brought to what a label means by the same words: pauses up to the labeller's ``pause_s`` belong to a contact.
Intervals: 95 %, bootstrap over runs. With ``--real`` the labellers also run on real DROID episodes, as plausibility.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from worldgate.core.streams import Log
from worldgate.data.labellers import contact, phase, slip
from worldgate.data.labelling.automatic import run
from worldgate.data.labelling.schema import read
from worldgate.data.labelling.segments import Hits, bootstrap, segment_hits
from worldgate.data.labelling.sets import Label
from worldgate.data.labelling.spans import Span, closed, inside, intersection, length_ns, runs
from worldgate.data.logs import open_folder
from worldgate.sim.attributes import PRESETS
from worldgate.sim.cell import Cell
from worldgate.sim.environment import CellEnvironment, EnvironmentConfig
from worldgate.sim.experts import EXPERTS, Expert
from worldgate.sim.recorder import START_NS
from worldgate.sim.sensing import SensorConfig

SITES, WHO = ("north", "south"), ("scripted", "noisy", "careless", "random")
ATTRIBUTES = ("none", "spill", "person", "clutter", "clock-drift")
SECOND = 1_000_000_000
TICK_NS = 10_000_000
BARS = {"contact": 0.9, "success": 0.95, "phase": 0.85, "slip": 0.7}
"""Least F1 over time (of success: share of runs) that the documentation promises."""


@dataclass
class Truth:
    """What the physics knew at each tick of 10 ms."""

    times_ns: list[int] = field(default_factory=list)
    touching: list[bool] = field(default_factory=list)
    pushing: list[bool] = field(default_factory=list)
    sliding: list[float] = field(default_factory=list)
    tool: list[Any] = field(default_factory=list)


def watch(cell: Cell, truth: Truth) -> None:
    """Take the truth whenever the cell was advanced to a tick; recording stops at every tick."""
    rod = cell.model.geom("tool_rod").id
    thing = next(i for i in range(cell.model.ngeom) if cell.model.geom(i).name == "object")
    advance = cell.run_to

    def run_to(step: int) -> None:
        advance(step)
        if cell.step_index % cell.steps_per_tick == 0:
            now = START_NS + round(cell.time_s * SECOND)
            if not truth.times_ns or now > truth.times_ns[-1]:
                truth.times_ns.append(now)
                look(cell, truth, rod, thing)

    cell.run_to = run_to  # type: ignore[method-assign]


def look(cell: Cell, truth: Truth, rod: int, thing: int) -> None:
    """The contacts of this instant."""
    pairs = {(a, b) for a, b in cell.contacts() if "tool_rod" in (a, b)}
    speeds = [sliding(cell, k, rod, thing) for k in range(cell.data.ncon)]
    truth.touching.append(bool(pairs))
    truth.pushing.append(("object", "tool_rod") in pairs)
    truth.sliding.append(max((x for x in speeds if x is not None), default=0.0))
    truth.tool.append(cell.state()[8:11])


def sliding(cell: Cell, number: int, rod: int, thing: int) -> float | None:
    """Speed of the two surfaces against each other across one contact of tool and object, m/s; None for others."""
    found = cell.data.contact[number]
    if {found.geom[0], found.geom[1]} != {rod, thing}:
        return None
    velocity = []
    for geom in (rod, thing):
        out, body = np.zeros(6), int(cell.model.geom_bodyid[geom])
        mujoco.mj_objectVelocity(cell.model, cell.data, mujoco.mjtObj.mjOBJ_BODY, body, out, 0)
        velocity.append(out[3:] + np.cross(out[:3], found.pos - cell.data.xpos[body]))
    against, normal = velocity[0] - velocity[1], found.frame[:3]
    across = against - (against @ normal) * normal
    return float(np.linalg.norm(across[:2]))


def simulate(path: Path, site: str, expert: str, attributes: str, seed: int) -> Truth:
    """One run, as a log without cameras, and its truth."""
    environment = CellEnvironment(
        site,
        attributes=PRESETS[attributes],
        config=EnvironmentConfig(horizon_s=10.0),
        sensors=SensorConfig(cameras=(), geometry=(), lidar=False),
    )
    policy, truth = Expert(EXPERTS[expert], site), Truth()
    policy.reset(seed=seed)
    observation, done = environment.reset(seed=seed), False
    assert environment.cell is not None
    watch(environment.cell, truth)
    while not done:
        step = environment.step(policy.act(observation))
        observation, done = step.observation, step.done
    environment.save(path)
    return truth


def held(mark: Sequence[bool], truth: Truth) -> list[Span]:
    """Spans of marked ticks."""
    times = np.array(truth.times_ns, np.int64)
    return runs(np.array(mark, bool), times, int(times[-1]) + TICK_NS)


def true_labels(truth: Truth) -> dict[str, list[Label]]:
    """The truth in the words of the schema ``automatic``."""
    touch = closed(held(truth.touching, truth), round(contact.Config().pause_s * SECOND))
    sliding_now = np.array(truth.sliding) > slip.Config().least_m_s
    near = closed(held(truth.pushing, truth), round(slip.Config().pause_s * SECOND))
    slips = intersection(closed(held(sliding_now.tolist(), truth), round(slip.Config().window_s * SECOND)), near)
    slips = [s for s in slips if s[1] - s[0] >= slip.Config().least_s * SECOND]
    return {
        "contact": [Label(label="contact", start_ns=a, end_ns=b) for a, b in touch],
        "slip": [Label(label="slip", start_ns=a, end_ns=b) for a, b in slips],
        "phase": true_phases(truth),
    }


def true_phases(truth: Truth) -> list[Label]:
    """Push where the tool truly touches the object or a wall for a while, and motion before, between and after."""
    config, times = phase.Config(), np.array(truth.times_ns, np.int64)
    touch = closed(held(truth.touching, truth), round(config.pause_s * SECOND))
    push = inside([s for s in touch if s[1] - s[0] >= config.least_s * SECOND], times)
    place, step = np.array(truth.tool), round(0.1 * SECOND / TICK_NS)
    moved = np.linalg.norm(np.roll(place, -step, axis=0) - np.roll(place, step, axis=0), axis=1)
    moved[:step], moved[-step:] = moved[step], moved[-step - 1]
    still = (moved / (2 * step * TICK_NS / SECOND) < config.idle_m_s) & ~push
    rests = [s for s in held(still.tolist(), truth) if s[1] - s[0] >= config.idle_s * SECOND]
    last = times[np.flatnonzero(push)[-1]] if push.any() else times[-1]
    names = np.where(times > last, "retreat", "reach").astype(object)
    names[inside(rests, times)] = "idle"
    names[push] = "push"
    labels = []
    for name in sorted(set(names)):
        labels += [
            Label(label="phase", value=name, start_ns=a, end_ns=b) for a, b in held((names == name).tolist(), truth)
        ]
    return labels


def time_hits(found: Sequence[Label], true: Sequence[Label]) -> Hits:
    """Shares of time, within each value."""
    total = Hits()
    for value in {x.value for x in (*found, *true)}:
        a = [x.span for x in found if x.value == value]
        b = [x.span for x in true if x.value == value]
        total += Hits(same=length_ns(intersection(a, b)), left=length_ns(a), right=length_ns(b))
    return total


def measure(seeds: range) -> dict[str, list[tuple[Hits, Hits]]]:
    """For each labeller, hits over time and over segments, one pair a run."""
    rules = read("automatic").labels
    out: dict[str, list[tuple[Hits, Hits]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for site in SITES:
            for expert in WHO:
                for attributes in ATTRIBUTES:
                    for seed in seeds:
                        path = Path(folder) / f"{site}-{expert}-{attributes}-{seed}.mcap"
                        truth = simulate(path, site, expert, attributes, seed)
                        log = open_folder(path).logs[0]
                        for name, labels in true_labels(truth).items():
                            found = run(name, log).labels
                            spans = segment_hits(found, labels, rules[name].tolerance_ns)
                            out[name].append((time_hits(found, labels), spans))
                        out["success"].append((answer(log), Hits()))
    return out


def answer(log: Log) -> Hits:
    """Whether success was called rightly; the recorder's own fact is the truth."""
    (label,) = run("success", log).labels
    right = bool(label.value) == bool(log.facts["success"])
    return Hits(same=float(right), left=1.0, right=1.0)


def rows_of(name: str, parts: Sequence[tuple[Hits, Hits]]) -> list[dict[str, Any]]:
    """The lines of one labeller."""
    if name == "success":
        return [row(f"success: runs called rightly, of {len(parts)}", [a for a, _ in parts], "f1", BARS[name])]
    out = []
    for kind, place in (("over time", 0), ("of segments", 1)):
        for what in ("precision", "recall", "f1"):
            bar = BARS[name] if (place, what) == (0, "f1") else None
            out.append(row(f"{name}: {what} {kind}", [part[place] for part in parts], what, bar))
    return out


def row(what: str, parts: Sequence[Hits], figure: str, bar: float | None) -> dict[str, Any]:
    """One line, with its interval in words."""
    found = bootstrap(parts, figure)
    words = f"{what}, 95 % {found.lower:.3f} to {found.upper:.3f}"
    plain = {"peer": None, "peer_value": None, "ratio": None}
    ok = None if bar is None else found.value >= bar
    return {"what": words, "value": round(found.value, 4), "unit": "1", **plain, "bar": bar, "ok": ok}


def real(folder: Path) -> list[dict[str, Any]]:
    """DROID episodes: what the gripper labeller says, and why success cannot be told from it."""
    logs = [
        log
        for name in ("droid_subset", "droid_new_setup")
        for log in open_folder(folder / "droid_ctrlworld" / name).logs
    ]
    said: Counter[str] = Counter()
    calls = Counter()
    for log in logs:
        states = run("gripper", log).labels
        said.update(str(label.value) for label in states)
        grasped = any(x.value != "open" and x.span[1] - x.span[0] >= SECOND // 2 for x in states)
        let_go = bool(states) and states[-1].value == "open"
        calls[bool(log.facts["success"]), grasped and let_go] += 1
    covered = [length_ns([x.span for x in run("gripper", log).labels]) for log in logs]
    times = [log.read("observation.state").times_ns for log in logs]
    share = sum(covered) / sum(int(t[-1] - t[0]) for t in times)
    plain = {"unit": "1", "peer": None, "peer_value": None, "ratio": None, "bar": None, "ok": None}
    words = ", ".join(f"{count} {name}" for name, count in sorted(said.items()))
    phases = sum(bool(run("phase", log).labels) for log in logs)
    good, bad = calls[True, True] + calls[True, False], calls[False, True] + calls[False, False]
    rule = f"called success in {calls[True, True]} of {good} successes and {calls[False, True]} of {bad} failures"
    right = (calls[True, True] + calls[False, False]) / len(logs)
    return [
        {"what": f"DROID, {len(logs)} episodes: share of time in a state ({words})", "value": round(share, 4), **plain},
        {"what": f"DROID: episodes with phases, of {len(logs)}", "value": phases, **plain},
        {"what": f"DROID: 'held, then let go' {rule}; accuracy", "value": round(right, 4), **plain},
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="one seed instead of five")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--real", type=Path, help="folder of real logs")
    asked = parser.parse_args()
    found = measure(range(100, 101 if asked.quick else 105))
    rows = [line for name in ("contact", "slip", "phase", "success") for line in rows_of(name, found[name])]
    rows += real(asked.real) if asked.real else []
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    if asked.json:
        print(json.dumps({"name": "labellers", "machine": machine, "runs": len(found["success"]), "rows": rows}))
        return
    for line in rows:
        bar = "" if line["ok"] is None else f"  bar {line['bar']:g} {'ok' if line['ok'] else 'MISSED'}"
        value = line["value"]
        print(f"{line['what']:<84} {'-' if math.isnan(value) else f'{value:.3f}'}{bar}")


if __name__ == "__main__":
    main()
