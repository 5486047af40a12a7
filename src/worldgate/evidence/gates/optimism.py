"""How often does the world model say success where reality fails, and does it see the failures that are known?

Two estimands, each from one or both of two sources. Optimism: P(model says success and reality fails), upper bound at
most ``limit``. Recall: of what really failed, the share of which the model says so, lower bound at least ``recall``.

Sources: ``episodes``, windows of held-out real episodes under their recorded actions; an episode counts as the share of
its windows, by Chernoff-Hoeffding, exact for any dependence inside it. ``trials``, runs of one release on the same
scenario and seed in the model and in reality, all that the ledger holds, by Clopper-Pearson over scenes, the worst pair
of a scene speaking for it. Of trials a known failure is one that failed or crossed a limit: a near-miss is one.
Rollouts beyond H(epsilon) do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from worldgate.core.evidence import CheckResult
from worldgate.evidence.bootstrap import Interval
from worldgate.evidence.exact import percent, ratio
from worldgate.evidence.gap_bounds import Unmeasured
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.gates._episodes import NEEDS, in_band, labels, measured, why_not
from worldgate.evidence.gates._paired import SIGNAL, left_out, lower_share, paired, too_selective, upper_share
from worldgate.evidence.site_bounds import Column, column, mean_upper, shares
from worldgate.evidence.site_report import SiteReport
from worldgate.evidence.statistics import mean_lower, zero_failure_trials

CARD = {
    "line": "imagined success where reality fails: upper bound; known failures seen: lower bound",
    "inputs": "a site report, or trials paired on the ledger by release, scenario and seed",
    "source": "governance of the gap, W7; MiraBench, arXiv 2605.29360; Clopper and Pearson 1934; Hoeffding 1963",
}
GATE = "admission"
CHECK = "optimism"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What is required."""

    on: tuple[str, ...] = ("episodes",)
    """``episodes``, ``trials``, or both."""
    limit: str = "0.1"
    """Largest share of optimistic windows or scenes."""
    recall: str = "0.8"
    """Least share of known failures that the model tells."""
    share: str = "0.9"
    """Least share of the scenes that were run for real that must be paired, so that pairs are no selection."""
    labels: tuple[str, ...] = ()
    """Of episodes, what tells success; empty: every way but pictures, and pictures where there is no other."""
    probability: str = "0.8"
    """Of H(epsilon), as in the check ``horizon``."""
    alpha: str = "0.05"
    """One-sided level of each bound."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """Optimism and recall of each source."""
    out: list[CheckResult] = []
    if "episodes" in config.on:
        out += _on_episodes(config, evidence)
    if "trials" in config.on:
        out += _on_trials(config, evidence)
    return tuple(out) or (inconclusive(CHECK, "optimism", "the policy names no source"),)


def _on_episodes(config: Config, evidence: GateEvidence) -> list[CheckResult]:
    report = measured(evidence)
    if report is None:
        return [inconclusive(CHECK, "optimism of held-out windows", NEEDS)]
    names = labels(report, "/optimism", step=0, wanted=config.labels)
    if not names:
        n = len(report.episodes)
        return [inconclusive(CHECK, "optimism of held-out windows", why_not(report, CHECK), n=n)]
    return [found for name in names for found in (_optimism(config, report, name), _recall(config, report, name))]


def _mean(held: Column, alpha: str) -> Interval:
    values = shares(held)
    if not values:
        raise Unmeasured("no episode holds a window that counts here")
    estimate = float(sum(values, Fraction(0)) / len(values))
    lower, upper = mean_lower(values, alpha), mean_upper(values, alpha)
    return Interval(estimate=estimate, lower=lower, upper=upper, n=len(values))


def _optimism(config: Config, report: SiteReport, label: str) -> CheckResult:
    sure = percent(1 - ratio(config.alpha))
    statistic = f"upper {sure} bound of P(imagined success, real failure) of held-out windows, by episode"

    def compute() -> tuple[Interval, str]:
        found = _mean(column(report, f"{label}/optimism", 0), config.alpha)
        return found, f"{zero_failure_trials(config.limit, config.alpha)} episodes at the least"

    return in_band(CHECK, f"{label} optimism", statistic, report, compute, high=config.limit)


def _recall(config: Config, report: SiteReport, label: str) -> CheckResult:
    sure = percent(1 - ratio(config.alpha))
    statistic = f"lower {sure} bound of P(imagined failure | real failure) of held-out windows, by episode"

    def compute() -> tuple[Interval, str]:
        found = _mean(column(report, f"{label}/recall", 0), config.alpha)
        return found, f"{zero_failure_trials(1 - ratio(config.recall), config.alpha)} episodes at the least"

    return in_band(CHECK, f"{label} recall", statistic, report, compute, low=config.recall)


def _on_trials(config: Config, evidence: GateEvidence) -> list[CheckResult]:
    found = paired(evidence, probability=config.probability, alpha=config.alpha)
    sure = percent(1 - ratio(config.alpha))
    optimism = f"exact upper {sure} bound of P(imagined success, real failure), by scene"
    recall = f"exact lower {sure} bound of P(imagined failure | real failure or near-miss), by scene"
    refused = too_selective(found, config.share)
    if refused:
        return [
            inconclusive(CHECK, words, refused, signal=f"{SIGNAL} {kind}", n=found.scenes)
            for words, kind in ((optimism, "optimism"), (recall, "recall"))
        ]
    table = found.table()
    cells = ", ".join(f"{cell} {count}" for cell, count in table.items())
    note = f"{cells}; {left_out(found)}"
    return [
        upper_share(
            CHECK, f"{SIGNAL} optimism", optimism, found.optimistic(), limit=config.limit, alpha=config.alpha, note=note
        ),
        lower_share(
            CHECK, f"{SIGNAL} recall", recall, found.caught(), minimum=config.recall, alpha=config.alpha, note=note
        ),
    ]
