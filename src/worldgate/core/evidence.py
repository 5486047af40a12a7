"""Trials, checks and decisions: what gates read and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias, get_args

from worldgate.core.choices import settle
from worldgate.core.streams import Origin

Stage: TypeAlias = Literal["canary", "site", "fleet"]
"""How far a release may go: a few arms under supervision, a whole site, every site. Smaller first."""


def covers(stage: Stage, wanted: Stage) -> bool:
    """Whether what was said for a stage holds for another: for itself and for smaller ones."""
    order = get_args(Stage)
    return bool(order.index(wanted) <= order.index(stage))


class Status(StrEnum):
    """What a check says. INCONCLUSIVE means hold: no answer is guessed."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


class Verdict(StrEnum):
    """What a gate says."""

    ADMIT = "ADMIT"
    """An admission gate passed: this world model may serve as evidence within the decision's scope and horizon."""
    PROMOTE = "PROMOTE"
    """A promotion gate passed: this release may run on the slots in the decision's scope."""
    HOLD = "HOLD"
    """At least one blocking check is inconclusive and none failed."""
    REJECT = "REJECT"
    """At least one blocking check failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One run of a release on one scenario."""

    scenario: str
    release: str
    """Digest of the release."""
    executor: Origin
    """real, simulated, or imagined in a world model."""
    slot: str
    seed: int
    success: bool
    violations: int
    """Envelope violations: clearance or force beyond the site's limits."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    log: str = ""
    """Digest of the recorded log."""
    excluded: str = ""
    """Why the trial does not count, as registered in the plan; empty: it counts."""
    started_ns: int = 0
    plan: str = ""
    """Digest of the plan under which it was run; empty: none, and no gate counts it as a success."""
    row: int = 0
    """Which row of the plan, from 1; 0: none."""
    world: str = ""
    """Digest of the world model that imagined it; empty: none did."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check of a gate: what was measured, its bound, and what was required."""

    check: str
    status: Status
    signal: str
    """Which stream or quantity; empty for the whole subject."""
    statistic: str
    """In words: ``lower 95 % bound of success``."""
    estimate: str
    bound: str
    """Rounded outward to 12 significant digits, so that another library version recomputes the same bytes."""
    required: str
    n: int
    """Independent units: scenes or episodes."""
    detail: str = ""
    blocking: bool = True
    """Whether the verdict rests on it; else it is told and decides nothing."""
    waived: str = ""
    """Digest of the waiver that stands in for a pass; the status stays what was found."""

    def __post_init__(self) -> None:
        settle(self)
