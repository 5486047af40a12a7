"""Does the world model use its actions?

The error under the actions of another window, divided by the error under the recorded ones. A model that ignores its
actions has 1; a model trained on shuffled actions has about 1 however good its pictures look. The lower bound must
exceed the minimum for every judged signal.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.core.evidence import CheckResult
from worldgate.evidence.bootstrap import RESAMPLES
from worldgate.evidence.exact import percent, ratio
from worldgate.evidence.gap_bounds import sensitivity
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.gates._results import judge_interval

CARD = {
    "line": "error under foreign actions over error under the recorded ones: lower bound above the minimum",
    "inputs": "a gap report with the shuffled-action control",
    "source": "permutation control; episode bootstrap, Hesterberg 2015",
}
GATE = "admission"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What is required."""

    horizon_s: float = 1.0
    """Where it is measured, in seconds."""
    minimum: str = "1.1"
    """Ratio that the lower bound must exceed."""
    alpha: str = "0.05"
    """One-sided level of each bound."""
    resamples: int = RESAMPLES
    seed: int = 0
    """Of the resampling."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result for each signal."""
    report = evidence.gap
    sure = percent(1 - ratio(config.alpha))
    statistic = f"bootstrap lower {sure} bound of shuffled / true error at {config.horizon_s:g} s"
    if report is None or not report.episodes:
        return (inconclusive("action_sensitivity", statistic, "needs a gap report of episodes that count here"),)
    signals = evidence.judged()
    if not signals:
        return (inconclusive("action_sensitivity", statistic, "no signal to judge", n=len(report.episodes)),)
    step = report.step_of(config.horizon_s)

    def one(signal: str) -> CheckResult:
        return judge_interval(
            "action_sensitivity",
            statistic,
            report,
            signal,
            minimum=config.minimum,
            alpha=config.alpha,
            compute=lambda: sensitivity(
                report, signal, step, alpha=config.alpha, resamples=config.resamples, seed=config.seed
            ),
        )

    return tuple(one(signal.name) for signal in signals)
