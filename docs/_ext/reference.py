"""Write the reference pages from the code itself: commands, seam entries, errors, units.

Called by ``conf.py`` before Sphinx reads the sources, and by ``tests/docs``. What is documented here cannot fall behind
the code, because it is read from it: cyclopts' own account of the commands, the cards and docstrings of the seams, the
tree drawn in ``core/errors.py``.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from pathlib import Path

from worldgate.cli._commands import COMMANDS
from worldgate.cli._main import build
from worldgate.core import errors, units
from worldgate.core.errors import WorldgateError
from worldgate.core.seams import SEAMS, Card, cards

ROLE = re.compile(r":(?:py:)?(?:mod|class|func|meth|attr|data|exc):`~?([^`]+)`")


def markdown(text: str) -> str:
    """A docstring as Markdown: roles and double backticks become code, literal blocks become fences."""
    text = ROLE.sub(r"`\1`", inspect.cleandoc(text)).replace("``", "`")
    return re.sub(r"(?:^|(?<=:)):\n\n((?:(?: {2,}.*)?\n)+)", r"\n\n```text\n\1```\n", text + "\n", flags=re.MULTILINE)


def commands() -> str:
    """Every command, its examples and options."""
    app = build()
    parts = ["# Commands", "", "What `worldgate --help` shows, in the order of work.", ""]
    for command in COMMANDS:
        page = app[command.name].generate_docs(
            output_format="markdown", heading_level=2, usage_name=f"worldgate {command.name}"
        )
        page = re.sub(r"^(#+) (?!worldgate)", r"\1 worldgate ", page, flags=re.MULTILINE)
        page = re.sub(r"\]\(#(?!worldgate)", "](#worldgate-", page)
        page = re.sub(r"^#+ .*Table of Contents\n(?:\s*- .*\n|\n)*", "", page, flags=re.MULTILINE)
        parts += [f"(command-{command.name})=", page, ""]
    return "\n".join(parts)


def source_of(card: Card) -> str:
    """The docstring of a seam entry's file, read without importing it."""
    package, name = card.module.rsplit(".", 1)
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    for folder in spec.submodule_search_locations:
        file = Path(folder) / f"{name}.py"
        if file.is_file():
            return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return ""


def seam(name: str) -> str:
    """Every entry of a seam: its card, and what its file says of itself."""
    parts = [f"# {name.capitalize()}", "", f"What `worldgate list {name}` shows: the files of `{SEAMS[name]}`.", ""]
    for card in cards(name).values():
        parts += [f"({name}-{card.name})=", f"## {card.name}", "", f"{card.line[:1].upper()}{card.line[1:]}.", ""]
        if card.inputs:
            parts.append(f"* inputs: {card.inputs}")
        if card.needs:
            parts.append(f'* needs: `pip install "worldgate[{card.needs}]"`')
        if card.source:
            parts.append(f"* source: {card.source}")
        parts += ["", markdown(source_of(card)), ""]
    if not cards(name):
        parts.append("No entry yet.")
    return "\n".join(parts)


def error_tree() -> str:
    """The tree of errors with exit codes, and what each means."""
    drawn = (errors.__doc__ or "").split("::\n", 1)[1]
    parts = ["# Errors and exit codes", "", "An error is three lines on stderr: what is wrong, what was got and where,"]
    parts += ["the command to try. The number is the exit code.", "", "```text", inspect.cleandoc(drawn), "```", ""]
    for cls in vars(errors).values():
        if inspect.isclass(cls) and issubclass(cls, WorldgateError):
            first = inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0]
            parts += [f"## {cls.__name__}", "", f"Exit code {cls.exit_code}. {markdown(first)}"]
    return "\n".join(parts)


def unit_table() -> str:
    """The closed table of units."""
    parts = [
        "# Units",
        "",
        "The unit of a stream is one symbol for all channels, or one a channel joined by commas. Empty",
    ]
    parts += [
        "means unknown, which equals nothing. Nothing converts silently.",
        "",
        "| symbol | measures | in base units |",
    ]
    parts += ["|---|---|---|", *(f"| `{u.symbol}` | {u.dimension} | {u.factor:g} |" for u in units.UNITS.values())]
    return "\n".join(parts)


def write(folder: Path) -> None:
    """Write all generated pages into ``folder``, rewriting only what changed."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"commands": commands(), "errors": error_tree(), "units": unit_table()}
    pages |= {f"seam-{name}": seam(name) for name in SEAMS}
    for name, text in pages.items():
        file = folder / f"{name}.md"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
