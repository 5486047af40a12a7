"""The page on the checks' quality shows the figures of the last full run, and names every check."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from worldgate.core.seams import cards
from worldgate.data.injectors import kinds

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "checks-quality.md"
RESULT = ROOT / "benchmarks" / "results" / "checks_quality.json"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    pytest.importorskip("mujoco")
    spec = importlib.util.spec_from_file_location("checks_quality", ROOT / "benchmarks" / "checks_quality.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_page_are_those_of_the_last_full_run(benchmark: ModuleType) -> None:
    shown = PAGE.read_text().split("<!-- table -->\n")[1].split("<!-- end of table -->")[0].strip()
    assert shown == benchmark.markdown(json.loads(RESULT.read_text())).strip()


def test_the_last_full_run_covers_every_check_and_every_kind_of_fault() -> None:
    kept = json.loads(RESULT.read_text())
    assert {line["check"] for line in kept["checks"]} == set(cards("checks"))
    assert {row["kind"] for row in kept["kinds"]} == set(kinds())
    assert set(kept["logs"]) == {"cell", "droid"}


def test_about_half_of_the_kinds_are_held_out_in_nearly_every_family(benchmark: ModuleType) -> None:
    held = benchmark.HELD_OUT
    assert held <= set(kinds())
    assert 0.4 < len(held) / len(kinds()) < 0.6
    families = {kind.partition(".")[0] for kind in kinds()}
    assert {kind.partition(".")[0] for kind in held} == families
    assert {kind.partition(".")[0] for kind in set(kinds()) - held} == families
