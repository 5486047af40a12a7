"""A gap report as one table for people: at a few horizons, error beside the baselines, skill, action sensitivity, H(ε).

Bounds are those that gates compute (``gap_bounds``), at the same default levels; what cannot be measured is left out of
the row and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from worldgate.core.errors import UsageError
from worldgate.evidence.gap_bounds import column, sensitivity, skill, valid_horizon
from worldgate.evidence.gap_report import GapReport

T = TypeVar("T")

HORIZONS_S = (0.5, 1.0)
BASELINES = ("hold", "velocity")
PROBABILITY, ALPHA = "0.8", "0.05"
"""Of H(ε) and of every bound; the defaults of the shipped gate policies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRow:
    """One signal at one horizon."""

    signal: str
    unit: str
    seconds: float
    model: float | None
    """Mean error over episodes, in ``unit``."""
    hold: float | None
    """The same for hold-last (copy-last for video)."""
    velocity: float | None
    """The same for constant velocity; None for video."""
    skill: float | None
    """1 - error / error of the better baseline."""
    skill_lower: str
    """Its lower bound; empty where episodes are too few."""
    sensitivity: float | None
    """Error under another window's actions / error: 1 means that actions are ignored."""
    horizon_s: float | None
    """H(ε); None where no ε was given."""
    episodes: int


def summarise(report: GapReport, horizons_s: Sequence[float] = HORIZONS_S) -> tuple[GapRow, ...]:
    """Every signal at every horizon that the report reaches, its last step included."""
    steps = sorted({min(report.steps, max(1, round(s * report.rate_hz))) for s in horizons_s})
    return tuple(_row(report, info.name, step) for info in report.signals for step in steps)


def _row(report: GapReport, signal: str, step: int) -> GapRow:
    means = {who: _measured(partial(_mean, report, signal, who, step)) for who in ("model", *BASELINES)}
    known = [(error, who) for who in BASELINES if (error := means[who]) is not None]
    best = min(known)[1] if known else ""
    bound = _measured(lambda: skill(report, signal, best, step, alpha=ALPHA)) if best else None
    felt = _measured(lambda: sensitivity(report, signal, step, alpha=ALPHA))
    reach = _measured(lambda: valid_horizon(report, signal, probability=PROBABILITY, alpha=ALPHA))
    return GapRow(
        signal=signal,
        unit=report.signal(signal).unit,
        seconds=step / report.rate_hz,
        model=means["model"],
        hold=means["hold"],
        velocity=means["velocity"],
        skill=float(bound.estimate) if bound is not None else None,
        skill_lower=str(bound.lower) if bound is not None else "",
        sensitivity=float(felt.estimate) if felt is not None else None,
        horizon_s=reach.seconds if reach is not None else None,
        episodes=len(report.episodes),
    )


def _mean(report: GapReport, signal: str, contender: str, step: int) -> float:
    values = column(report, signal, contender, step)
    return sum(values) / len(values)


def _measured(compute: Callable[[], T]) -> T | None:
    """What a bound says, or None where the report cannot say it: that is the answer, not a failure."""
    try:
        return compute()
    except UsageError:
        return None
