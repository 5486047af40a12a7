"""What commands that start a recipe share: ``--set``, where its workspace goes, how its result is told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from worldgate.cli._output import answer

if TYPE_CHECKING:
    from worldgate.recipes._result import Result

SetOption: TypeAlias = Annotated[
    tuple[str, ...],
    Parameter(name="--set", negative=(), help="Change a key of the configuration: a.b=value."),
]


def free(path: Path) -> Path:
    """The first of ``name``, ``name-2``, … that does not exist: nothing existing is overwritten."""
    found, number = path, 1
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found


def tell(schema: str, done: Result, *, as_json: bool) -> int:
    """Print a recipe's result; 0 if it ended as it expected, refusals that it expected included."""
    body = {"report": done.report, "seconds": round(done.seconds, 1), "as_told": done.as_told, **done.facts}
    lines = [f"report: {done.report}", f"time: {done.seconds:.0f} s", *(f"next: {line}" for line in done.commands)]
    answer(schema, body, *lines, as_json=as_json)
    return 0 if done.as_told else 1
