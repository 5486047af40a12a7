"""Is the world model better than predictions that need no model?

Skill is 1 - error of the model / error of the baseline, over held-out episodes. Every judged signal must beat every
baseline at every horizon: one-sided lower bound above the minimum. All must pass, so no correction for several is
needed (intersection-union test). Cameras have no constant velocity and are compared with copy-last alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from worldgate.core.evidence import CheckResult
from worldgate.evidence.bootstrap import RESAMPLES
from worldgate.evidence.exact import percent, ratio
from worldgate.evidence.gap_bounds import skill
from worldgate.evidence.gap_report import GapReport, SignalInfo
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.gates._results import judge_interval

CARD = {
    "line": "skill against hold-last and constant velocity: lower bound above zero at every horizon",
    "inputs": "a gap report of held-out episodes",
    "source": "episode bootstrap, Hesterberg 2015; intersection-union test, Berger 1982",
}
GATE = "admission"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What is required."""

    horizons_s: tuple[float, ...] = (0.5, 1.0)
    """Horizons compared, in seconds."""
    minimum: str = "0"
    """Skill that the lower bound must exceed."""
    alpha: str = "0.05"
    """One-sided level of each bound."""
    resamples: int = RESAMPLES
    seed: int = 0
    """Of the resampling."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result for each signal, baseline and horizon."""
    report = evidence.gap
    if report is None or not report.episodes:
        return (inconclusive("skill", "skill", "needs a gap report of held-out episodes that count here"),)
    signals = evidence.judged()
    if not signals or not config.horizons_s:
        return (inconclusive("skill", "skill", "no signal or horizon to judge", n=len(report.episodes)),)
    return tuple(
        _one(config, report, signal, baseline, horizon)
        for signal in signals
        for baseline in _baselines(signal)
        for horizon in config.horizons_s
    )


def _baselines(signal: SignalInfo) -> Iterator[str]:
    yield "hold"
    if signal.channels:
        yield "velocity"


def _one(config: Config, report: GapReport, signal: SignalInfo, baseline: str, horizon_s: float) -> CheckResult:
    against = {"hold": "copy-last" if not signal.channels else "hold-last", "velocity": "constant velocity"}[baseline]
    statistic = (
        f"bootstrap lower {percent(1 - ratio(config.alpha))} bound of skill against {against} at {horizon_s:g} s"
    )
    return judge_interval(
        "skill",
        statistic,
        report,
        signal.name,
        minimum=config.minimum,
        alpha=config.alpha,
        compute=lambda: skill(
            report,
            signal.name,
            baseline,
            report.step_of(horizon_s),
            alpha=config.alpha,
            resamples=config.resamples,
            seed=config.seed,
        ),
    )
