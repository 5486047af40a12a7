"""The page on statistics shows the figures of the last full run, and no statistic let more through than it promised."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "statistics.md"
RESULT = ROOT / "benchmarks" / "results" / "gate_honesty.json"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gate_honesty", ROOT / "benchmarks" / "gate_honesty.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULT.read_text())
    return found


def test_the_table_of_the_page_is_that_of_the_last_full_run(benchmark: ModuleType, kept: dict[str, Any]) -> None:
    shown = PAGE.read_text().split("<!-- table -->\n")[1].split("<!-- end of table -->")[0].strip()
    assert shown == benchmark.markdown(kept)


def test_no_statistic_let_more_through_than_alpha_and_three_standard_errors(kept: dict[str, Any]) -> None:
    judged = [row for row in kept["rows"] if row["ok"] is not None]
    assert len(judged) > 40
    assert [row["what"] for row in judged if not row["ok"]] == []
    assert kept["runs"] == 100_000


@pytest.mark.parametrize("part", ["rows_fixed", "rows_sequential", "rows_paired", "rows_clusters", "rows_best_of"])
def test_a_small_run_keeps_its_promises_too(benchmark: ModuleType, part: str) -> None:
    rows = list(getattr(benchmark, part)(400))
    judged = [row for row in rows if row["ok"] is not None]
    assert judged
    assert [row["what"] for row in judged if not row["ok"]] == []


def test_a_test_that_lets_too_much_through_would_be_seen(benchmark: ModuleType) -> None:
    rows = {row["what"].strip(): row["value"] for row in benchmark.rows_best_of(400)}
    assert rows["instead: best of 8 without correction"] > 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5
