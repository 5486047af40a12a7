"""Paths that a container names, which may not leave its folder, and the files that are a log's own.

Judged by the path as written, not by where a link leads: a stored log is a folder of links into the object store.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
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


def files_of_parts(parts: Mapping[Path, int]) -> list[tuple[Path, ...]]:
    """For each log the files of the part of a folder that it shares with its neighbours.

    Args:
        parts: folder or file -> how many logs it holds, in the order of the logs. One alone is no part, and of two that
            lie inside each other neither reads alone: nothing is told of these.
    """
    folders = [part for part in parts if not part.is_file()]
    if len(parts) < 2 or any(a != b and a.is_relative_to(b) for a in parts for b in folders):
        return []
    files = {part: (part,) if part.is_file() else files_of([part])[0] for part in parts}
    return [files[part] for part, count in parts.items() for _ in range(count)]
