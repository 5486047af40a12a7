"""The page on what escapes shows the figures that were kept, and says how far the run that made them came."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "escape.md"
RESULT = ROOT / "benchmarks" / "results" / "escape.json"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("escape_of_page", ROOT / "benchmarks" / "escape.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["escape_of_page"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULT.read_text())
    return found


def test_the_tables_of_the_page_are_those_of_the_result(benchmark: ModuleType, kept: dict[str, Any]) -> None:
    shown = PAGE.read_text().split("<!-- table -->\n")[1].split("<!-- end of table -->")[0].strip()
    assert shown == benchmark.markdown(kept)


def test_the_first_line_says_whose_trials_these_are(benchmark: ModuleType, kept: dict[str, Any]) -> None:
    assert benchmark.table(kept).splitlines()[0].startswith("simulated stands in for real")
    assert benchmark.markdown(kept).startswith("Simulated stands in for real")


def test_figures_follow_from_the_runs_of_each_kind(benchmark: ModuleType, kept: dict[str, Any]) -> None:
    assert benchmark.rows_of(kept["kinds"]) == kept["rows"]
    assert benchmark.first_caught(kept["kinds"]) == kept["caught"]


def test_a_run_that_is_not_complete_says_so(benchmark: ModuleType, kept: dict[str, Any]) -> None:
    told = "not complete" in benchmark.markdown(kept)
    assert told != kept["complete"]
