"""Draws what a recipe tells: scenes and findings as lines on stderr, long steps as one progress line each."""

from __future__ import annotations

from contextlib import AbstractContextManager

from worldgate.cli._output import note, progress
from worldgate.core.progress import Progress


class Teller:
    """Fulfils the ``Story`` of recipes."""

    def scene(self, title: str) -> None:
        """A heading."""
        note(f"\n{title}")

    def say(self, line: str) -> None:
        """One indented line."""
        note(f"  {line}")

    def progress(self, what: str) -> AbstractContextManager[Progress]:
        """A bar, or a pulse in a pipe."""
        return progress(f"  {what}")
