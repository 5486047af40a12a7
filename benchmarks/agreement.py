"""Krippendorff's alpha held against the ``krippendorff`` package: equal values, then time.

``.venv/bin/python benchmarks/agreement.py [--quick] [--json]``. The peer is GPL-3 and stands in an environment of its
own (``make bench-env``); it reads the same tables from a file and writes its values. Every level, with gaps, on random
tables of 2 to 6 annotators; then two annotators over an hour at 10 ms, the size that spans on a grid have, and an hour
of measured numbers that all differ, where a table of coincidences would have 10^11 cells.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from worldgate.data.labelling.agreement import Level, alpha

ROOT = Path(__file__).resolve().parent.parent
PEER = ROOT / ".venv-labels" / "bin" / "python"
CLOSE = 1e-9

SCRIPT = """
import json, sys, time
import numpy as np, krippendorff
found = np.load(sys.argv[1], allow_pickle=False)
out = []
for key in found.files:
    level = key.split("|")[1]
    start = time.perf_counter()
    try:
        value = float(krippendorff.alpha(found[key], level_of_measurement=level))
    except ValueError:
        value = float("nan")
    out.append([key, None if value != value else value, time.perf_counter() - start])
print(json.dumps(out))
"""


def tables(count: int) -> dict[str, Any]:
    """Random tables by ``number|level``."""
    rng = np.random.default_rng(7)
    out = {}
    for number in range(count):
        shape = (int(rng.integers(2, 7)), int(rng.integers(2, 60)))
        values = rng.integers(0, int(rng.integers(2, 8)), shape).astype(float)
        if number % 3 == 0:
            values += rng.random(shape).round(2)
        values[rng.random(shape) < rng.choice([0.0, 0.2, 0.6])] = np.nan
        for level in Level:
            out[f"{number}|{level}"] = values
    return out


def hour() -> Any:
    """Two annotators' phases over an hour at 10 ms, of five values, boundaries up to a second apart."""
    rng = np.random.default_rng(11)
    cuts = np.sort(rng.choice(360_000, 900, replace=False))
    values = rng.integers(0, 5, 901)
    rows = []
    for jitter in (0, 100):
        moved = np.clip(cuts + rng.integers(-jitter, jitter + 1, len(cuts)), 0, 360_000)
        rows.append(np.repeat(values, np.diff([0, *np.sort(moved), 360_000])))
    return np.array(rows, float)


def ask(found: dict[str, Any]) -> dict[str, tuple[float, float]] | None:
    """The peer's values and times; None where its environment is not there."""
    if not PEER.is_file():
        return None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tables.npz"
        np.savez(file, **found)
        done = subprocess.run([str(PEER), "-c", SCRIPT, str(file)], capture_output=True, text=True, check=True)
    return {key: (math.nan if value is None else value, spent) for key, value, spent in json.loads(done.stdout)}


def equality(count: int) -> list[dict[str, Any]]:
    """How many tables give the peer's value, level by level."""
    found = tables(count)
    theirs = ask(found)
    rows = []
    for level in Level:
        ours = {key: alpha(table, level) for key, table in found.items() if key.endswith(f"|{level}")}
        row = {"what": f"alpha, {level}, {len(ours)} random tables with gaps: largest difference", "unit": "1"}
        if theirs is None:
            rows.append({**row, "value": None, **absent(), "bar": CLOSE, "ok": None})
            continue
        apart = [0.0 if math.isnan(a) and math.isnan(theirs[k][0]) else abs(a - theirs[k][0]) for k, a in ours.items()]
        worst = max(math.inf if math.isnan(x) else x for x in apart)
        rows.append(
            {
                **row,
                "value": worst,
                "peer": "krippendorff",
                "peer_value": 0.0,
                "ratio": None,
                "bar": CLOSE,
                "ok": worst < CLOSE,
            }
        )
    return rows


def absent() -> dict[str, Any]:
    """What a row says where the peer cannot be asked."""
    return {"peer": "krippendorff is not installed (make bench-env)", "peer_value": None, "ratio": None}


def speed(repeats: int) -> list[dict[str, Any]]:
    """Time of one hour on a grid, ours and the peer's in turn; and of an hour of measured numbers, ours alone."""
    table = hour()
    ours, theirs, apart = [], [], 0.0
    for _ in range(repeats):
        start = time.perf_counter()
        value = alpha(table, "nominal")
        ours.append(time.perf_counter() - start)
        told = ask({"hour|nominal": table})
        if told is not None:
            theirs.append(told["hour|nominal"][1])
            apart = abs(value - told["hour|nominal"][0])
    assert apart < CLOSE, apart
    mine = 1e3 * statistics.median(ours)
    spread = f"spread {1e3 * min(ours):.1f} to {1e3 * max(ours):.1f}"
    what = f"alpha of an hour at 10 ms by two, nominal, median of {repeats} ({spread})"
    row = {"what": what, "value": round(mine, 2), "unit": "ms", "bar": None, "ok": None}
    if theirs:
        peer = 1e3 * statistics.median(theirs)
        row |= {"peer": "krippendorff", "peer_value": round(peer, 2), "ratio": round(peer / mine, 2)}
    else:
        row |= absent()
    numbers = np.random.default_rng(0).normal(size=(2, 360_000))
    start = time.perf_counter()
    alpha(numbers, "interval")
    spent = 1e3 * (time.perf_counter() - start)
    alone = {"peer": None, "peer_value": None, "ratio": None, "bar": None, "ok": None}
    return [
        row,
        {
            "what": "alpha of an hour of 720,000 different numbers, interval",
            "value": round(spent, 1),
            "unit": "ms",
            **alone,
        },
    ]


def main() -> None:
    """Print the table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="fewer tables and repeats")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    asked = parser.parse_args()
    rows = equality(100 if asked.quick else 1000) + speed(3 if asked.quick else 7)
    load = f"load {os.getloadavg()[0]:.1f}"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {load}, Python {platform.python_version()}"
    if asked.json:
        print(json.dumps({"name": "agreement", "machine": machine, "rows": rows}))
        return
    for row in rows:
        peer = f"; {row['peer']} {row['peer_value']}" if row["peer"] else ""
        bar = "" if row["ok"] is None else f"  bar {row['bar']:g} {'ok' if row['ok'] else 'MISSED'}"
        print(f"{row['what']:<78} {row['value']} {row['unit']}{bar}{peer}")


if __name__ == "__main__":
    main()
