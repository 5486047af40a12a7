"""Does the release stay within the site's envelope? An upper bound of the share of trials that break a limit.

Read at agreed numbers of trials only (by default one: the fewest that could pass without a violation, 59 for 5 %),
with the error shared among them as in the sequential test; so stopping when it looks good gains nothing. Excluded
trials count as violations. Fails as soon as the exact lower bound exceeds the limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from worldgate.core.evidence import CheckResult, Status
from worldgate.evidence.exact import outward, percent, probability, ratio, shown
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.sequential import SequentialPlan, Step, follow, stagewise_lower
from worldgate.evidence.statistics import binomial_lower, zero_failure_trials

CARD = {
    "line": "share of trials that break the site's envelope: upper bound at most the limit",
    "inputs": "every trial of the release on the ledger, in order",
    "source": "Clopper and Pearson 1934, with alpha spending over the agreed looks",
}
GATE = "promotion"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What is tolerated."""

    limit: str = "0.05"
    """Largest share of trials with a violation."""
    alpha: str = "0.05"
    """Probability of passing a release whose share is the limit."""
    looks: tuple[int, ...] = ()
    """Trials after which the bound is read; empty: once, at the fewest that could pass."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result; ``n`` is the number of trials that the bound rests on."""
    limit = probability(config.limit, "limit")
    looks = config.looks or (zero_failure_trials(limit, config.alpha),)
    plan = SequentialPlan.make(p0=1 - limit, alpha=config.alpha, looks=looks)
    statistic = f"upper {percent(1 - plan.alpha)} bound of trials with a violation"
    required = f"<= {config.limit}"
    clean = [t.trial.violations == 0 and not t.trial.excluded for t in evidence.trials]
    fewest = next((n for n, c in zip(plan.looks, plan.boundaries, strict=True) if c is not None), None)
    if fewest is None:
        detail = f"no look of this policy could pass: {zero_failure_trials(limit, config.alpha)} trials are needed"
        return (inconclusive("violations", statistic, detail, required=required, n=len(clean)),)
    if not clean:
        detail = f"needs {fewest} clean trials for violations <= {percent(limit)}"
        return (inconclusive("violations", statistic, detail, required=required),)
    result = follow(plan, clean)
    violations, n = len(clean) - sum(clean), len(clean)
    status, bound = Status.INCONCLUSIVE, ""
    if Fraction(binomial_lower(violations, n, plan.alpha)) > ratio(config.limit):
        status, detail = (
            Status.FAIL,
            f"{violations} of {n} trials broke the envelope: more than {percent(limit)} is shown",
        )
    elif result.step is Step.CROSSED:
        status, n = Status.PASS, result.trials
        violations = n - result.successes
        bound = outward(1 - Fraction(stagewise_lower(plan, result)), "up")
        detail = f"{violations} of {n} trials broke the envelope"
    elif result.step is Step.CONTINUE:
        more = (result.next_look or 0) - result.trials
        detail = f"needs {more} more clean trials for violations <= {percent(limit)}: {violations} of {n} so far"
    else:
        status, detail = Status.FAIL, f"{violations} of {n} trials broke the envelope: the plan can no longer pass"
    return (
        CheckResult(
            check="violations",
            status=status,
            signal="",
            statistic=statistic,
            estimate=shown(violations / n),
            bound=bound,
            required=required,
            n=n,
            detail=detail,
        ),
    )
