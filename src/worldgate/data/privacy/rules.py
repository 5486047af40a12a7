"""What a contract's privacy section says, and whether a log fulfils it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from worldgate.core.choices import settle
from worldgate.core.digest import digest_json
from worldgate.core.errors import ConfigError

MASKED = "masked"
"""Fact of a log whose pictures were painted over: the digest of the rules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRule:
    """What is painted over in one camera's pictures."""

    detectors: tuple[str, ...] = ("persons", "faces")
    """Entries of the seam ``detectors``; what any of them finds is hidden."""
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Detector -> values for its own Config."""
    margin: float = 0.15
    """How much each box grows on every side, as a share of its own size."""
    hold_s: float = 0.5
    """How long before and after a hit its box stays hidden: a detector that blinks shows nobody."""

    def __post_init__(self) -> None:
        settle(self)
        if not self.detectors:
            raise ConfigError("a mask without a detector", where="privacy.mask")
        if self.margin < 0 or self.hold_s < 0:
            got = f"margin {self.margin}, hold_s {self.hold_s}"
            raise ConfigError("margin and hold_s are 0 or more", got=got, where="privacy.mask")
        strange = sorted(set(self.params) - set(self.detectors))
        if strange:
            raise ConfigError("parameters of a detector that is not listed", got=strange, where="privacy.mask")


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """What must not be there, and what must not be seen."""

    forbidden: tuple[str, ...] = ()
    """Streams, or patterns of them, whose presence refuses a log and which are never exported: a camera that faces
    people, a microphone's transcript."""
    forbidden_facts: tuple[str, ...] = ()
    """Facts, or patterns of them, whose presence refuses a log, and which no export of a log tells: who drove it, a
    caption that names somebody."""
    mask: Mapping[str, MaskRule] = field(default_factory=dict)
    """Camera, or a pattern of cameras such as ``observation.images.*`` -> what is painted over there at ingest."""
    sealed_for: tuple[str, ...] = ()
    """age recipients (``age1...``) who alone can open the raw; empty: the raw is not kept."""
    raw_retention: str = "raw"
    """Retention class of the sealed raw."""

    def __post_init__(self) -> None:
        settle(self)
        odd = [text for text in self.sealed_for if not text.startswith("age1")]
        if odd:
            raise ConfigError("not an age recipient", got=odd[0][:40], where="privacy.sealed_for", hint="age1...")

    def digest(self) -> str:
        """Identity of what is painted over: margins, detectors and their parameters."""
        return digest_json(dict(self.mask))

    def forbids(self, streams: Iterable[str]) -> list[str]:
        """Those of the streams that must not be there at all, sorted."""
        return sorted({s for s in streams for pattern in self.forbidden if fnmatchcase(s, pattern)})

    def forbids_facts(self, facts: Iterable[str]) -> list[str]:
        """Those of the facts that must not be there at all, sorted."""
        return sorted({f for f in facts for pattern in self.forbidden_facts if fnmatchcase(f, pattern)})

    def rule(self, stream: str) -> MaskRule | None:
        """The rule of a camera: its own, else the first pattern that fits; None: it may be seen."""
        if stream in self.mask:
            return self.mask[stream]
        return next((rule for pattern, rule in self.mask.items() if fnmatchcase(stream, pattern)), None)

    def unmet(self, cameras: Iterable[str], facts: Mapping[str, object]) -> list[str]:
        """Cameras that these rules hide and that this log shows."""
        if not self.mask or facts.get(MASKED) == self.digest():
            return []
        return [camera for camera in cameras if self.rule(camera) is not None]
