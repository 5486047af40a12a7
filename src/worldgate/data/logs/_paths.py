"""Paths that a container names, which may not leave its folder, and the files that are a log's own.

Judged by the path as written, not by where a link leads: a stored log is a folder of links into the object store.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def inside(root: Path, relative: str) -> Path | None:
    """``root / relative``, or None where that is not below ``root``."""
    made = Path(os.path.normpath(root / relative))
    return made if made.is_relative_to(os.path.normpath(root)) else None


def files_of(folders: Sequence[Path]) -> list[tuple[Path, ...]]:
    """The files below each folder; nothing where one lies inside another, and so its files belong to two."""
    if any(a != b and a.is_relative_to(b) for a in folders for b in folders):
        return []
    return [tuple(sorted(file for file in folder.rglob("*") if file.is_file())) for folder in folders]
