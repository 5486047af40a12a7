"""How far ahead may this world model be believed?

H(epsilon) is the largest horizon up to which the error stays within epsilon with at least the wanted probability, by an
exact lower bound over episodes. Passes if it reaches the required horizon (at least one step); the decision carries
H, and imagination beyond it is no evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from worldgate.core.evidence import CheckResult, Status
from worldgate.evidence.exact import percent, ratio, shown
from worldgate.evidence.gap_bounds import Horizon, Unmeasured, valid_horizon
from worldgate.evidence.gap_report import GapReport, SignalInfo
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.statistics import mean_lower, zero_failure_trials

CARD = {
    "line": "valid horizon H(epsilon): error within epsilon up to h, with a lower bound of at least p",
    "inputs": "a gap report with an epsilon for each signal",
    "source": "Chernoff-Hoeffding bound over episodes (Hoeffding 1963); fixed-sequence test over horizons",
}
GATE = "admission"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What is required."""

    probability: str = "0.8"
    """Least probability that the error stays within epsilon."""
    alpha: str = "0.05"
    """One-sided level of the bound."""
    required_s: float = 0.0
    """Horizon that must be reached, in seconds; 0: one step."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result for each signal; ``estimate`` is H in seconds."""
    report = evidence.gap
    if report is None or not report.episodes:
        return (inconclusive("horizon", "H(epsilon)", "needs a gap report of held-out episodes that count here"),)
    signals = evidence.judged()
    if not signals:
        return (inconclusive("horizon", "H(epsilon)", "no signal to judge", n=len(report.episodes)),)
    return tuple(_one(config, report, signal) for signal in signals)


def _one(config: Config, report: GapReport, signal: SignalInfo) -> CheckResult:
    sure = percent(1 - ratio(config.alpha))
    needed = report.step_of(config.required_s)
    statistic = f"lower {sure} bound of P(error up to h within epsilon), h = {shown(needed / report.rate_hz)} s"
    required = f">= {config.probability}"
    try:
        found = valid_horizon(report, signal.name, probability=config.probability, alpha=config.alpha)
    except Unmeasured as error:
        return inconclusive(
            "horizon", statistic, error.summary(), signal=signal.name, required=required, n=len(report.episodes)
        )
    status = Status.PASS if found.steps >= needed else _short(config, report, signal, needed)
    return CheckResult(
        check="horizon",
        status=status,
        signal=signal.name,
        statistic=statistic,
        estimate=f"{shown(found.seconds)} s",
        bound=found.bounds[min(needed, len(found.bounds)) - 1],
        required=required,
        n=found.n,
        detail=_detail(config, signal, found, status),
    )


def _short(config: Config, report: GapReport, signal: SignalInfo, step: int) -> Status:
    """FAIL if even the upper bound at the required step is too low, else INCONCLUSIVE."""
    rows = [row.signals[signal.name] for row in report.episodes if signal.name in row.signals]
    if step > report.steps:
        return Status.INCONCLUSIVE
    out = [1 - Fraction(r.within[step - 1], r.measured[step - 1]) for r in rows if r.measured[step - 1] > 0]
    upper = 1 - Fraction(mean_lower(out, config.alpha))
    return Status.FAIL if upper < ratio(config.probability) else Status.INCONCLUSIVE


def _detail(config: Config, signal: SignalInfo, found: Horizon, status: Status) -> str:
    epsilon = f"epsilon {shown(signal.epsilon or 0.0)} {signal.unit}".rstrip()
    if status is not Status.INCONCLUSIVE:
        return f"H = {shown(found.seconds)} s at {epsilon}, from {found.n} episodes"
    clean = zero_failure_trials(1 - ratio(config.probability), config.alpha)
    return f"H = {shown(found.seconds)} s at {epsilon}; needs at least {clean} clean episodes, has {found.n}"
