"""Random shooting: draws plans over the whole range once, and takes the best.

Source: the baseline of every search. Notable choice: half of the plans lie round the warm start.

Shape legend: N plans, K knots, A action channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.control.planners import Deadline, Plan, Planner, Scorer
from worldgate.control.planners._rounds import Pace, Search, half_range
from worldgate.core.streams import FloatArray

CARD = {"line": "random shooting: the best of many random plans; the baseline", "inputs": "costs", "source": "-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How it searches."""

    plans: int = 512
    spread: float = 0.25
    """Of the half that lies round the start, in half ranges of the actions."""


def create(config: Config) -> Planner:
    """See :class:`worldgate.control.planners.PlannerModule`."""
    return Shooting(config)


class Shooting(Planner):
    """The search."""

    def __init__(self, config: Config) -> None:
        self.config, self._pace = config, Pace()

    def plan(self, scorer: Scorer, start_KA: FloatArray, deadline: Deadline, rng: np.random.Generator) -> Plan:
        search = Search(scorer, start_KA, deadline, self._pace)
        low, high = search.space.low_A, search.space.high_A
        count = search.fit(self.config.plans)
        if count:
            near = count // 2
            spread_A = self.config.spread * half_range(search.space)
            round_start = search.best_KA + spread_A * rng.standard_normal((near, *search.best_KA.shape))
            round_start[:1] = search.best_KA
            anywhere = rng.uniform(low, high, (count - near, *search.best_KA.shape))
            search.evaluate(np.concatenate([np.clip(round_start, low, high), anywhere]))
        return search.plan(1)
