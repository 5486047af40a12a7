"""``worldgate demo``: the near-miss, on the embedded cell."""

from __future__ import annotations

from pathlib import Path

from worldgate.cli._output import JsonFlag
from worldgate.cli._recipe import SetOption, free, tell


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
    done = recipe.run(out or free(Path("worldgate-demo")), config, Teller())
    return tell("demo", done, as_json=json)
