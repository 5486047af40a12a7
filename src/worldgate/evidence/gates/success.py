"""Does the release succeed often enough? An exact sequential binomial test on trials in ledger order.

The looks are part of the policy, so nobody gains by peeking; a crossing shows p > p0 at level alpha whatever came
first. Excluded trials count as failures. If trials go on after a crossing and then show p < p0, the check fails all
the same. Source: :mod:`worldgate.evidence.sequential`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from worldgate.core.evidence import CheckResult, Status
from worldgate.evidence.exact import percent, shown
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.sequential import SequentialPlan, SequentialResult, Step, follow, stagewise_lower
from worldgate.evidence.statistics import binomial_upper
from worldgate.evidence.trials import RecordedTrial

CARD = {
    "line": "success rate above p0 by an exact sequential binomial test on real trials",
    "inputs": "every trial of the release on the ledger, in order",
    "source": "Lan and DeMets 1983; Jennison and Turnbull 1999",
}
GATE = "promotion"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The pre-registered test."""

    p0: str = "0.80"
    """Success probability that must be exceeded."""
    alpha: str = "0.05"
    """Probability of passing a release whose success probability is p0."""
    looks: tuple[int, ...] = (10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
    """Trials after which the boundary is looked at; the last is the most that will be run."""


def check(config: Config, evidence: GateEvidence) -> tuple[CheckResult, ...]:
    """One result."""
    plan = SequentialPlan.make(p0=config.p0, alpha=config.alpha, looks=config.looks)
    statistic = f"sequential lower {percent(1 - plan.alpha)} bound of success"
    required = f"> {config.p0}"
    outcomes = [t.trial.success and not t.trial.excluded for t in evidence.trials]
    if not outcomes:
        first = next((c, n) for c, n in zip(plan.boundaries, plan.looks, strict=True) if c is not None)
        detail = f"needs trials: {first[0]} successes of the first {first[1]} would pass"
        return (inconclusive("success", statistic, detail, required=required),)
    result = follow(plan, outcomes)
    crossed = result.step is Step.CROSSED
    if crossed and Fraction(binomial_upper(sum(outcomes), len(outcomes), plan.alpha)) < plan.p0:
        return (_result(plan, result, Status.FAIL, statistic, required, _later(outcomes)),)
    status = Status.PASS if crossed else Status.INCONCLUSIVE if result.step is Step.CONTINUE else Status.FAIL
    detail = _detail(plan, result) + _excluded(evidence.trials)
    return (_result(plan, result, status, statistic, required, detail),)


def _result(
    plan: SequentialPlan, result: SequentialResult, status: Status, statistic: str, required: str, detail: str
) -> CheckResult:
    return CheckResult(
        check="success",
        status=status,
        signal="",
        statistic=statistic,
        estimate=shown(result.successes / result.trials),
        bound=stagewise_lower(plan, result) if result.step is Step.CROSSED else "",
        required=required,
        n=result.trials,
        detail=detail,
    )


def _detail(plan: SequentialPlan, result: SequentialResult) -> str:
    so_far = f"{result.successes} of {result.trials} succeeded"
    if result.step is Step.CROSSED:
        return f"crossed at look {result.trials}: {so_far}, {plan.looks[-1]} at most"
    if result.step is Step.CONTINUE:
        more = (result.next_look or 0) - result.trials
        return f"{so_far}; needs {more} more trials, with {result.needed} successes of {result.next_look}"
    if result.step is Step.FUTILE:
        return f"{so_far}: no remaining trials could show more than {plan.p0.numerator}/{plan.p0.denominator}"
    return f"{so_far} in all {result.trials} trials of the plan: success is not shown"


def _later(outcomes: Sequence[bool]) -> str:
    return f"crossed earlier, but {sum(outcomes)} of {len(outcomes)} in all: later trials show too few successes"


def _excluded(trials: Sequence[RecordedTrial]) -> str:
    count = sum(bool(t.trial.excluded) for t in trials)
    return f"; {count} excluded trials count as failures" if count else ""
