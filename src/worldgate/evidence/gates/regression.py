"""Does the release stay as close to recorded episodes as the old one, open loop? Advice: it can block, never promote.

Error of the release over error of the old one, by episode; PASS if the upper bound keeps within the limit, FAIL if the
lower one exceeds it. Episodes that the release learned from do not count. Open loop cannot show closed-loop success, so
a policy may not rest on this check alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from worldgate.core.digest import short
from worldgate.core.errors import UsageError
from worldgate.core.evidence import CheckResult, Status
from worldgate.evidence.bootstrap import RESAMPLES, least_episodes
from worldgate.evidence.exact import percent, ratio, shown
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.regression_table import interval

CARD = {
    "line": "no farther from recorded episodes than the old release, open loop; advice, it cannot promote",
    "inputs": "a regression of the release on the ledger: worldgate replay episodes",
    "source": "episode bootstrap, Hesterberg 2015; Codevilla et al., ECCV 2018",
}
GATE = "promotion"
ADVISES = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What is required."""

    limit: str = "1.25"
    """Largest tolerable error of the release / error of the old one."""
    alpha: str = "0.05"
    """One-sided level of each bound."""
    resamples: int = RESAMPLES
    seed: int = 0
    """Of the resampling."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result."""
    statistic = f"bootstrap upper {percent(1 - ratio(config.alpha))} bound of open-loop error, new / old"
    required, made = f"<= {config.limit}", evidence.regression

    def told(status: Status, detail: str, n: int, estimate: str = "", bound: str = "") -> tuple[CheckResult, ...]:
        return (
            CheckResult(
                check="regression",
                status=status,
                signal="",
                statistic=statistic,
                estimate=estimate,
                bound=bound,
                required=required,
                n=n,
                detail=detail,
            ),
        )

    if made is None:
        detail = "needs recorded episodes through the release: worldgate replay episodes DATASET RELEASE --against OLD"
        return (inconclusive("regression", statistic, detail, required=required),)
    wanted = evidence.planned.plan.baseline if evidence.planned is not None else ""
    if wanted and made.baseline != wanted:
        return told(Status.INCONCLUSIVE, f"needs a comparison with the plan's old release, {short(wanted)}", 0)
    trained = {*evidence.training.episodes, *evidence.training.logs} if evidence.training is not None else set()
    leave = frozenset(row.episode for row in made.episodes if {row.episode, row.log} & trained)
    rows = [row for row in made.episodes if row.episode not in leave]
    n, least = len(rows), least_episodes(config.alpha)
    broken = sum(row.new.nonfinite for row in rows)
    if broken:
        return told(Status.FAIL, f"the release gave NaN or infinity in {broken} rows", n)
    if n < least:
        return told(Status.INCONCLUSIVE, f"needs {least} episodes that it did not learn from, has {n}", n)
    try:
        found = interval(made, alpha=config.alpha, resamples=config.resamples, seed=config.seed, leave=leave)
    except UsageError as error:
        return told(Status.INCONCLUSIVE, f"needs an error in every episode: {error.what}", n)
    span, share = f"[{found.lower}, {found.upper}] from {found.n} episodes, open loop", shown(found.estimate)
    if Decimal(found.upper) <= Decimal(config.limit):
        return told(Status.PASS, f"interval {span}", n, share, found.upper)
    if Decimal(found.lower) > Decimal(config.limit):
        return told(Status.FAIL, f"the lower bound exceeds {config.limit}: {span}", n, share, found.upper)
    return told(Status.INCONCLUSIVE, f"needs more episodes: {span}", n, share, found.upper)
