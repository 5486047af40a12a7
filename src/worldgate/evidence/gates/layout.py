"""Is the room that the world model imagines the room of the site?

The imagined scan on the grid of the site's layout: intersection over union of occupied and of free cells, lower bounds
at least the minima, and by how much the layout's routes grow or shrink, upper bound at most ``path``. What moves about
stands in no layout, so the real scan's own figures are told beside: no model can be asked for more.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.core.evidence import CheckResult
from worldgate.evidence.bootstrap import RESAMPLES, Interval
from worldgate.evidence.exact import percent, ratio, shown
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.gates._episodes import NEEDS, in_band, measured, over_episodes, why_not
from worldgate.evidence.site_bounds import column
from worldgate.evidence.site_report import SiteReport

CARD = {
    "line": "occupied and free cells (IoU) and lengths of ways against the site's layout",
    "inputs": "a site report made with the site's layout, of a model that predicts a scan",
    "source": "governance of the gap, W10; episode bootstrap, Hesterberg 2015",
}
GATE = "admission"
CHECK = "layout"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What is required."""

    layout: str = ""
    """Digest of the site's layout that must have been used; empty: whichever was."""
    horizon_s: float = 1.0
    """Where it is measured, in seconds."""
    occupied: str = "0.5"
    """Least IoU of occupied cells."""
    free: str = "0.8"
    """Least IoU of free cells."""
    path: str = "0.1"
    """Largest error of routes, of their length; a layout without routes is not asked for it."""
    alpha: str = "0.05"
    """One-sided level of each bound."""
    resamples: int = RESAMPLES
    seed: int = 0
    """Of the resampling."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """Occupied, free and, where the layout has routes, ways."""
    report = measured(evidence)
    if report is None:
        return (inconclusive(CHECK, "cells of the site's layout", NEEDS),)
    if config.layout and report.layout != config.layout:
        said = f"needs the layout {config.layout[:12]}, was measured with {report.layout[:12] or 'none'}"
        return (inconclusive(CHECK, "cells of the site's layout", said, n=len(report.episodes)),)
    step = report.step_of(config.horizon_s)
    wanted = (
        ("/occupied_iou", config.occupied, None),
        ("/free_iou", config.free, None),
        ("/path_error", None, config.path),
    )
    found = [(f, low, high) for end, low, high in wanted for f in report.figures(end, step=step)]
    if not found:
        n = len(report.episodes)
        return (inconclusive(CHECK, "cells of the site's layout", why_not(report, CHECK), n=n),)
    return tuple(_one(config, report, figure, step, low, high) for figure, low, high in found)


def _one(config: Config, report: SiteReport, figure: str, step: int, low: str | None, high: str | None) -> CheckResult:
    sure = percent(1 - ratio(config.alpha))
    statistic = f"bootstrap {sure} bound of {figure.rsplit('/', 1)[1].replace('_', ' ')} at {config.horizon_s:g} s"

    def compute() -> tuple[Interval, str]:
        held = [(e, s) for e, s in column(report, figure, step) if s[1] > 0]
        found = over_episodes([s[0] for _, s in held], [s[1] for _, s in held], config)
        real = [s for _, s in column(report, figure, step, "real") if s[1] > 0]
        own = sum(s[0] for s in real) / max(sum(s[1] for s in real), 1e-12)
        return found, f"the real scan itself: {shown(own)}"

    return in_band(CHECK, figure, statistic, report, compute, low=low, high=high)
