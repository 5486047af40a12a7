"""What the checks of a site report share: which figures are judged, and turning bounds into a result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Protocol

from worldgate.core.evidence import CheckResult, Status
from worldgate.evidence.bootstrap import Interval, least_episodes
from worldgate.evidence.exact import ratio, shown
from worldgate.evidence.gap_bounds import Unmeasured
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.site_bounds import Broken, quotient
from worldgate.evidence.site_report import SiteReport

NEEDS = "needs a site report of held-out episodes that count here (worldgate world evaluate)"


def measured(evidence: GateEvidence) -> SiteReport | None:
    """The site report, if it holds any episode."""
    report = evidence.measured
    return report if report is not None and report.episodes else None


def labels(report: SiteReport, end: str, *, step: int, wanted: Sequence[str]) -> list[str]:
    """What figures with this end are of: those wanted; else all but cameras, and cameras where nothing else is.

    A read-out of pictures says as much about the read-out as about the model.
    """
    found = [name.removesuffix(end) for name in report.figures(end, step=step)]
    if wanted:
        return [label for label in found if label in wanted]
    return [label for label in found if label not in report.cameras] or found


def why_not(report: SiteReport, measure: str) -> str:
    """What a check says that finds nothing to judge."""
    reason = report.not_measured.get(measure, "no episode measures it")
    return f"{measure} was not measured: {reason}"


def guarded(
    check: str, signal: str, statistic: str, required: str, n: int, compute: Callable[[], CheckResult]
) -> CheckResult:
    """The result, FAIL where the model gave NaN or infinity, INCONCLUSIVE where something is missing."""
    try:
        return compute()
    except Broken as error:
        found = f"the model gave NaN or infinity: {error.summary()}"
        return result(check, Status.FAIL, signal, statistic, required=required, n=n, detail=found)
    except Unmeasured as error:
        return inconclusive(check, statistic, error.summary(), signal=signal, required=required, n=n)


def result(
    check: str,
    status: Status,
    signal: str,
    statistic: str,
    *,
    required: str,
    n: int,
    detail: str,
    estimate: str = "",
    bound: str = "",
) -> CheckResult:
    """A result; what a check does not know stays empty."""
    return CheckResult(
        check=check,
        status=status,
        signal=signal,
        statistic=statistic,
        estimate=estimate,
        bound=bound,
        required=required,
        n=n,
        detail=detail,
    )


def enough(held: Sequence[object], alpha: str) -> None:
    """Refuse what so few episodes could never show.

    Raises:
        Unmeasured: fewer than ``least_episodes``.
    """
    least = least_episodes(alpha)
    if len(held) < least:
        raise Unmeasured(f"needs {least} held-out episodes that measure it, has {len(held)}")


class Resampled(Protocol):
    """What a check's config says of the episode bootstrap."""

    @property
    def alpha(self) -> str:
        """One-sided level of each bound."""
        ...

    @property
    def resamples(self) -> int:
        """How many."""
        ...

    @property
    def seed(self) -> int:
        """Of the resampling."""
        ...


def over_episodes(above: Sequence[float], below: Sequence[float], config: Resampled) -> Interval:
    """Bounds of sum(above) / sum(below), each a sum of one episode.

    Raises:
        Unmeasured: so few episodes that they could never show it.
    """
    enough(above, config.alpha)
    return quotient(above, below, alpha=config.alpha, resamples=config.resamples, seed=config.seed)


def in_band(
    check: str,
    signal: str,
    statistic: str,
    report: SiteReport,
    compute: Callable[[], tuple[Interval, str]],
    *,
    low: str | None = None,
    high: str | None = None,
) -> CheckResult:
    """PASS if the interval lies within [low, high], FAIL if it lies beyond one end, else INCONCLUSIVE.

    Args:
        check: name of the check.
        signal: what it is about.
        statistic: in words.
        report: whose episodes they are.
        compute: gives the interval and a note for people; raises what :func:`guarded` turns into a result.
        low: the least that is required; None: nothing.
        high: the largest.
    """
    ends = (f">= {low}" if low is not None else "", f"<= {high}" if high is not None else "")
    required = " and ".join(end for end in ends if end)

    def judged() -> CheckResult:
        found, note = compute()
        return _placed(check, signal, statistic, found, low=low, high=high, required=required, note=note)

    return guarded(check, signal, statistic, required, len(report.episodes), judged)


def _placed(
    check: str,
    signal: str,
    statistic: str,
    found: Interval,
    *,
    low: str | None,
    high: str | None,
    required: str,
    note: str,
) -> CheckResult:
    """Where an interval lies; the bound that is told is the one nearer to breaking its end."""
    lower, upper = found.lower, found.upper
    slack = [
        (Fraction(bound) - ratio(end)) * sign
        for bound, end, sign in ((lower, low, 1), (upper, high, -1))
        if end is not None
    ]
    tightest = slack.index(min(slack))
    bound = [b for b, end in ((lower, low), (upper, high)) if end is not None][tightest]
    out = (high is not None and Decimal(lower) > Decimal(high)) or (low is not None and Decimal(upper) < Decimal(low))
    status = Status.PASS if min(slack) >= 0 else Status.FAIL if out else Status.INCONCLUSIVE
    span = f"interval [{lower}, {upper}] from {found.n} episodes"
    more = "needs more held-out episodes: " if status is Status.INCONCLUSIVE else ""
    return result(
        check,
        status,
        signal,
        statistic,
        required=required,
        n=found.n,
        detail=f"{more}{span}{'; ' + note if note else ''}",
        estimate=shown(found.estimate),
        bound=bound,
    )
