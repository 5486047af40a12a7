"""Gates over real logs: one signed admission decision a signal, and what a promotion would still need.

Nothing here has been run on a robot by a release, so no promotion can be decided; the shipped policy is asked what it
would want to see.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from worldgate.core.digest import digest_json
from worldgate.core.evidence import CheckResult, Status, Verdict
from worldgate.core.report import Section, Table
from worldgate.core.times import SECOND, now_ns
from worldgate.evidence import decide
from worldgate.evidence import policy as policies
from worldgate.evidence.decide import Decision, Inputs, Scope, put_evidence
from worldgate.evidence.forecast import needs
from worldgate.evidence.gap_report import GapReport
from worldgate.evidence.policy import GatePolicy
from worldgate.recipes._real_data import Taken
from worldgate.recipes._real_stage import Stage
from worldgate.record.events import Ref

YEAR = 365 * 86_400 * SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What the gate says of one model for one signal."""

    model: Ref
    signal: str
    decision: Decision

    @property
    def verdict(self) -> Verdict:
        """The decision's."""
        return self.decision.verdict

    @property
    def why(self) -> str:
        """What stood in the way, or nothing."""
        worst = Status.FAIL if self.verdict is Verdict.REJECT else Status.INCONCLUSIVE
        return "; ".join(dict.fromkeys(_reason(c) for c in self.decision.checks if c.status is worst))


def _reason(result: CheckResult) -> str:
    horizon = re.search(r"(at [\d.]+ s)$", result.statistic)
    against = re.search(r"against ([a-z -]+?) at", result.statistic)
    words = " ".join(part for part in (against and f"against {against[1]}", horizon and horizon[1]) if part)
    return f"{result.check} {words}: {result.detail}" if words else f"{result.check}: {result.detail}"


def admit(
    stage: Stage,
    model: Ref,
    report: GapReport,
    signals: Sequence[str],
    *,
    sites: Sequence[str],
    horizons_s: Sequence[float],
) -> list[Admission]:
    """Record a gap report and decide the model's admission, one decision a signal."""
    ws = stage.ws
    evidence = put_evidence(ws, report, inputs=(model, Ref("dataset", report.dataset)))
    out = []
    for signal in signals:
        rule = policies.register(ws, _policy(signal, horizons_s))
        moment = now_ns()
        decision = decide.decide(
            ws, rule, model, [evidence], scope=Scope(sites=tuple(sites)), now_ns=moment, valid_for_ns=YEAR
        )
        out.append(Admission(model=model, signal=signal, decision=decision))
        stage.facts["decisions"].append(
            {
                "model": model.name,
                "signal": signal,
                "verdict": str(decision.verdict),
                "decision": decision.ref.digest,
                "why": out[-1].why,
            }
        )
    return out


def _policy(signal: str, horizons_s: Sequence[float]) -> GatePolicy:
    """The admission policy for one signal, compared at horizons of its grid."""
    with resources.as_file(resources.files("worldgate.recipes") / "policies" / "real-admission.toml") as file:
        policy = policies.load(Path(file))
    slug = re.sub(r"[^A-Za-z0-9]+", "-", signal).strip("-").lower()
    checks = tuple(
        replace(spec, params={**spec.params, "horizons_s": list(horizons_s)}) if spec.check == "skill" else spec
        for spec in policy.checks
    )
    return replace(policy, name=f"{policy.name}-{slug}"[:64], signals=(signal,), checks=checks)


def table(admissions: Sequence[Admission], *, caption: str) -> Table:
    """Verdict a model and signal."""
    rows = tuple((a.model.name, a.signal, str(a.verdict), a.why or "-", a.decision.ref.digest[:12]) for a in admissions)
    return Table(headings=("model", "signal", "verdict", "why", "decision"), rows=rows, caption=caption)


def promotion(stage: Stage, taken: Taken) -> Section:
    """Ask the shipped promotion policy what it lacks for any release on this robot."""
    policy = policies.load("promotion")
    moment = now_ns()
    payload = decide.evaluate(
        policy,
        Inputs(
            subject=Ref("release", digest_json({"release": "none yet", "slot": stage.robot.slot})),
            scope=Scope(slots=(stage.robot.slot,)),
            decided_at_ns=moment,
            expires_ns=moment + YEAR,
            ledger_head=(0, ""),
        ),
    )
    told = needs(policy, pairs=100)
    missing = [
        f"{need.check}: a plan before the first trial, and {need.fewest} scenes without a failure at the least:"
        f" {need.shows}"
        for need in told
    ]
    asked = {need.check for need in told}
    missing += [line for line in payload["missing"] if line.split(":")[0] not in asked]
    stage.facts["promotion"] = {"verdict": payload["verdict"], "missing": missing}
    stage.story.say("a promotion would still need: " + "; ".join(missing))
    labelled = sum("success" in log.facts for log in taken.accepted)
    people = (
        f" The {labelled} labelled episodes are people's demonstrations: no release ran in them." if labelled else ""
    )
    return Section(
        title="d. What a promotion would still need",
        verdict=f"{payload['verdict']}: no release has run a trial on this robot",
        tone="neutral",
        words=(
            f"The shipped policy {policy.name} was asked about {stage.robot.slot}. It counts real trials of the release"
            f" alone; nothing imagined or replayed counts.{people}",
        ),
        tables=(
            Table(
                headings=("check", "still needed"),
                rows=tuple((text.split(":")[0], text.partition(": ")[2]) for text in missing),
            ),
        ),
        commands=("worldgate gate --help",),
    )
