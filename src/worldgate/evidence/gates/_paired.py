"""What the checks of paired trials share: the pairs that count, and bounds of shares of scenes."""

from __future__ import annotations

from worldgate.core.evidence import CheckResult, Status
from worldgate.evidence.exact import ratio, shown
from worldgate.evidence.gap_bounds import Unmeasured, valid_horizon
from worldgate.evidence.gate_evidence import GateEvidence, inconclusive
from worldgate.evidence.pairing import Paired, pair
from worldgate.evidence.scenes import Scenes
from worldgate.evidence.statistics import binomial_lower, binomial_upper, zero_failure_trials

SIGNAL = "paired trials"


def horizon_steps(evidence: GateEvidence, *, probability: str, alpha: str) -> int:
    """H(epsilon) in steps, the least over the judged signals; 0 where one has none."""
    reached = []
    for signal in evidence.judged():
        assert evidence.gap is not None
        try:
            reached.append(valid_horizon(evidence.gap, signal.name, probability=probability, alpha=alpha).steps)
        except Unmeasured:
            reached.append(0)
    return min(reached, default=0)


def paired(evidence: GateEvidence, *, probability: str, alpha: str) -> Paired:
    """The pairs that count here: rollouts beyond H(epsilon) do not."""
    steps = horizon_steps(evidence, probability=probability, alpha=alpha)
    return pair(evidence.pairs or (), sites=evidence.sites, origins=evidence.origins, steps=steps)


def left_out(found: Paired) -> str:
    """What did not count, in words."""
    parts = [f"{found.scenes} of {found.scenes_run} scenes that were run are paired"]
    parts += [f"{found.beyond} rollouts beyond H(epsilon) refused"] if found.beyond else []
    parts += [f"{found.repeats} repeats not counted"] if found.repeats else []
    return ", ".join(parts)


def too_selective(found: Paired, share: str) -> str:
    """Why these pairs may be a selection, or nothing."""
    if not found.scenes_run:
        return "needs trials of one release on the same scenarios and seeds, for real and in this world model"
    if found.share < ratio(share):
        return f"needs at least {share} of the scenes that were run: {left_out(found)}"
    return ""


def upper_share(
    check: str, signal: str, statistic: str, scenes: Scenes, *, limit: str, alpha: str, note: str, unit: str = "scenes"
) -> CheckResult:
    """Clopper-Pearson: PASS if the share is shown to be at most the limit, FAIL if shown to be above."""
    events, n = int(sum(scenes.counted(1))), scenes.n
    required = f"<= {limit}"
    if not n:
        return inconclusive(check, statistic, f"nothing to count: {note}", signal=signal, required=required)
    upper, lower = binomial_upper(events, n, alpha), binomial_lower(events, n, alpha)
    status = Status.PASS if ratio(upper) <= ratio(limit) else Status.INCONCLUSIVE
    status = Status.FAIL if ratio(lower) > ratio(limit) else status
    more = f"; {zero_failure_trials(limit, alpha)} clean {unit} at the least" if status is Status.INCONCLUSIVE else ""
    return CheckResult(
        check=check,
        status=status,
        signal=signal,
        statistic=statistic,
        estimate=shown(events / n),
        bound=upper,
        required=required,
        n=n,
        detail=f"{events} of {n} {unit}{more}; {note}",
    )


def lower_share(
    check: str, signal: str, statistic: str, scenes: Scenes, *, minimum: str, alpha: str, note: str
) -> CheckResult:
    """Clopper-Pearson: PASS if the share is shown to be at least the minimum, FAIL if shown to be below."""
    events, n = int(sum(scenes.counted(0))), scenes.n
    required = f">= {minimum}"
    if not n:
        return inconclusive(check, statistic, f"nothing to count: {note}", signal=signal, required=required)
    upper, lower = binomial_upper(events, n, alpha), binomial_lower(events, n, alpha)
    status = Status.PASS if ratio(lower) >= ratio(minimum) else Status.INCONCLUSIVE
    status = Status.FAIL if ratio(upper) < ratio(minimum) else status
    least = zero_failure_trials(1 - ratio(minimum), alpha)
    more = f"; {least} clean scenes at the least" if status is Status.INCONCLUSIVE else ""
    return CheckResult(
        check=check,
        status=status,
        signal=signal,
        statistic=statistic,
        estimate=shown(events / n),
        bound=lower,
        required=required,
        n=n,
        detail=f"{events} of {n} scenes{more}; {note}",
    )
