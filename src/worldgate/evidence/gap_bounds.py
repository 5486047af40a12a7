"""What a gap report shows, with bounds: skill, action sensitivity, valid horizon. Pure functions of the table.

The unit is the episode; windows of one episode only sharpen its number. With few episodes the interval is wide, and the
interval says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from worldgate.core.errors import UsageError
from worldgate.evidence.bootstrap import RESAMPLES, Interval, ratio_interval
from worldgate.evidence.exact import Direction, Number, outward
from worldgate.evidence.gap_report import GapReport
from worldgate.evidence.statistics import mean_lower


class Unmeasured(UsageError):
    """The report lacks what a bound needs: no episodes, no control, null values."""

    def summary(self) -> str:
        """One line for a check's detail."""
        return ": ".join(str(part) for part in (self.what, self.got, self.where) if part is not None)


def column(report: GapReport, signal: str, contender: str, step: int) -> list[float]:
    """One number an episode, at a step from 1.

    Raises:
        Unmeasured: a step beyond the report, a curve that is missing, or a value that is null.
    """
    if not 1 <= step <= report.steps:
        raise Unmeasured("beyond the horizon of this report", got=f"step {step}", where=f"{report.steps} steps")
    values: list[float] = []
    for row in report.episodes:
        errors = row.signals.get(signal)
        curve = errors.curve(contender) if errors is not None else ()
        value = curve[step - 1] if curve else None
        if errors is not None and errors.measured[step - 1] == 0 and errors.nonfinite == 0 and curve:
            continue
        if value is None:
            raise Unmeasured(f"{contender} was not measured", got=row.name, where=f"{signal} step {step}")
        values.append(value)
    if not values:
        raise Unmeasured("no episode measures this", where=f"{signal} step {step}")
    return values


def skill(
    report: GapReport,
    signal: str,
    baseline: str,
    step: int,
    *,
    alpha: Number,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """1 - error of the model / error of the baseline: above 0 is better than the baseline.

    Raises:
        Unmeasured: null or missing values.
        UsageError: fewer than two episodes.
    """
    model, other = column(report, signal, "model", step), column(report, signal, baseline, step)
    r = ratio_interval(model, other, alpha=alpha, resamples=resamples, seed=seed)
    return Interval(estimate=1 - r.estimate, lower=_one_minus(r.upper, "down"), upper=_one_minus(r.lower, "up"), n=r.n)


def sensitivity(
    report: GapReport, signal: str, step: int, *, alpha: Number, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Error under another window's actions / error under the recorded ones: 1 means that actions are ignored.

    Raises:
        Unmeasured: no control, null or missing values.
        UsageError: fewer than two episodes.
    """
    shuffled, model = column(report, signal, "shuffled", step), column(report, signal, "model", step)
    return ratio_interval(shuffled, model, alpha=alpha, resamples=resamples, seed=seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Horizon:
    """H(epsilon) of one signal."""

    steps: int
    """0: not even the first step."""
    seconds: float
    n: int
    """Episodes."""
    bounds: tuple[str, ...]
    """Lower bound of P(error within epsilon up to this step), for each step tried: up to the first that is too low."""


def valid_horizon(report: GapReport, signal: str, *, probability: Number, alpha: Number) -> Horizon:
    """The largest h such that P(error up to h <= epsilon) has a lower bound of at least ``probability``.

    An episode counts as the share of its windows that stayed within; the bound on their mean is Chernoff-Hoeffding's,
    exact for any dependence inside an episode. Steps are tried in order and the first failure ends the search, so no
    correction for several steps is needed (fixed-sequence test).

    Raises:
        Unmeasured: the signal has no epsilon, or no episode measured it.
    """
    if report.signal(signal).epsilon is None:
        raise Unmeasured("no epsilon was given for this signal", got=signal, hint="set it in the site's contract")
    rows = [row.signals[signal] for row in report.episodes if signal in row.signals]
    rows = [r for r in rows if max(r.measured, default=0) > 0 or r.nonfinite]
    if not rows:
        raise Unmeasured("no episode measures this", got=signal)
    bounds: list[str] = []
    wanted, reached = Decimal(str(probability)), 0
    for step in range(1, report.steps + 1):
        shares = [Fraction(r.within[step - 1], r.measured[step - 1]) for r in rows if r.measured[step - 1] > 0]
        bounds.append(mean_lower(shares, alpha))
        if Decimal(bounds[-1]) < wanted:
            break
        reached = step
    return Horizon(steps=reached, seconds=reached / report.rate_hz, n=len(rows), bounds=tuple(bounds))


def _one_minus(bound: str, direction: Direction) -> str:
    return outward(1 - Fraction(bound), direction)
