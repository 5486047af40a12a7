"""Actions that a user gives as a file: one row a step, one column a channel.

Shape legend: K steps, A action channels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from worldgate.core.errors import NotFound, UsageError
from worldgate.core.streams import FloatArray


def read_actions(path: Path) -> FloatArray:
    """(K, A) float32 of a ``.npy`` array or of a CSV file, with or without a line of names.

    Raises:
        NotFound: no such file.
        UsageError: neither form, not a table of numbers, or values that are not finite.
    """
    if not path.is_file():
        raise NotFound("no such file of actions", got=str(path), hint="recorded, none, or a .csv or .npy file")
    try:
        if path.suffix == ".npy":
            held = np.load(path, allow_pickle=False)
        else:
            lines = path.read_text(encoding="utf-8").splitlines()
            named = bool(lines) and not _numbers(lines[0])
            held = np.loadtxt(lines[named:], delimiter=",", ndmin=2) if lines[named:] else np.zeros((0, 0))
        values = np.asarray(held, np.float32)
    except (ValueError, UnicodeDecodeError) as error:
        hint = "rows of numbers with commas between them, or an array of numpy"
        raise UsageError("not a table of actions", got=str(error)[:80], where=path, hint=hint) from error
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        hint = "one row a step, one column a channel, no NaN"
        raise UsageError("not a table of actions", got=f"shape {values.shape}", where=path, hint=hint)
    return values


def _numbers(line: str) -> bool:
    try:
        [float(part) for part in line.split(",")]
    except ValueError:
        return False
    return True
