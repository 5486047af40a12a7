"""What several checks share: judging an interval over episodes against a limit."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from worldgate.core.evidence import CheckResult, Status
from worldgate.evidence.bootstrap import Interval, least_episodes
from worldgate.evidence.exact import shown
from worldgate.evidence.gap_bounds import Unmeasured
from worldgate.evidence.gap_report import GapReport
from worldgate.evidence.gate_evidence import inconclusive


def judge_interval(
    check: str,
    statistic: str,
    report: GapReport,
    signal: str,
    *,
    minimum: str,
    alpha: str,
    compute: Callable[[], Interval],
) -> CheckResult:
    """PASS if the lower bound exceeds the minimum, FAIL if the upper bound does not, else INCONCLUSIVE.

    A model that gave NaN or infinity fails. Values that are missing, or fewer episodes than could ever show it, are
    inconclusive.
    """
    n, required, least = len(report.episodes), f"> {minimum}", least_episodes(alpha)

    def result(status: Status, detail: str, interval: Interval | None = None) -> CheckResult:
        return CheckResult(
            check=check,
            status=status,
            signal=signal,
            statistic=statistic,
            estimate=shown(interval.estimate) if interval else "",
            bound=interval.lower if interval else "",
            required=required,
            n=interval.n if interval else n,
            detail=detail,
        )

    broken = sum(row.signals[signal].nonfinite for row in report.episodes if signal in row.signals)
    if broken:
        return result(Status.FAIL, f"the model gave NaN or infinity in {broken} windows")
    if n < least:
        return result(Status.INCONCLUSIVE, f"needs {least} held-out episodes, has {n}")
    try:
        interval = compute()
    except Unmeasured as error:
        return inconclusive(check, statistic, error.summary(), signal=signal, required=required, n=n)
    if interval.n < least:
        return result(Status.INCONCLUSIVE, f"needs {least} held-out episodes that measure it, has {interval.n}")
    span = f"interval [{interval.lower}, {interval.upper}] of width {shown(interval.width)} from {interval.n} episodes"
    if Decimal(interval.lower) > Decimal(minimum):
        return result(Status.PASS, span, interval)
    if Decimal(interval.upper) <= Decimal(minimum):
        return result(Status.FAIL, f"the upper bound {interval.upper} does not exceed {minimum} either", interval)
    return result(Status.INCONCLUSIVE, f"needs more held-out episodes: {span}", interval)
