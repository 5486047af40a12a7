"""Does the truth lie where the world model says it does?

Coverage of the central 90 % of what it draws or claims. That an interval of few episodes contains the nominal value
shows nothing, for a wide one always does. So the whole interval must lie within ``tolerance`` of nominal (two one-sided
tests, Schuirmann 1987); whether it contains nominal is told beside. A model that claims no spread claims nothing, which
is inconclusive.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from worldgate.core.evidence import CheckResult
from worldgate.evidence.bootstrap import RESAMPLES, Interval
from worldgate.evidence.exact import outward, percent, ratio
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.gates._episodes import NEEDS, in_band, measured, over_episodes, why_not
from worldgate.evidence.site_bounds import column
from worldgate.evidence.site_report import SiteReport

CARD = {
    "line": "coverage of the claimed or drawn 90 %: interval over episodes within a tolerance of nominal",
    "inputs": "a site report of a model that draws futures or claims a deviation",
    "source": "governance of the gap, W6; Schuirmann 1987; episode bootstrap, Hesterberg 2015",
}
GATE = "admission"
CHECK = "calibration"
NOMINAL = "0.9"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What is required."""

    horizon_s: float = 1.0
    """Where it is measured, in seconds."""
    tolerance: str = "0.07"
    """Largest distance of coverage from 0.9, either way."""
    kinds: tuple[str, ...] = ("drawn", "claimed")
    """Of what spread: of drawn futures, of the claimed deviation; those that the model has are judged."""
    alpha: str = "0.05"
    """One-sided level of each bound."""
    resamples: int = RESAMPLES
    seed: int = 0
    """Of the resampling."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result for each judged state stream and kind of spread."""
    report = measured(evidence)
    if report is None:
        return (inconclusive(CHECK, "coverage of 90 %", NEEDS),)
    step = report.step_of(config.horizon_s)
    found = [f for kind in config.kinds for f in report.figures(f"/coverage_90_{kind}", step=step)]
    judged = [f for f in found if evidence.about(f.split("/")[0])]
    if not judged:
        n = len(report.episodes)
        return (inconclusive(CHECK, "coverage of 90 %", why_not(report, "coverage"), n=n),)
    return tuple(_one(config, report, figure, step) for figure in judged)


def _one(config: Config, report: SiteReport, figure: str, step: int) -> CheckResult:
    sure = percent(1 - ratio(config.alpha))
    statistic = f"bootstrap {sure} bounds of coverage of the central 90 % at {config.horizon_s:g} s"
    low = outward(ratio(NOMINAL) - ratio(config.tolerance), "up")
    high = outward(ratio(NOMINAL) + ratio(config.tolerance), "down")
    signal = figure.replace("/coverage_90_", " ")

    def compute() -> tuple[Interval, str]:
        held = [(e, s) for e, s in column(report, figure, step) if s[1] > 0]
        found = over_episodes([s[0] for _, s in held], [s[1] for _, s in held], config)
        holds = Decimal(found.lower) <= Decimal(NOMINAL) <= Decimal(found.upper)
        beyond = "over-confident" if Decimal(found.upper) < Decimal(NOMINAL) else "too wide"
        return found, "contains 0.9" if holds else beyond

    return in_band(CHECK, signal, statistic, report, compute, low=low, high=high)
