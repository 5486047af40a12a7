"""Do imagined contacts begin when real ones do?

Onsets are matched one to one within a tolerance (the evaluation's ``contact_tolerance_s``, at most ``tolerance_s``
here, for a wide one matches anything). The lower bound of their F1 must reach the minimum, and the median lateness,
each episode's own median counted once, must be shown to lie within ``frames`` rows of zero: both bounds of the median
by order statistics, exact for any distribution.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.core.evidence import CheckResult
from worldgate.evidence.bootstrap import RESAMPLES, Interval, least_episodes
from worldgate.evidence.exact import percent, ratio, shown
from worldgate.evidence.gap_bounds import Unmeasured
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.gates._episodes import NEEDS, in_band, labels, measured, over_episodes, why_not
from worldgate.evidence.site_bounds import column, median
from worldgate.evidence.site_bounds import middle as middle_of
from worldgate.evidence.site_report import SiteReport

CARD = {
    "line": "onsets of contacts: lower bound of F1, and median timing bias within one frame",
    "inputs": "a site report of episodes with recorded forces",
    "source": "governance of the gap, W4; order statistics, David and Nagaraja 2003",
}
GATE = "admission"
CHECK = "contact"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What is required."""

    f1: str = "0.5"
    """What the lower bound of F1 must reach."""
    frames: str = "1"
    """Largest median timing bias, in rows, either way."""
    tolerance_s: str = "0.15"
    """Largest distance in time of two onsets that may have been taken for the same."""
    labels: tuple[str, ...] = ()
    """What tells contact; empty: every way but pictures, and pictures where there is no other."""
    alpha: str = "0.05"
    """One-sided level of each bound."""
    resamples: int = RESAMPLES
    seed: int = 0
    """Of the resampling."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """F1 and timing for each way of telling contact."""
    report = measured(evidence)
    if report is None:
        return (inconclusive(CHECK, "onsets of contacts", NEEDS),)
    used = report.settings.get("contact_tolerance_s")
    if used is None or ratio(used) > ratio(config.tolerance_s):
        told = "no known tolerance" if used is None else f"a tolerance of {shown(used)} s"
        said = f"needs onsets matched within {config.tolerance_s} s, was measured with {told}"
        return (inconclusive(CHECK, "onsets of contacts", said, n=len(report.episodes)),)
    names = labels(report, "/onset_f1", step=0, wanted=config.labels)
    if not names:
        n = len(report.episodes)
        return (inconclusive(CHECK, "onsets of contacts", why_not(report, CHECK), n=n),)
    return tuple(found for name in names for found in (_f1(config, report, name), _timing(config, report, name)))


def _f1(config: Config, report: SiteReport, label: str) -> CheckResult:
    sure = percent(1 - ratio(config.alpha))
    statistic = f"bootstrap lower {sure} bound of F1 of onsets"

    def compute() -> tuple[Interval, str]:
        held = [s for _, s in column(report, f"{label}/onset_f1", 0) if sum(s) > 0]
        return over_episodes([2 * s[0] for s in held], [2 * s[0] + s[1] + s[2] for s in held], config), ""

    return in_band(CHECK, f"{label} F1", statistic, report, compute, low=config.f1)


def _timing(config: Config, report: SiteReport, label: str) -> CheckResult:
    sure = percent(1 - ratio(config.alpha))
    statistic = f"order-statistic {sure} bounds of the median lateness of matched onsets, rows"

    def compute() -> tuple[Interval, str]:
        held = [(e, s) for e, s in column(report, f"{label}/onset_late", 0) if sum(s) > 0]
        lower, upper, n = median(held, config.alpha)
        if lower is None or upper is None:
            raise Unmeasured(f"needs {least_episodes(config.alpha)} episodes with a matched onset, has {n}")
        every = [sum(values) for values in zip(*(s for _, s in held), strict=True)]
        return Interval(estimate=float(middle_of(every)), lower=lower, upper=upper, n=n), ""

    return in_band(CHECK, f"{label} timing", statistic, report, compute, low=f"-{config.frames}", high=config.frames)
