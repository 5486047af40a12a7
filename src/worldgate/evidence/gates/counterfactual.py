"""Would other actions have changed the outcome as they do in reality?

Slope of the imagined change of outcome on the real one, between a window and a real stretch that began alike and went
on under other actions: 1 is right, 0 ignores actions, above 1 exaggerates. Beginnings are alike, never equal, and a
regressor with noise attenuates the slope, so that even a perfect model stays below 1: the default band begins at 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.core.evidence import CheckResult
from worldgate.evidence.bootstrap import RESAMPLES, Interval
from worldgate.evidence.exact import percent, ratio
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.gates._episodes import NEEDS, in_band, measured, over_episodes, why_not
from worldgate.evidence.site_bounds import column
from worldgate.evidence.site_report import SiteReport

CARD = {
    "line": "change of outcome under other actions against the real change: slope within [0.5, 1.25]",
    "inputs": "a site report: windows paired with real stretches that began alike",
    "source": "governance of the gap, W3; attenuation, Fuller 1987; episode bootstrap, Hesterberg 2015",
}
GATE = "admission"
CHECK = "counterfactual"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What is required."""

    horizon_s: float = 1.0
    """Where it is measured, in seconds."""
    low: str = "0.5"
    """Least slope."""
    high: str = "1.25"
    """Largest slope."""
    alpha: str = "0.05"
    """One-sided level of each bound."""
    resamples: int = RESAMPLES
    seed: int = 0
    """Of the resampling."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result for each judged state stream."""
    report = measured(evidence)
    if report is None:
        return (inconclusive(CHECK, "counterfactual slope", NEEDS),)
    step, end = report.step_of(config.horizon_s), "/counterfactual_gain"
    streams = [f.removesuffix(end) for f in report.figures(end, step=step)]
    judged = [s for s in streams if evidence.about(s)]
    if not judged:
        n = len(report.episodes)
        return (inconclusive(CHECK, "counterfactual slope", why_not(report, CHECK), n=n),)
    return tuple(_one(config, report, stream, step) for stream in judged)


def _one(config: Config, report: SiteReport, stream: str, step: int) -> CheckResult:
    sure = percent(1 - ratio(config.alpha))
    statistic = f"bootstrap {sure} bounds of the imagined change of outcome on the real one at {config.horizon_s:g} s"

    def compute() -> tuple[Interval, str]:
        held = [(e, s) for e, s in column(report, f"{stream}/counterfactual_gain", step) if s[0] > 0]
        return over_episodes([sums[1] for _, sums in held], [sums[0] for _, sums in held], config), ""

    return in_band(CHECK, stream, statistic, report, compute, low=config.low, high=config.high)
