"""Looking ahead in a copy of the simulator: what planning reaches where the model is perfect, and what it costs.

Shape legend: N plans, K knots, S numbers of the truth, A action channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worldgate.control.lookahead import CostConfig, Seen, held
from worldgate.control.lookahead.terms import Term, penalty, require
from worldgate.control.planners import Space
from worldgate.core.errors import CapabilityMissing, DataRefused, UsageError
from worldgate.core.streams import FloatArray
from worldgate.core.tasks import TRUTH, Task
from worldgate.core.worlds import Observation

_NEAR = 1e-3
"""Distances below this share of a unit count as this."""


class SimulatorLookahead:
    """Fulfils :class:`worldgate.control.lookahead.Lookahead`.

    Args:
        task: a copy of the simulator that nobody else uses.
    """

    rows = 1

    def __init__(self, task: Task) -> None:
        self.task, self.action = task, task.spec.action.name
        self._goal: FloatArray | None = None

    def aim(self, goal: Observation) -> None:
        """See :class:`worldgate.control.lookahead.Lookahead`."""
        if TRUTH not in goal or np.shape(goal[TRUTH]) != self.task.spec.truth.shape:
            got = np.shape(goal[TRUTH]) if TRUTH in goal else ", ".join(goal)
            raise UsageError("a simulator aims at a whole state", got=got, where=TRUTH, hint="Task.goal() shows one")
        self._goal = np.asarray(goal[TRUTH])

    def scorer(self, seen: Seen, *, ahead: int, left: int, costs: CostConfig, terms: Sequence[Term]) -> SimulatorScorer:
        """See :class:`worldgate.control.lookahead.Lookahead`."""
        del left
        if self._goal is None:
            raise UsageError("where to? aim at a goal first", hint="PlanningPolicy.aim(goal, steps=…)")
        if costs.reach or costs.uncertainty:
            got = f"cost.reach = {costs.reach}, cost.uncertainty = {costs.uncertainty}"
            raise CapabilityMissing(
                "a simulator tells neither reachability nor uncertainty", got=got, hint="0 for both"
            )
        require(terms, self.task.spec.states, "this simulator")
        now = seen.observations[-1]
        if TRUTH not in now:
            raise DataRefused("a simulator looks ahead from a whole state", got=", ".join(now), where=TRUTH)
        spec = self.task.spec
        space = Space(knots=ahead // costs.hold, low_A=np.asarray(spec.low), high_A=np.asarray(spec.high))
        return SimulatorScorer(self.task, np.asarray(now[TRUTH]), self._goal, space, costs, terms)

    def warm(self, seen: Seen, left: int) -> FloatArray | None:
        """Nothing: a simulator does not know how to act."""
        del seen, left
        return None

    def reachable(self, seen: Seen, left: int) -> float | None:
        """It cannot tell."""
        del seen, left
        return None


class SimulatorScorer:
    """Fulfils :class:`worldgate.control.planners.Scorer`."""

    def __init__(
        self, task: Task, now_S: FloatArray, goal_S: FloatArray, space: Space, config: CostConfig,
        terms: Sequence[Term],
    ) -> None:  # fmt: skip
        self.task, self.now_S, self.goal_S, self.space = task, now_S, goal_S, space
        self.config, self.terms = config, terms
        self.names = sorted({name for term in terms for name in term.streams})
        self._unit = 0.0

    def costs(self, plans_NKA: FloatArray) -> FloatArray:
        """(N,) of the task's own distance to the goal, as a share of the greatest in the first round."""
        config, apart_NK, told = self.config, np.zeros(plans_NKA.shape[:2]), []
        for n, actions_LA in enumerate(held(plans_NKA, config.hold).astype(np.float64)):
            self.task.begin(self.now_S, self.goal_S, seed=0)
            rows = []
            for row, action in enumerate(actions_LA):
                transition = self.task.step(action)
                rows.append({name: transition.observation[name] for name in self.names})
                apart_NK[n, row // config.hold :] = transition.facts["distance"]
                if transition.done:
                    rows += rows[-1:] * (len(actions_LA) - row - 1)
                    break
            told.append(rows)
        self._unit = self._unit or max(float(apart_NK.max()), _NEAR)
        share_NK = apart_NK / self._unit
        out = config.path * share_NK.mean(axis=1) + config.final * share_NK[:, -1]
        if self.terms:
            states = {name: np.array([[row[name] for row in rows] for rows in told]) for name in self.names}
            out = out + penalty(self.terms, states, len(out))
        return np.asarray(out)
