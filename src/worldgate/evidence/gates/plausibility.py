"""How often does what is imagined break what cannot be broken?

Violations per minute of rollout, of each kind: limits, teleports, penetration, vanishing objects. The upper bound is
the largest of Garwood's, counting one future a moment, the episode bootstrap's, and one of how many episodes have any,
because violations come in bursts. The recordings' own rate, by the same limits, is told beside.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.core.evidence import CheckResult
from worldgate.evidence.bootstrap import RESAMPLES, Interval
from worldgate.evidence.exact import percent, ratio, shown
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.gates._episodes import NEEDS, enough, in_band, measured, why_not
from worldgate.evidence.site_bounds import column, rate
from worldgate.evidence.site_report import SiteReport

CARD = {
    "line": "violations of physical limits per minute of rollout: upper bound at most the limit",
    "inputs": "a site report: limits learned from real training episodes",
    "source": "governance of the gap, W5; Garwood 1936; episode bootstrap, Hesterberg 2015",
}
GATE = "admission"
CHECK = "plausibility"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What is required."""

    limit: str = "1"
    """Largest rate of each kind, per minute."""
    kinds: tuple[str, ...] = ()
    """``limits``, ``teleport``, ``penetration``, ``vanishing``; empty: all that were measured."""
    alpha: str = "0.05"
    """One-sided level of each bound."""
    resamples: int = RESAMPLES
    seed: int = 0
    """Of the resampling."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result for each kind."""
    report = measured(evidence)
    if report is None:
        return (inconclusive(CHECK, "violations per minute", NEEDS),)
    known = [f.removeprefix("violations/") for f in report.figures("", step=0) if f.startswith("violations/")]
    kinds = config.kinds or tuple(known)
    if not kinds:
        n = len(report.episodes)
        return (inconclusive(CHECK, "violations per minute", why_not(report, CHECK), n=n),)
    return tuple(_one(config, report, kind) for kind in kinds)


def _one(config: Config, report: SiteReport, kind: str) -> CheckResult:
    sure = percent(1 - ratio(config.alpha))
    statistic = f"upper {sure} bound of violations a minute, the widest of three"
    figure = f"violations/{kind}"

    def compute() -> tuple[Interval, str]:
        held = [(e, s) for e, s in column(report, figure, 0) if s[1] > 0]
        enough(held, config.alpha)
        found = rate(
            [(s[0], s[1]) for _, s in held],
            futures=report.samples,
            alpha=config.alpha,
            resamples=config.resamples,
            seed=config.seed,
        )
        real = column(report, figure, 0, "real")
        own = sum(s[0] for _, s in real) / max(sum(s[1] for _, s in real), 1e-12)
        return found, f"the recordings themselves: {shown(own)} a minute"

    return in_band(CHECK, kind, statistic, report, compute, high=config.limit)
