"""What a file of trials says, before it is held against suite, plan and ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from worldgate.core.streams import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the caller adds to a file that cannot say it."""

    slot: str = ""
    """``site/robot/arm`` of every trial, for files that do not name one."""
    score: str = ""
    """Which of a file's scores is success; empty: the format's own choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One trial as a file tells it."""

    where: str
    """``file:line`` or ``file:key``."""
    scenario: str
    """Name or digest."""
    slot: str
    success: bool
    violations: int | None
    """None: the file does not measure the envelope."""
    started_ns: int
    seed: int | None = None
    """None: the file does not say."""
    excluded: str = ""
    log: str = ""
    row: int = 0
    """Of the plan, from 1; 0: the file does not say."""
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A whole file."""

    entries: tuple[Entry, ...]
    origin: Origin | None = None
    """Where it ran, if the file says so."""
    checkpoint: str = ""
    """What ran, as the file names it; empty: it does not say."""
