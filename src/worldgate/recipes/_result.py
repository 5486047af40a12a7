"""What every recipe's ``run`` returns, and the command line prints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came out."""

    report: Path
    """The page to open."""
    workspace: Path
    seconds: float
    """How long it took."""
    as_told: bool
    """Whether it ended as the recipe expected, refusals that it expected included."""
    facts: dict[str, Any]
    """What came out, as plain JSON."""
    commands: tuple[str, ...]
    """What to try next."""
