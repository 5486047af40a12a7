"""What an oracle says of a run, and the limit that an extreme is held against."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from worldgate.core.choices import settle


class Outcome(StrEnum):
    """Of one oracle on one run."""

    MET = "met"
    BROKEN = "broken"
    NOT_MEASURED = "not measured"
    """Its input is missing, NaN somewhere, or in another unit or frame; it says nothing, and never that all is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One oracle's answer."""

    oracle: str
    outcome: Outcome
    metric: str = ""
    """Name of the extreme, with its unit: ``least_clearance_m``."""
    extreme: float | None = None
    """The measured extreme; None where nothing finite was measured."""
    at_s: float | None = None
    """When, in s from the start; None where a single fact speaks for the whole run."""
    entries: int = 0
    """How often a limit was newly broken; one that stays broken counts once."""
    unmeasured: str = ""
    """What was not measured, in words; a broken limit may be known and the rest of the run not."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What the extreme of one signal is held against."""

    oracle: str
    signal: str
    metric: str
    """Name of the extreme, with its unit."""
    value: float
    keep: Literal["above", "below"]
    """The side of the limit that is allowed; the limit itself is."""
    plausible: float
    """A reading beyond it is another unit or no reading at all."""

    def broken(self, reading: float) -> bool:
        """Whether a reading breaks it."""
        return reading < self.value if self.keep == "above" else reading > self.value
