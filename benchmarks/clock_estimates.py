"""How sure estimates of clocks are: error and coverage against simulated truth, beside plain least squares.

Drift and steps from stamps under one-sided delays, lags from motion. Coverage is the share of runs in which the claimed
95 % interval holds the truth. The peer for the drift is what most scripts do, a least-squares line with its textbook
interval, on the same stamps; for the lag, the highest sample of the same cross-correlation. ``--quick`` takes a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import stats
from scipy.ndimage import gaussian_filter1d

from worldgate.data.clocks.changes import changes
from worldgate.data.clocks.envelope import envelope
from worldgate.data.clocks.motion import correlate

SECOND = 1_000_000_000
START = 1_767_600_000 * SECOND
KINDS = ("gamma", "exponential", "log-normal", "two-sided", "bursts", "autocorrelated")
SIZES = ((60, 10.0), (360, 30.0), (1200, 100.0), (6000, 100.0))


def delays(kind: str, count: int, rng: np.random.Generator) -> Any:
    """(N,) seconds from stamp to arrival."""
    if kind == "gamma":
        return 0.02 * (0.6 + rng.gamma(2, 0.2, count))
    if kind == "exponential":
        return 0.003 + rng.exponential(0.01, count)
    if kind == "log-normal":
        return 0.002 + rng.lognormal(-5, 1, count)
    if kind == "two-sided":
        return 0.05 + rng.normal(0, 0.004, count)
    if kind == "autocorrelated":
        noise, state = rng.normal(0, 1, count), np.zeros(count)
        for i in range(1, count):
            state[i] = 0.8 * state[i - 1] + noise[i]
        return 0.002 + 0.004 * np.exp(state / 2)
    late = 0.003 + rng.exponential(0.002, count)
    for _ in range(3):
        first = int(rng.integers(0, count))
        late[first : first + count // 12] += rng.uniform(0.01, 0.05)
    return late


def recorded(kind: str, count: int, rate_hz: float, rng: np.random.Generator, drift_ppm: float) -> tuple[Any, Any]:
    """(N,) stamps and arrivals."""
    true = np.sort(np.arange(count) / rate_hz + rng.normal(0, 0.02 / rate_hz, count))
    arrived = np.maximum.accumulate(true + delays(kind, count, rng))
    stamps = START + (true * (1 - drift_ppm * 1e-6) * SECOND).astype(np.int64)
    return stamps, START + (arrived * SECOND).astype(np.int64)


def drifts(runs: int) -> Iterator[dict[str, Any]]:
    """Coverage, and how much closer than least squares, for every kind of delay over all lengths of log."""
    for kind in KINDS:
        held, peer_held, ratio = [], [], []
        for count, rate_hz in SIZES:
            rng = np.random.default_rng([KINDS.index(kind), count])
            ours, theirs = [], []
            for _ in range(runs):
                drift = float(rng.normal(0, 100))
                stamps, log = recorded(kind, count, rate_hz, rng, drift)
                found = envelope(stamps, log)
                assert found is not None
                line = stats.linregress((stamps - stamps[0]).astype(float), (log - stamps).astype(float))
                ours.append(found.drift_ppm - drift)
                theirs.append(line.slope * 1e6 - drift)
                held.append(abs(ours[-1]) <= found.drift_error_ppm + 0.1)
                peer_held.append(abs(theirs[-1]) <= 1.96 * line.stderr * 1e6 + 0.1)
            ratio.append(float(np.sqrt(np.mean(np.square(theirs)) / np.mean(np.square(ours)))))
        what = f"drift held by its interval, {kind} delays"
        yield row(what, float(np.mean(held)), "share", 0.9, "least squares", float(np.mean(peer_held)))
        what = f"least squares' error over ours, {kind} delays"
        yield row(what, float(np.exp(np.mean(np.log(ratio)))), "times")


def steps(runs: int) -> Iterator[dict[str, Any]]:
    """Steps of 50 ms found within one message, and blame where nobody set a clock."""
    for kind in ("gamma", "exponential", "bursts"):
        found = blamed = total = 0
        for count, rate_hz in SIZES[:3]:
            rng = np.random.default_rng([KINDS.index(kind), count, 1])
            for _ in range(runs):
                stamps, log = recorded(kind, count, rate_hz, rng, 50.0)
                blamed += any(c.who == "stamp" for c in changes(stamps, log))
                at = int(rng.integers(count // 6, 5 * count // 6))
                stamps[at:] += 50_000_000 * int(rng.choice([-1, 1]))
                found += any(c.who == "stamp" and abs(c.message - at) <= 1 for c in changes(stamps, log))
                total += 1
        yield row(f"steps of 50 ms found, {kind} delays", found / total, "share", 0.85)
        yield row(f"clocks blamed that nobody set, {kind} delays", blamed / total, "share", 0.03, less=True)


def lags(runs: int) -> Iterator[dict[str, Any]]:
    """Commands at 10 Hz against joints at 100 Hz over 10 s."""
    rng, held, errors, coarse = np.random.default_rng(7), [], [], []
    for _ in range(runs):
        fine = np.arange(0, 13, 0.002)
        motion = gaussian_filter1d(rng.normal(size=len(fine) + 1000), 150)[500:-500]
        motion /= motion.std()
        lag = float(rng.uniform(-0.1, 0.25))
        command, joints = np.arange(1, 11, 0.1), np.arange(1, 11, 0.01)
        a = np.interp(command, fine, motion)[:, None]
        b = np.interp(joints - lag, fine, motion)[:, None] + rng.normal(0, 0.01, (len(joints), 1))
        found = correlate((command * SECOND).astype(np.int64), a, (joints * SECOND).astype(np.int64), b)
        assert found is not None
        errors.append(found.lag_ns / SECOND - lag)
        held.append(abs(errors[-1]) <= found.error_ns / SECOND)
        coarse.append(round(lag / 0.01) * 0.01 - lag)
    yield row("lag held by its interval", float(np.mean(held)), "share", 0.9)
    peer = float(np.sqrt(np.mean(np.square(coarse)))) * 1e3
    rms = float(np.sqrt(np.mean(np.square(errors)))) * 1e3
    yield row("error of the lag, r.m.s.", rms, "ms", 5.0, "a grid of 10 ms without any other error", peer, less=True)


def row(
    what: str, value: float, unit: str, bar: float | None = None, peer: str = "", peer_value: float | None = None, *,
    less: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """One row of the table."""
    ok = True if bar is None else value <= bar if less else value >= bar
    return {
        "what": what, "value": round(value, 3), "unit": unit, "peer": peer,
        "peer_value": None if peer_value is None else round(peer_value, 3),
        "ratio": round(value / peer_value, 3) if peer_value else None, "bar": bar, "ok": ok,
    }  # fmt: skip


def main() -> None:
    """Print the table, or one JSON object."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--quick", action="store_true", help="a fifth of the runs")
    arguments.add_argument("--json", action="store_true", help="one JSON object")
    told = arguments.parse_args()
    runs, started = 40 if told.quick else 200, time.perf_counter()
    rows = [*drifts(runs), *steps(runs), *lags(runs)]
    load = f"load {os.getloadavg()[0]:.1f}"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {load}"
    if told.json:
        print(json.dumps({"name": "clock_estimates", "machine": machine, "runs": runs, "rows": rows}))
        return
    for r in rows:
        peer = f"; {r['peer']} {r['peer_value']}" if r["peer"] else ""
        bar = "" if r["bar"] is None else f"  bar {r['bar']} {'ok' if r['ok'] else 'short'}"
        print(f"{r['what']:58} {r['value']:>9} {r['unit']}{bar}{peer}")
    print(f"{runs} runs a row, {time.perf_counter() - started:.0f} s, {machine}")


if __name__ == "__main__":
    main()
