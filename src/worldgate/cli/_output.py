"""How commands speak: the answer on stdout as a table or one JSON object, progress on stderr.

``--json`` prints one object with ``schema`` (``worldgate.<what>``) and ``version``; a change that a reader could trip
over raises the version. ``NO_COLOR`` and pipes get plain lines; rich is imported when something is printed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import Parameter

from worldgate.core.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console

JsonFlag: TypeAlias = Annotated[
    bool, Parameter(name="--json", negative=(), show_default=False, help="Print one JSON object.")
]
PIPE_WIDTH = 200
_PULSE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows for people; columns carry their unit in the header: ``span [s]``."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str = ""


def console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr; a pipe gets a fixed wide one, so that no value is cut."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, width=width, highlight=False, soft_wrap=not stream.isatty())


def answer(schema: str, body: Mapping[str, Any], *parts: Table | str, as_json: bool, version: int = 1) -> None:
    """Print the answer of a command, once.

    Args:
        schema: what the JSON object is: ``doctor`` becomes ``worldgate.doctor``.
        body: the answer as data; int64 times under keys ending in ``_ns`` become decimal strings.
        parts: the same for people, in order.
        as_json: print the object instead.
        version: of the object's shape.
    """
    if as_json:
        from worldgate.core.digest import to_json

        whole = {"schema": f"worldgate.{schema}", "version": version, **body}
        sys.stdout.write(json.dumps(to_json(whole), ensure_ascii=False, indent=2) + "\n")
        return
    out = console()
    for part in parts:
        if isinstance(part, Table):
            _print_table(out, part)
        else:
            out.print(part, markup=False)


def _print_table(out: Console, table: Table) -> None:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(title=table.title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        drawn.add_column(Text(column), overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(str(cell)) for cell in row))
    out.print(drawn)


def note(text: str) -> None:
    """Say something beside the answer: on stderr."""
    console(stderr=True).print(text, markup=False)


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """One line on stderr with what, done, rate, time left and the note; in a pipe a plain line every ten seconds."""
    err = console(stderr=True)
    if not err.is_terminal:
        yield _pulse(what)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, TextColumn("{task.fields[note]}"), console=err, transient=True) as bar:
        task = bar.add_task(what, total=None, note="")

        def draw(done: int, total: int, note: str = "") -> None:
            bar.update(task, completed=done, total=total or None, note=note)

        yield draw


def _pulse(what: str) -> Progress:
    last = time.monotonic()

    def line(done: int, total: int, note: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PULSE_S:
            last = now
            of = f"/{total}" if total else ""
            sys.stderr.write(f"{what} {done}{of} {note}".rstrip() + "\n")

    return line
