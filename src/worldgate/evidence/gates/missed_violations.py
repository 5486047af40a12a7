"""When a limit of the site is really crossed, does the world model say so?

Missed: of the cases in which force or distance crossed the limit in reality, the share in which the model said no;
upper bound at most ``limit``. False alarms are told beside and decide nothing: a model that always warns misses
nothing, and is caught by other checks.

Sources as of ``optimism``: ``episodes``, where an episode counts once, as missed if any of its crossed windows was;
``trials``, where a scene counts once. Clopper-Pearson on either. Cases that never cross are no evidence of seeing it.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.core.evidence import CheckResult
from worldgate.evidence.exact import percent, ratio, shown
from worldgate.evidence.gap_bounds import Unmeasured
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.gates._episodes import NEEDS, guarded, measured, why_not
from worldgate.evidence.gates._paired import SIGNAL, left_out, paired, too_selective, upper_share
from worldgate.evidence.scenes import Scenes, one_per_scene
from worldgate.evidence.site_bounds import column
from worldgate.evidence.site_report import SiteReport

CARD = {
    "line": "limits of force and distance crossed for real and not in the model: upper bound; false alarms beside",
    "inputs": "a site report with the site's limits, or trials paired on the ledger",
    "source": "governance of the gap, W8; Clopper and Pearson 1934",
}
GATE = "admission"
CHECK = "missed_violations"
ENDS = ("/force_crossings", "/clearance_crossings")


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What is required."""

    on: tuple[str, ...] = ("episodes",)
    """``episodes``, ``trials``, or both."""
    limit: str = "0.2"
    """Largest share of real crossings that the model may miss."""
    force_limit_n: str = ""
    """The site's limit of force, N, with which episodes must have been measured; empty: whatever limit they were."""
    clearance_limit_m: str = ""
    """The site's least distance to a person, m; empty as above."""
    share: str = "0.9"
    """Least share of the scenes that were run for real that must be paired, so that pairs are no selection."""
    probability: str = "0.8"
    """Of H(epsilon), as in the check ``horizon``."""
    alpha: str = "0.05"
    """One-sided level of each bound."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result for each limit that was measured, and one for paired trials."""
    out: list[CheckResult] = []
    if "episodes" in config.on:
        out += _on_episodes(config, evidence)
    if "trials" in config.on:
        out.append(_on_trials(config, evidence))
    return tuple(out) or (inconclusive(CHECK, "missed violations", "the policy names no source"),)


def _words(config: Config, unit: str) -> str:
    return f"exact upper {percent(1 - ratio(config.alpha))} bound of P(model says no | limit crossed), by {unit}"


def _on_episodes(config: Config, evidence: GateEvidence) -> list[CheckResult]:
    report = measured(evidence)
    statistic = _words(config, "episode")
    if report is None:
        return [inconclusive(CHECK, statistic, NEEDS)]
    figures = [f for end in ENDS for f in report.figures(end, step=0)]
    if not figures:
        return [inconclusive(CHECK, statistic, why_not(report, "envelope"), n=len(report.episodes))]
    return [_crossings(config, report, figure, statistic) for figure in figures]


def _crossings(config: Config, report: SiteReport, figure: str, statistic: str) -> CheckResult:
    name = "force_limit_n" if figure.endswith(ENDS[0]) else "clearance_limit_m"
    used, wanted = report.settings.get(name), getattr(config, name)

    def compute() -> CheckResult:
        if wanted and (used is None or ratio(used) != ratio(wanted)):
            raise Unmeasured(f"the policy's limit is {wanted}, it was measured with {used}")
        held = column(report, figure, 0)
        crossed: Scenes = one_per_scene([(e, int(s[2] > 0)) for e, s in held if s[0] + s[2] > 0])
        quiet = [s for _, s in held if s[0] + s[2] == 0]
        alarms = sum(s[1] > 0 for s in quiet)
        limit = "an unknown limit" if used is None else shown(used)
        note = f"{alarms} false alarms in the {len(quiet)} episodes that never cross {limit}"
        return upper_share(
            CHECK, figure, statistic, crossed, limit=config.limit, alpha=config.alpha, note=note, unit="episodes"
        )

    return guarded(CHECK, figure, statistic, f"<= {config.limit}", len(report.episodes), compute)


def _on_trials(config: Config, evidence: GateEvidence) -> CheckResult:
    found = paired(evidence, probability=config.probability, alpha=config.alpha)
    statistic = _words(config, "scene")
    refused = too_selective(found, config.share)
    if refused:
        return inconclusive(CHECK, statistic, refused, signal=SIGNAL, n=found.scenes)
    alarms = found.false_alarms()
    note = f"{shown(float(sum(alarms.counted(0))))} false alarms in {alarms.n} scenes without; {left_out(found)}"
    return upper_share(CHECK, SIGNAL, statistic, found.missed(), limit=config.limit, alpha=config.alpha, note=note)
