"""The command that an error says to try exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import worldgate
from worldgate.cli._main import build

SOURCE = Path(worldgate.__file__).parent
MENTION = re.compile(r"(?<![\w./\[\"-])worldgate ([a-z][a-z-]*(?: [a-z][a-z-]*)*)")


def texts(file: Path) -> Iterator[tuple[int, str]]:
    """String literals of a file, docstrings aside: what can be printed."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = {
        id(n.body[0].value) for n in ast.walk(tree) if isinstance(n, documented) and isinstance(n.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def test_every_command_that_the_program_tells_people_to_run_exists() -> None:
    app = build()
    wrong, seen = [], 0
    for file in sorted(SOURCE.rglob("*.py")):
        for line, text in texts(file):
            for match in MENTION.finditer(text):
                words = match[1].split()
                seen += 1
                if words[0] not in app:
                    wrong.append(f"{file.relative_to(SOURCE)}:{line}: worldgate {match[1]}")
                    continue
                below = app[words[0]]
                groups = [name for name in below if not name.startswith("-")]
                if groups and below.default_command is None and (len(words) < 2 or words[1] not in groups):
                    wrong.append(
                        f"{file.relative_to(SOURCE)}:{line}: worldgate {match[1]} (one of {', '.join(groups)})"
                    )
    assert seen > 10, "hints are found at all"
    assert not wrong, "\n".join(wrong)
