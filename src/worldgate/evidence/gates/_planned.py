"""What checks of trials share: the plan they rest on, or why there is none, and following it through its looks."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from worldgate.core.evidence import CheckResult, Status
from worldgate.evidence.exact import outward, shown
from worldgate.evidence.gate_evidence import GateEvidence
from worldgate.evidence.scenes import Scenes
from worldgate.evidence.sequential import SequentialPlan, SequentialResult, Step, follow, stagewise_lower
from worldgate.evidence.statistics import binomial_upper


def no_plan(evidence: GateEvidence) -> str:
    """Why nothing can be shown from trials, with what to do; empty where a plan stands."""
    planned = evidence.planned
    if planned is None:
        return "needs a plan on the ledger before the first trial: worldgate gate prereg"
    if planned.worn:
        served = f"attempt {planned.attempt}, and it may serve {planned.plan.attempts}"
        return f"the suite is worn out ({served}): needs a suite of new scenes"
    return ""


def share(
    check: str,
    test: SequentialPlan,
    outcomes: Sequence[bool],
    *,
    signal: str = "",
    statistic: str,
    required: str,
    what: str,
    of_bad: bool = False,
    more: str = "",
) -> CheckResult:
    """Whether the share of good scenes lies above ``test.p0``, read at the agreed looks alone.

    PASS once the sequential test crosses; FAIL if the plan can no longer pass, or if all scenes together show too few,
    even after a crossing.

    Args:
        check: name of the check.
        test: agreed beforehand.
        outcomes: good or not, by scene, in the order of the plan.
        signal: what it is about.
        statistic: in words.
        required: in words.
        what: the good ones did: "succeeded".
        of_bad: whether estimate and bound are told of the others: violations.
        more: said at the end of the detail.
    """

    def result(status: Status, detail: str, n: int, bound: str = "") -> CheckResult:
        good = sum(outcomes[:n])
        return CheckResult(
            check=check,
            status=status,
            signal=signal,
            statistic=statistic,
            estimate=shown((n - good if of_bad else good) / n) if n else "",
            bound=bound,
            required=required,
            n=n,
            detail=detail + more,
        )

    first = next(((c, n) for c, n in zip(test.boundaries, test.looks, strict=True) if c is not None), None)
    if first is None:
        return result(Status.INCONCLUSIVE, f"no look could pass: {test.looks[-1]} scenes are too few", 0)
    if not outcomes:
        return result(Status.INCONCLUSIVE, f"needs trials: {first[0]} of the first {first[1]} scenes would pass", 0)
    found = follow(test, outcomes)
    good, n = sum(outcomes), len(outcomes)
    if Fraction(binomial_upper(good, n, test.alpha)) < test.p0:
        late = "crossed earlier, but " if found.step is Step.CROSSED else ""
        return result(Status.FAIL, f"{late}{good} of {n} {what}: too few are shown", n)
    if found.step is Step.CROSSED:
        lower = stagewise_lower(test, found)
        bound = outward(1 - Fraction(lower), "up") if of_bad else lower
        so_far = f"{found.successes} of {found.trials} {what}"
        return result(Status.PASS, f"crossed at look {found.trials}: {so_far}", found.trials, bound)
    status = Status.INCONCLUSIVE if found.step is Step.CONTINUE else Status.FAIL
    return result(status, _still(found, test, what), found.trials)


def _still(found: SequentialResult, test: SequentialPlan, what: str) -> str:
    so_far = f"{found.successes} of {found.trials} {what}"
    if found.step is Step.CONTINUE:
        more = (found.next_look or 0) - found.trials
        return f"{so_far}; needs {more} more scenes, {found.needed} good of {found.next_look}"
    if found.step is Step.FUTILE:
        return f"{so_far}: no remaining scenes could show more than {shown(float(test.p0))}"
    return f"{so_far}, all that were agreed: it is not shown"


def both_ways(scenes: Scenes) -> str:
    """What the figure would be without the scenes that say nothing; told beside, never decided on."""
    if not scenes.excluded:
        return ""
    left = scenes.measured
    bits = all(value in (0, 1) for value in left)
    rest = f", {int(sum(left))} of {len(left)} without them" if bits else ""
    return f"; {scenes.excluded} excluded, unplanned or unmeasured runs count as failures{rest}"
