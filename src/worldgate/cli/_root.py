"""The root page: every command in its panel, drawn from the table alone so that it comes at once."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence

from worldgate.cli._commands import COMMANDS, PANELS

SUMMARY = "Robot logs to world models, and measured gates before new weights touch hardware."
EPILOGUE = "exit codes: 0 done, 1 failed, 2 usage, 3 the gate did not pass, 4 data refused, 130 interrupted"
OPTIONS = (
    ("--help", "Show this page; after a command, its own page."),
    ("--version", "Show the version."),
    ("--debug", "With any command: add the trace to an error."),
)
WIDEST = 100


def root_page(width: int | None = None) -> str:
    """The page as text.

    Args:
        width: columns; by default the terminal's, at most 100.
    """
    columns = width or min(WIDEST, shutil.get_terminal_size().columns)
    lines = ["Usage: worldgate COMMAND", "", *textwrap.wrap(SUMMARY, columns), ""]
    for panel in PANELS:
        rows = [(command.name, command.line) for command in COMMANDS if command.panel == panel]
        lines += _panel(panel, rows, columns)
    lines += _panel("Options", OPTIONS, columns)
    return "\n".join([*lines, "", *textwrap.wrap(EPILOGUE, columns), ""])


def _panel(title: str, rows: Sequence[tuple[str, str]], columns: int) -> Iterator[str]:
    inner, first = columns - 4, max(len(name) for name, _ in rows) + 2
    yield f"╭─ {title} ".ljust(columns - 1, "─") + "╮"
    for name, line in rows:
        for number, part in enumerate(textwrap.wrap(line, max(20, inner - first))):
            yield f"│ {((name if number == 0 else '').ljust(first) + part).ljust(inner)} │"
    yield f"╰{'─' * (columns - 2)}╯"
