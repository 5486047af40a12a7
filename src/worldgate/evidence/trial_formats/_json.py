"""JSON that says one thing: no key twice, no NaN, no infinity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from worldgate.core.errors import DataRefused

MOST_BYTES = 200_000_000


def load(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataRefused: not JSON, a key twice in one object, NaN or infinity, or too large.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataRefused("too large for a file of trials", got=f"{path.stat().st_size} bytes", where=path)
        return json.loads(path.read_bytes(), object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError, OSError) as error:
        raise DataRefused("not JSON that says one thing", got=str(error)[:80], where=path) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice in one object")
    return found


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
