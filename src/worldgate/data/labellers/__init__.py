"""The seam of automatic labellers: each file derives one label of the shipped schema ``automatic`` from telemetry.

A labeller module holds a literal ``CARD``, a frozen ``Config`` whose every field has a default, and two functions:

``reads(log: Log, config: Config) -> tuple[str, ...]``
    The streams of this log that it would read; empty where it can say nothing of it.
``label(log: Log, config: Config) -> tuple[Label, ...]``
    What it finds, on the clock of the streams it reads. Called only where ``reads`` is not empty.

A labeller never reads events, nor ``observation.environment_state``, unless the ``inputs`` of its card say so: those
are what it is judged by. Its labels are recorded as automatic, with the digest of its code and configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, Protocol, cast

from worldgate.core.config import decode
from worldgate.core.seams import load
from worldgate.core.streams import Log
from worldgate.data.labelling.sets import Label


class Labeller(Protocol):
    """What a module of this seam is."""

    Config: type

    def reads(self, log: Log, config: Any) -> tuple[str, ...]:
        """Streams that it would read; empty where it can say nothing."""
        ...

    def label(self, log: Log, config: Any) -> tuple[Label, ...]:
        """What it finds."""
        ...


def prepare(name: str, params: Mapping[str, Any] | None = None, *, where: str = "labellers") -> tuple[Labeller, Any]:
    """A labeller and its decoded configuration.

    Raises:
        NotFound: no such labeller; the hint is the nearest name.
        ConfigError: a parameter that its ``Config`` does not have.
    """
    module: ModuleType = load("labellers", name)
    return cast("Labeller", module), decode(module.Config, params or {}, where=where)
