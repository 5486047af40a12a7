"""``worldgate run``: a whole run, by name or as a TOML file."""

from __future__ import annotations

from pathlib import Path

from worldgate.cli._output import JsonFlag
from worldgate.cli._recipe import SetOption, free, tell


def run(recipe: str, /, *, out: Path | None = None, set_: SetOption = (), json: JsonFlag = False) -> int:
    """Run a recipe from start to report.

    For example:

        worldgate run droid --set data.root=recordings
        worldgate run nightly.toml --out nightly-workspace

    Exit code 0 if it ended as the recipe expected, refusals that it expected included.

    Args:
        recipe: A recipe of `worldgate list recipes`, or a TOML file that names one under the key recipe.
        out: The workspace to make; else worldgate-RECIPE, or the next free name.
    """
    from worldgate.cli._story import Teller
    from worldgate.recipes._resolve import find

    found = find(recipe, sets=set_)
    done = found.module.run(out or free(Path(f"worldgate-{found.name}")), found.config.value, Teller())
    return tell("run", done, as_json=json)
