"""Does the world model put releases in the order in which reality puts them?

Success rates of each release in the model and in reality, over the scenes that both ran, from all pairs on the ledger.
Judged: the lower Fisher bound of the correlation, and the mean maximum rank violation. Kendall's tau, bias, error and
the worst release are told beside, because a good correlation hides a bias. Below ``least`` releases nothing is said: a
true correlation of 0.9 has an interval of [0.33, 0.99] from six.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from worldgate.core.evidence import CheckResult, Status
from worldgate.evidence.exact import outward, percent, ratio, shown
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.gates._episodes import result
from worldgate.evidence.gates._paired import left_out, paired, too_selective
from worldgate.evidence.ranking import Agreement, agreement

CARD = {
    "line": "order of releases in the model against reality: Pearson's lower bound and MMRV over at least 8 releases",
    "inputs": "trials of several releases paired on the ledger by scenario and seed",
    "source": "governance of the gap, W11; SIMPLER, arXiv 2405.05941; Fisher 1921",
}
GATE = "admission"
CHECK = "rank"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What is required."""

    pearson: str = "0.5"
    """What the lower bound of the correlation must reach."""
    mmrv: str = "0.2"
    """Largest mean maximum rank violation; a figure without a bound."""
    least: int = 8
    """Releases, at the least."""
    scenes: int = 10
    """Paired scenes that a release needs to be counted."""
    share: str = "0.9"
    """Least share of the scenes that were run for real that must be paired, so that pairs are no selection."""
    probability: str = "0.8"
    """Of H(epsilon), as in the check ``horizon``."""
    alpha: str = "0.025"
    """One-sided level of each bound."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """The correlation, then the rank violation."""
    sure = percent(1 - ratio(config.alpha))
    statistic = f"Fisher's lower {sure} bound of Pearson's correlation over releases"
    found = paired(evidence, probability=config.probability, alpha="0.05")
    refused = too_selective(found, config.share)
    real, imagined, scenes = found.rates()
    counted = [r for r, count in scenes.items() if count >= config.scenes]
    n = len(counted)
    if not refused and n < max(config.least, 4):
        refused = f"needs {max(config.least, 4)} releases with {config.scenes} paired scenes, has {n}"
    if refused:
        return (inconclusive(CHECK, statistic, refused, required=f">= {config.pearson}", n=n),)
    told = agreement(real={r: real[r] for r in counted}, imagined={r: imagined[r] for r in counted}, alpha=config.alpha)
    note = f"{_words(told)}; {left_out(found)}"
    if told.lower is None or told.upper is None:
        said = f"all releases succeed alike on one side, so there is no order: {note}"
        return (inconclusive(CHECK, statistic, said, required=f">= {config.pearson}", n=n),)
    return (_correlation(config, told, statistic, note, (told.lower, told.upper)), _violation(config, told, note))


def _words(told: Agreement) -> str:
    tau = "none" if told.kendall is None else shown(told.kendall)
    return (
        f"Kendall's tau {tau}, bias {shown(float(told.bias))}, RMSE {shown(told.rmse)}, "
        f"worst {shown(float(told.worst))} ({told.worst_policy[:12]})"
    )


def _correlation(config: Config, told: Agreement, statistic: str, note: str, interval: tuple[str, str]) -> CheckResult:
    lower, upper = interval
    status = Status.PASS if Decimal(lower) >= Decimal(config.pearson) else Status.INCONCLUSIVE
    status = Status.FAIL if Decimal(upper) < Decimal(config.pearson) else status
    return result(
        CHECK,
        status,
        "correlation",
        statistic,
        required=f">= {config.pearson}",
        n=told.n,
        detail=f"interval [{lower}, {upper}] from {told.n} releases; {note}",
        estimate=shown(told.pearson or 0.0),
        bound=lower,
    )


def _violation(config: Config, told: Agreement, note: str) -> CheckResult:
    status = Status.PASS if told.mmrv <= ratio(config.mmrv) else Status.FAIL
    return result(
        CHECK,
        status,
        "rank violation",
        "mean maximum rank violation",
        required=f"<= {config.mmrv}",
        n=told.n,
        detail=note,
        estimate=shown(float(told.mmrv)),
        bound=outward(told.mmrv, "up"),
    )
