"""Run the rows of a plan where an environment can be had: the simulator, or a world model that wears its clothes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

from worldgate.core.errors import UsageError
from worldgate.core.evidence import Trial
from worldgate.core.times import now_ns
from worldgate.core.worlds import Policy
from worldgate.evidence import scenarios
from worldgate.evidence.plans import EvalPlan, Side
from worldgate.evidence.trials import EnvironmentFactory, run_trial
from worldgate.record.workspace import Workspace


def run_rows(
    ws: Workspace,
    plan: EvalPlan,
    policies: Mapping[Side, Policy],
    environments: Callable[[str], EnvironmentFactory],
    *,
    first: int = 1,
    count: int | None = None,
    max_steps: int = 200,
    clock: Callable[[], int] = now_ns,
) -> Iterator[Trial]:
    """Run rows of a plan in order, one at a time: the caller records each and stops when the gate has its answer.

    Args:
        ws: the workspace, for the scenes.
        plan: registered before.
        policies: what runs on each side.
        environments: slot -> a factory of environments on that arm.
        first: row to begin with, from 1.
        count: rows; None: all that are left.
        max_steps: longest run, in steps.
        clock: says when a run began.

    Raises:
        UsageError: a policy that is not the release its side stands for, or no policy for a side of the plan.
    """
    wanted = {"new": plan.release, "old": plan.baseline}
    for number, row in list(enumerate(plan.rows, 1))[first - 1 : None if count is None else first - 1 + count]:
        policy = policies.get(row.side)
        if policy is None or policy.digest != wanted[row.side]:
            got = "nothing" if policy is None else policy.digest[:12]
            raise UsageError(f"the {row.side} side is not what was planned", got=got, hint=wanted[row.side][:12])
        scenario = scenarios.load(ws, row.scenario)
        world = environments(row.slot)(scenario, row.seed)
        trial = run_trial(policy, world, scenario, slot=row.slot, seed=row.seed, max_steps=max_steps, clock=clock)
        yield dataclasses.replace(trial, plan=plan.digest, row=number)
