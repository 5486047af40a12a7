"""The page on attacks names tests that exist, and a test for each attack."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "explanation" / "attacks.md"


def test_every_attack_on_the_page_is_tried_by_tests_that_exist() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "tried by" not in line]
    assert len(rows) > 25
    for row in rows:
        named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", row)
        assert named, row
        for path, test in named:
            tree = ast.parse((TESTS / path).read_text())
            assert test in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}, f"{path}::{test}"
