"""The figures of the tasks in MuJoCo: rates with intervals, and bars that a bad rate misses."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "mujoco_tasks.py"


def script():
    spec = importlib.util.spec_from_file_location("mujoco_tasks_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_rate_has_its_exact_interval_and_misses_its_bar_when_it_is_low():
    bench = script()
    row = bench.rate("x", [True] * 8 + [False] * 2, bench.BAR)
    assert (row["value"], row["low"], row["high"], row["ok"]) == (0.8, 0.4439, 0.9748, False)
    assert bench.rate("x", [True] * 10, bench.BAR)["ok"]
    assert bench.label("insert", {"clearance_m": 0.0005}) in bench.HARDER


def test_runs_and_goals_are_counted_and_speed_is_of_steps():
    bench = script()
    ends, total = bench.success("pick_place", {}, "scripted", 2)
    assert ends == [True, True]
    assert total < 0
    assert bench.goals("pick_place", 25, 2) == [True, True]
    assert bench.speed("cartpole", 0, 0.02) > 500
