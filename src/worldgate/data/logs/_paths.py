"""Paths that a container names: they may not leave its folder.

Judged by the path as written, not by where a link leads: a stored log is a folder of links into the object store.
"""

from __future__ import annotations

import os
from pathlib import Path


def inside(root: Path, relative: str) -> Path | None:
    """``root / relative``, or None where that is not below ``root``."""
    made = Path(os.path.normpath(root / relative))
    return made if made.is_relative_to(os.path.normpath(root)) else None
