"""Direct: takes the warm start as it is; what inverse dynamics or a policy says, without any search.

Source: GC-IDM, which replaces search by a learned inverse. Shape legend: K knots, A action channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.control.planners import Deadline, Plan, Planner, Scorer
from worldgate.core.streams import FloatArray

CARD = {"line": "no search: the warm start of inverse dynamics or a policy", "inputs": "-", "source": "GC-IDM"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Nothing to choose."""


def create(config: Config) -> Planner:
    """See :class:`worldgate.control.planners.PlannerModule`."""
    del config
    return Direct()


class Direct(Planner):
    """No search."""

    def plan(self, scorer: Scorer, start_KA: FloatArray, deadline: Deadline, rng: np.random.Generator) -> Plan:
        del deadline, rng
        start = scorer.space.check(start_KA)
        return Plan(knots_KA=start, cost=float("nan"), evaluated=0, rounds=0, complete=True)
