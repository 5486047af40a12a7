"""What a contract's section ``[duplicates]`` says: what is done about copies and likeness, and what counts as such."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from worldgate.core.choices import settle
from worldgate.core.errors import ConfigError

PIXELS: Final = "pixels"
"""The encoder that needs no model."""


class Policy(StrEnum):
    """What a snapshot does about logs that hold the same evidence."""

    IGNORE = "ignore"
    """Nothing is looked for; byte-identical evidence on two sides of a split still refuses."""
    FLAG = "flag"
    """Copies are looked for and recorded."""
    GROUP = "group"
    """Copies stand in one split."""
    DROP = "drop"
    """One of each group of copies is kept, the others are left out with the reason."""
    REFUSE = "refuse"
    """A dataset with copies on two sides of a split is refused."""


class Keep(StrEnum):
    """Which log of a group of copies is kept; of equals, the one ingested first."""

    LONGEST = "longest"
    FIRST = "first"
    """Ingested first."""
    FEWEST_FINDINGS = "fewest-findings"
    """In which readers and checks noticed least; of equals, the longest."""
    REAL_FIRST = "real-first"
    """Real before simulated before imagined; of equals, the longest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchConfig:
    """What counts as the same evidence. The defaults are those that ``benchmarks/dedup.py`` measures."""

    coverage: float = 0.5
    """Least share of what moves in the shorter log that must be found in the other."""
    numbers: float = 0.08
    """Greatest difference of two streams, as a share of their spread over the span."""
    pictures: float = 0.8
    """Least correlation of what moves in two cameras, over 1.2 s."""
    floor: float = 1.2
    """Least change of a picture over 0.4 s that counts as motion, in grey levels (RMS over 32 x 32 averages)."""
    votes: int = 3
    """Least windows that must point to the same offset before a pair is compared; fewer for logs of a few windows."""
    nearest: int = 8
    """Neighbours that each window votes for."""
    partners: int = 16
    """Logs that each log is compared with, those with most votes; 0: all that have votes enough."""

    def __post_init__(self) -> None:
        shares = (self.coverage, self.numbers, self.pictures)
        small = min(self.votes, self.nearest) < 1 or self.partners < 0
        if any(not 0 < share <= 1 for share in shares) or self.floor <= 0 or small:
            raise ConfigError("shares lie above 0 and up to 1, counts from 1", got=shares, where="duplicates.match")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlikeConfig:
    """What counts as alike."""

    least: float = 0.9
    """Least likeness of two logs, from -1 to 1. It depends on the encoder: look at the scores before you trust it."""
    nearest: int = 16
    """Pictures of other logs that each picture is compared with, to find the pairs of logs that are compared whole."""

    def __post_init__(self) -> None:
        if not 0 < self.least <= 1 or self.nearest < 1:
            raise ConfigError("a likeness lies above 0 and up to 1, neighbours count from 1", got=self.least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """How logs that look alike to an encoder are treated, apart from copies."""

    policy: Policy = Policy.IGNORE
    encoder: str = PIXELS
    """``pixels``, or the digest of a world model, its first 12 characters at least. A name could mean another model
    tomorrow."""
    match: AlikeConfig = field(default_factory=AlikeConfig)

    def __post_init__(self) -> None:
        settle(self)
        if self.encoder != PIXELS and not re.fullmatch(r"[0-9a-f]{12,64}", self.encoder):
            raise ConfigError(
                "an encoder is pixels, or the digest of a world model, 12 characters and more",
                got=ascii(self.encoder),
                where="duplicates.alike.encoder",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """How copies are treated when a dataset is made, and what looks alike."""

    policy: Policy = Policy.IGNORE
    keep: Keep = Keep.LONGEST
    match: MatchConfig = field(default_factory=MatchConfig)
    alike: Alike = field(default_factory=Alike)

    def __post_init__(self) -> None:
        settle(self)
