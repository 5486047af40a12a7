"""CEM: draws plans from a Gaussian, keeps the best few, fits the Gaussian to them, and again.

Source: the cross-entropy method (Rubinstein 1999), as planners in latents use it (LeWM, arXiv 2603.19312: 300 plans, 30
rounds, 30 elites; fewer rounds serve as well where the start is warm). Notable choice: the best plan that was ever
evaluated is given, so a search never makes its start worse.

Shape legend: N plans, K knots, A action channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.control.planners import Deadline, Plan, Planner, Scorer
from worldgate.control.planners._rounds import Pace, Search, half_range
from worldgate.core.streams import FloatArray

CARD = {
    "line": "cross-entropy method: a Gaussian fitted to the best plans of each round",
    "inputs": "costs",
    "source": "Rubinstein 1999",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How it searches."""

    plans: int = 300
    """Of a round."""
    rounds: int = 8
    elites: int = 30
    """Plans that the next round's Gaussian is fitted to."""
    spread: float = 0.5
    """Of the first round, in half ranges of the actions."""
    least: float = 0.02
    """The spread never falls below this."""


def create(config: Config) -> Planner:
    """See :class:`worldgate.control.planners.PlannerModule`."""
    return Cem(config)


class Cem(Planner):
    """The search."""

    def __init__(self, config: Config) -> None:
        self.config, self._pace = config, Pace()

    def plan(self, scorer: Scorer, start_KA: FloatArray, deadline: Deadline, rng: np.random.Generator) -> Plan:
        config, search = self.config, Search(scorer, start_KA, deadline, self._pace)
        unit_A = half_range(search.space)
        mean_KA, spread_KA = search.best_KA, np.broadcast_to(config.spread * unit_A, search.best_KA.shape)
        for _ in range(config.rounds):
            count = search.fit(config.plans)
            if not count:
                break
            noise = rng.standard_normal((count, *mean_KA.shape))
            noise[0] = 0.0
            plans = np.clip(mean_KA + spread_KA * noise, search.space.low_A, search.space.high_A)
            costs = search.evaluate(plans)
            elites = plans[np.argsort(costs, kind="stable")[: min(config.elites, max(2, count // 4))]]
            mean_KA, spread_KA = elites.mean(axis=0), np.maximum(elites.std(axis=0), config.least * unit_A)
        return search.plan(config.rounds)
