"""How a recipe tells what it does while it runs; the command line draws it, a test listens to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from worldgate.core.progress import Progress, silent


class Story(Protocol):
    """Where a recipe speaks to."""

    def scene(self, title: str) -> None:
        """A new part begins."""
        ...

    def say(self, line: str) -> None:
        """One thing that came out."""
        ...

    def progress(self, what: str) -> AbstractContextManager[Progress]:
        """Something longer than two seconds."""
        ...


class Quiet:
    """Says nothing; the default of a library call."""

    def scene(self, title: str) -> None:
        """Nothing."""

    def say(self, line: str) -> None:
        """Nothing."""

    @contextmanager
    def progress(self, what: str) -> Iterator[Progress]:
        """Nothing."""
        yield silent
