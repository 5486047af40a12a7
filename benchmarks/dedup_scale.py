"""What finding copies costs with many logs of one task, in time and memory, and what is lost by bounding it.

``.venv/bin/python benchmarks/dedup_scale.py [--quick] [--whole] [--json]``. Synthetic episodes of 6 s: a hand fetches
an object from one drawn place to another, always at the same pace and with the same rig, which is the worst case:
everything resembles everything, and episodes that share one of two places share half of their motion. Two cameras of
32 x 32 cells with noise, seven joints. One log in twenty is a copy of another: cut at both ends, darker, cropped by a
cell at each side, with noise on its joints. Made as sketches, because reading and decoding cost the same for every log.
Each size is measured with every pair that has votes enough, and with the default bound on the partners of a log. All
copies are compared, and of the other pairs a sample of 200, from which the time of all is told; ``--whole`` compares
them all. Times are the process's CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worldgate.data.duplicates import match
from worldgate.data.duplicates.rules import MatchConfig
from worldgate.data.duplicates.sketches import SIDE, TICK_NS, Film, Numbers, Sketch, hashes
from worldgate.data.duplicates.voting import Candidate, candidates

KEPT = Path(__file__).parent / "results" / "dedup_scale.json"
SIZES, QUICK = (125, 250, 500, 1000), (60, 125)
EVERY = 500
"""Most logs for which every pair is looked for, too."""
TICKS, JOINTS, SAMPLE = 60, 7, 200
COPIES = 20
"""One log in so many is a copy."""
Array = NDArray[Any]
PLACE = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1) / SIDE


def course(draw: np.random.Generator) -> tuple[Array, Array, Array]:
    """(K, 2) hand, (K, 2) object and (K, 1) grip of one episode."""
    pick, put, home = draw.uniform(0.2, 0.8, 2), draw.uniform(0.2, 0.8, 2), np.array([0.5, 0.15])
    stops, t = np.array([home, pick, pick, put, home]), np.linspace(0, 4, TICKS)
    leg = np.minimum(t.astype(np.int64), 3)
    share = (t - leg)[:, None]
    hand = stops[leg] + (stops[leg + 1] - stops[leg]) * share**2 * (3 - 2 * share)
    held = ((t >= 1.5) & (t < 3))[:, None]
    return hand, np.where(held, hand, np.where((t < 1.5)[:, None], pick, put)), held.astype(np.float64)


def film(number: int, hand: Array, thing: Array, draw: np.random.Generator, *, copy: bool) -> Array:
    """(K, 32, 32) what one camera of the rig sees."""
    if number:
        hand, thing = hand[:, ::-1], thing[:, ::-1]
    room = np.random.default_rng(number).integers(60, 180, (8, 8)).repeat(4, axis=0).repeat(4, axis=1)

    def blob(at: Array, size: float) -> Array:
        far = ((PLACE[None] - at[:, None, None]) ** 2).sum(axis=-1)
        shade: Array = np.exp(-far / (2 * size**2))
        return shade

    cells = room + 90 * blob(hand, 0.07) + 60 * blob((hand + np.array([0.5, 0.0])) / 2, 0.06) - 70 * blob(thing, 0.04)
    if copy:
        cells = 0.85 * np.stack([cv2.resize(c[1:-1, 1:-1], (SIDE, SIDE), interpolation=cv2.INTER_AREA) for c in cells])
    seen: Array = np.clip(cells + draw.normal(0, 0.6, cells.shape), 0, 255).astype(np.uint8)
    return seen


def episode(seed: int, *, copy: bool = False) -> Sketch:
    """One log, or a copy of it."""
    draw = np.random.default_rng([seed, copy])
    hand, thing, grip = course(np.random.default_rng(seed))
    first, last = (int(draw.integers(0, 10)), TICKS - int(draw.integers(0, 10))) if copy else (0, TICKS)
    hand, thing, grip = (line[first:last] for line in (hand, thing, grip))
    mixed = np.tanh(np.hstack([hand, grip]) @ np.random.default_rng(5).standard_normal((3, JOINTS)))
    values = mixed + draw.normal(0, 2e-3 if copy else 2e-4, mixed.shape)
    rows, at = hashes(values)
    name, start = f"{seed}{copy}", first * TICK_NS
    joints = Numbers(
        name="observation.state",
        width=JOINTS,
        start_ns=start,
        values=values.astype(np.float32),
        rows=rows,
        row_ns=at * TICK_NS,
        content=f"joints {name}",
    )
    films = tuple(
        Film(name=f"camera {n}", start_ns=start, cells=film(n, hand, thing, draw, copy=copy), content=f"{n} {name}")
        for n in (0, 1)
    )
    return Sketch(numbers=(joints,), films=films, exact=(name,))


def pool(count: int) -> tuple[list[Sketch], set[tuple[int, int]]]:
    """So many logs, and the places of the pairs that are copies."""
    copied = count // COPIES
    own = count - copied
    logs = [episode(s) for s in range(own)] + [episode(s * 7, copy=True) for s in range(copied)]
    return logs, {(s * 7, own + s) for s in range(copied)}


def measure(count: int, *, whole: bool) -> list[dict[str, Any]]:
    """The rows of one size: every pair with votes enough (of the smaller sizes), and with the bound."""
    logs, true = pool(count)
    rows = []
    for label, config in (("every pair", MatchConfig(partners=0)), ("bounded", MatchConfig())):
        if label == "every pair" and count > EVERY:
            continue
        start = time.process_time()
        pairs = candidates(logs, config)
        voted = time.process_time() - start
        copies = [pair for pair in pairs if (pair.first, pair.second) in true]
        others = [pair for pair in pairs if (pair.first, pair.second) not in true]
        some = [
            others[i] for i in np.random.default_rng(0).permutation(len(others))[: len(others) if whole else SAMPLE]
        ]
        start = time.process_time()
        weighed = [compared(logs, pair, config) for pair in some]
        took = (time.process_time() - start) * len(pairs) / max(len(some), 1)
        found = match.settle(weighed + [compared(logs, pair, config) for pair in copies])
        right = len({(int(m.first), int(m.second)) for m in found} & true)
        rows.append(
            {
                "what": f"{count} logs, {label}",
                "pairs": len(pairs),
                "copies": len(true),
                "copies_compared": len(copies),
                "copies_found": right,
                "others_compared": len(some),
                "others_mistaken": len(found) - right,
                "vote_s": round(voted, 1),
                "compare_s": round(took, 1),
                "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            }
        )
    return rows


def compared(logs: list[Sketch], pair: Candidate, config: MatchConfig) -> tuple[tuple[int, int], match.Weighed]:
    """One comparison, as ``matches`` makes it."""
    names = (str(pair.first), str(pair.second))
    return (pair.first, pair.second), match._weigh(names, (logs[pair.first], logs[pair.second]), pair, config)


def main() -> None:
    """Print the table, or one JSON object; a full run is kept as it comes."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--quick", action="store_true", help="60 and 125 logs")
    arguments.add_argument("--json", action="store_true", help="one JSON object")
    arguments.add_argument("--whole", action="store_true", help="every comparison, no sample")
    told = arguments.parse_args()
    cv2.setNumThreads(1)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    result: dict[str, Any] = {
        "name": "dedup_scale",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "commit": commit.stdout.strip(),
        "rows": [],
    }
    for count in QUICK if told.quick else SIZES:
        fresh = measure(count, whole=told.whole)
        result["rows"] += [{**row, "load": round(os.getloadavg()[0], 1)} for row in fresh]
        for row in [] if told.json else fresh:
            print(
                f"{row['what']:22} {row['pairs']:>7,} pairs; {row['copies_found']} of {row['copies']} copies found, "
                f"{row['others_mistaken']} of {row['others_compared']} others mistaken; votes {row['vote_s']:.0f} s, "
                f"comparing {row['compare_s']:.0f} s; {row['peak_mb']} MB",
                flush=True,
            )
        if not told.quick:
            KEPT.write_text(json.dumps(result, indent=1) + "\n")
    if told.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
