"""MPPI: draws plans round one, and moves it to their mean, weighted by how little they cost.

Source: Williams et al. 2017, arXiv 1707.02342. Notable choices: the temperature is a share of the spread of a round's
costs, so that it means the same in every unit; the noise may change slowly.

Shape legend: N plans, K knots, A action channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.control.planners import Deadline, Plan, Planner, Scorer
from worldgate.control.planners._rounds import Pace, Search, coloured, half_range
from worldgate.core.streams import FloatArray

CARD = {
    "line": "model predictive path integral: the mean of all plans, weighted by their costs",
    "inputs": "costs",
    "source": "Williams et al. 2017, arXiv 1707.02342",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How it searches."""

    plans: int = 256
    """Of a round."""
    rounds: int = 6
    temperature: float = 0.3
    """In standard deviations of a round's costs; the lower, the fewer plans count."""
    spread: float = 0.4
    """Of the noise in the first round, in half ranges of the actions."""
    decay: float = 0.8
    """The spread of a round as a share of the one before."""
    colour: float = 1.0
    """Power of the noise falls with frequency by this exponent; 0 is white."""


def create(config: Config) -> Planner:
    """See :class:`worldgate.control.planners.PlannerModule`."""
    return Mppi(config)


class Mppi(Planner):
    """The search."""

    def __init__(self, config: Config) -> None:
        self.config, self._pace = config, Pace()

    def plan(self, scorer: Scorer, start_KA: FloatArray, deadline: Deadline, rng: np.random.Generator) -> Plan:
        config, search = self.config, Search(scorer, start_KA, deadline, self._pace)
        unit_A, mean_KA = half_range(search.space), search.best_KA
        for number in range(config.rounds):
            count = search.fit(config.plans)
            if not count:
                break
            noise = coloured(rng, (count, *mean_KA.shape), config.colour)
            noise[0] = 0.0
            spread_A = config.spread * config.decay**number * unit_A
            plans = np.clip(mean_KA + spread_A * noise, search.space.low_A, search.space.high_A)
            costs = search.evaluate(plans)
            warmth = config.temperature * max(float(costs.std()), 1e-12)
            weight_N = np.exp(-(costs - costs.min()) / warmth)
            mean_KA = np.tensordot(weight_N / weight_N.sum(), plans, axes=1)
        return search.plan(config.rounds)
