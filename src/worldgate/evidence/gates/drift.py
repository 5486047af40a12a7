"""Does this site still look like what the world model was calibrated on?

Energy distance between the site's held-out episodes and the calibration set, over means, spreads and changes of every
channel, with p by exchanging labels of whole episodes. An alarm, not a proof: a p above ``alpha`` from few episodes
says little, which is why a minimum is asked for, and a shift that the model masters is no fault. Policies let it
advise.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.core.evidence import CheckResult, Status
from worldgate.evidence.drift import permutation_p, smallest_p, thinned
from worldgate.evidence.exact import outward, ratio
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.gates._episodes import NEEDS, measured, result

CARD = {
    "line": "drift alarm: two-sample permutation test of the site's episodes against the calibration set",
    "inputs": "a site report with the features of the training episodes",
    "source": "governance of the gap, W9; Szekely and Rizzo 2013; Phipson and Smyth 2010",
}
GATE = "admission"
CHECK = "drift"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What is required."""

    alpha: str = "0.01"
    """An alarm is raised at p of this and below."""
    least: int = 5
    """Episodes needed on each side."""
    permutations: int = 999
    seed: int = 0
    """Of the permutations."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result."""
    report = measured(evidence)
    statistic = "permutation p of the energy distance between the site's episodes and the calibration set"
    required = f"> {config.alpha}"
    if report is None:
        return (inconclusive(CHECK, statistic, NEEDS, required=required),)
    here = thinned([e.features for e in report.episodes])
    there = thinned([c.features for c in report.calibration])
    n = len(report.episodes)
    if not report.features or min(len(here), len(there)) < config.least:
        said = f"needs {config.least} episodes here and in the calibration set, has {n} and {len(there)}"
        return (inconclusive(CHECK, statistic, said, required=required, n=n),)
    if smallest_p(len(here), len(there), config.permutations) > ratio(config.alpha):
        return (inconclusive(CHECK, statistic, "so few episodes cannot raise an alarm", required=required, n=n),)
    p = permutation_p(here, there, permutations=config.permutations, seed=config.seed)
    alarm = p <= ratio(config.alpha)
    said = f"{n} episodes here, {len(report.calibration)} in the calibration set"
    return (
        result(
            CHECK,
            Status.FAIL if alarm else Status.PASS,
            "",
            statistic,
            required=required,
            n=n,
            detail=f"drift: {said}" if alarm else f"no alarm: {said}",
            estimate=outward(p, "down"),
            bound=outward(p, "down"),
        ),
    )
