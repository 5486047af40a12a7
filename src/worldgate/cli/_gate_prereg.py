"""``worldgate gate prereg``: what a plan will take and cannot show, and the plan on the ledger before its trials."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

from worldgate.cli._gate_policy import recorded_policy
from worldgate.cli._output import JsonFlag, Table, answer
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worldgate.evidence.forecast import Need
    from worldgate.evidence.plans import EvalPlan


def prereg(
    policy: str,
    release: str,
    /,
    *,
    suite: str,
    slot: tuple[str, ...],
    pairs: int = 0,
    baseline: str | None = None,
    executor: Literal["real", "simulated"] = "real",
    exclude: tuple[str, ...] = (),
    success: str = "0.95",
    violations: str = "0.005",
    discordant: str = "0.10",
    hours: str | None = None,
    name: str = "",
    dry_run: bool = False,
    key: str | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Say what trials will take, and register their plan before the first of them.

    For example:

        worldgate gate prereg promotion careful-r3 --suite kitchen-v1 --slot kitchen/ur5-17/left --dry-run
        worldgate gate prereg promotion careful-r3 --suite kitchen-v1 --slot kitchen/ur5-17/left --baseline careful-r2

    Which scenes, in which order and with which seeds follows from suite, release and attempt. Trials that are on the
    ledger before the plan do not count, nor do trials that are not one of its rows.

    Args:
        policy: A TOML file, a policy that ships with Worldgate, or the id or name of a recorded one.
        release: Id or name of the release that is judged.
        suite: Id or name of a held-out suite.
        slot: An arm that the trials run on, as site/robot/arm.
        pairs: Scenes that enter bounds; 0: all of the suite at these sites.
        baseline: Id or name of the release that it is compared with, scene by scene.
        executor: Where the trials run.
        exclude: A code under which a run may be excluded; it counts as a failure all the same.
        success: Assumed success probability of the release: the figures are of one as good as that.
        violations: Assumed probability that a scene breaks a limit.
        discordant: Assumed share of scenes on which release and baseline differ.
        hours: Supervised hours that are planned after the gate: what they could notice.
        name: Of the plan; else made from the release's.
        dry_run: Only say it.
        key: Name of the key that signs; else the program's own.
    """
    from worldgate.core.errors import UsageError
    from worldgate.core.streams import Origin
    from worldgate.core.times import now_ns
    from worldgate.evidence import forecast, plans
    from worldgate.evidence import policy as policies

    with open_workspace(workspace) as ws:
        rule, subject = recorded_policy(ws, policy), ws.resolve(release, "release")
        held = ws.resolve(suite, "suite")
        listed = plans.playable(ws, plans.suite_of(ws, held.digest), slot)
        plan = plans.make(
            ws,
            name=name or f"{subject.name or 'release'}-plan",
            policy=rule,
            release=subject,
            suite=held,
            slots=slot,
            pairs=pairs or sum(not scenario.tripwire for scenario in listed.values()),
            executor=Origin(executor),
            baseline=ws.resolve(baseline, "release") if baseline else None,
            exclusions=exclude,
            now_ns=now_ns(),
        )
        found = forecast.needs(
            policies.read(ws.get_json(rule.digest), where=policy),
            pairs=plan.pairs,
            attempts=plan.attempts,
            strata=_strata(plan),
            baseline=bool(plan.baseline),
            assumed=forecast.Assumed(success=success, violations=violations, discordant=discordant),
        )
        worn = plan.attempt > plan.attempts
        cannot = [f"anything: the suite is worn out, this is attempt {plan.attempt} of {plan.attempts}"] if worn else []
        cannot += forecast.limits(found)
        notes = forecast.noticed(hours) if hours is not None else []
        hopeless = [need for need in found if need.blocking and not need.possible]
        if not dry_run:
            if hopeless or worn:
                what = cannot[0] if worn else forecast.limits(hopeless)[0]
                raise UsageError("this plan could not pass", got=what, hint="--dry-run says all; add scenes")
            plans.register(ws, plan, actor=key)
    _tell(plan, found, [*(f"cannot be shown: {line}" for line in cannot), *notes], registered=not dry_run, as_json=json)


def _strata(plan: EvalPlan) -> Mapping[str, Mapping[str, int]]:
    """Attribute -> value -> scenes of the plan."""
    counts: dict[str, Counter[str]] = {}
    for row in plan.rows:
        if row.side == "new" and not row.tripwire:
            for attribute, value in row.strata.items():
                counts.setdefault(attribute, Counter())[value] += 1
    return counts


def _tell(plan: EvalPlan, found: tuple[Need, ...], notes: list[str], *, registered: bool, as_json: bool) -> None:
    from worldgate.core.digest import short

    rows = [
        (
            f"{need.check} {need.about}".rstrip(),
            need.scenes,
            need.fewest if need.fewest is not None else "never",
            f"{need.mean:.0f}" if need.mean is not None else "",
            f"{100 * need.power:.0f} %",
            need.shows,
        )
        for need in found
    ]
    columns = ("check", "scenes", "fewest", "mean", "passes", "a pass shows")
    wires = sum(row.tripwire for row in plan.rows)
    said = [
        f"{len(plan.rows)} runs of {plan.pairs} scenes"
        + (f" and {wires} tripwire{'s' * (wires > 1)}" if wires else "")
        + (", each by both releases" if plan.baseline else "")
        + f"; attempt {plan.attempt} of {plan.attempts} at this suite",
        *notes,
        f"registered as plan {short(plan.digest)}" if registered else "nothing was registered",
    ]
    body: dict[str, Any] = {"plan": plan.digest, "registered": registered, "needs": found, "notes": notes}
    answer("gate.prereg", body | {"rows": plan.rows}, Table(columns=columns, rows=rows), *said, as_json=as_json)
