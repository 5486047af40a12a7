"""``worldgate demo``: the near-miss, on the embedded cell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from worldgate.cli._output import JsonFlag, answer

SetOption = Annotated[
    tuple[str, ...],
    Parameter(name="--set", negative=(), consume_multiple=False, help="Change a key of the configuration: a.b=value."),
]


def demo(*, quick: bool = False, out: Path | None = None, set_: SetOption = (), json: JsonFlag = False) -> int:
    """See the whole loop turn once, from logs to a signed decision that can say no.

    For example:

        worldgate demo
        worldgate demo --quick --out /tmp/first-look

    It records its own logs in the embedded cell, so it needs no data, no GPU and no network; the report says on every
    page that the cell stands in for the field. Exit code 0 if every scene ended as the story says.

    Args:
        quick: Only what needs no torch: record, gate, as-of, tamper, verify. About a minute.
        out: The workspace to make; by default worldgate-demo, or the next free name.
    """
    from worldgate.cli._story import Teller
    from worldgate.core.config import resolve
    from worldgate.recipes import demo as recipe

    base = recipe.QUICK if quick else recipe.DemoConfig()
    config = resolve(base, sets=set_).value
    done = recipe.run(out or _free(Path("worldgate-demo")), config, Teller())
    body = {"report": done.report, "seconds": round(done.seconds, 1), "as_told": done.as_told, **done.facts}
    lines = [
        f"report: {done.report}",
        f"time: {done.seconds:.0f} s",
        *(f"next: {command}" for command in done.commands),
    ]
    answer("demo", body, *lines, as_json=json)
    return 0 if done.as_told else 1


def _free(path: Path) -> Path:
    """The first of ``name``, ``name-2``, ... that does not exist: nothing existing is overwritten."""
    found, number = path, 1
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found
