"""Progress of long work: libraries report through a plain callable, the command line draws it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What a stage longer than two seconds calls as it goes."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Report ``done`` of ``total`` units (0: unknown) and the figures of the moment: ``loss 0.031, 41 steps/s``."""
        ...


def silent(done: int, total: int, note: str = "") -> None:
    """Report nothing: the default of a library call."""
