"""iCEM: CEM with noise that changes slowly, elites that are kept, and fewer plans every round.

Source: Pinneri et al. 2020, arXiv 2008.06389. Notable choices: as there, a share of the elites is evaluated again in
the next round and the mean itself in the last; the warm start is shifted in by whoever calls.

Shape legend: N plans, K knots, A action channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.control.planners import Deadline, Plan, Planner, Scorer
from worldgate.control.planners._rounds import LEAST, Pace, Search, coloured, half_range
from worldgate.core.streams import FloatArray

CARD = {
    "line": "CEM with coloured noise, kept elites and fewer plans every round",
    "inputs": "costs",
    "source": "Pinneri et al. 2020, arXiv 2008.06389",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How it searches."""

    plans: int = 128
    """Of the first round."""
    rounds: int = 4
    decay: float = 1.25
    """Each round has so many times fewer plans."""
    elites: int = 12
    """Plans that the next round's Gaussian is fitted to."""
    kept: float = 0.3
    """Share of the elites that stay."""
    colour: float = 2.0
    """Power of the noise falls with frequency by this exponent; 0 is white."""
    momentum: float = 0.1
    """Share of the old mean and spread in the new."""
    spread: float = 0.5
    """Of the first round, in half ranges of the actions."""
    least: float = 0.02
    """The spread never falls below this."""


def create(config: Config) -> Planner:
    """See :class:`worldgate.control.planners.PlannerModule`."""
    return Icem(config)


class Icem(Planner):
    """The search."""

    def __init__(self, config: Config) -> None:
        self.config, self._pace = config, Pace()

    def plan(self, scorer: Scorer, start_KA: FloatArray, deadline: Deadline, rng: np.random.Generator) -> Plan:
        config, search = self.config, Search(scorer, start_KA, deadline, self._pace)
        unit_A, low, high = half_range(search.space), search.space.low_A, search.space.high_A
        mean_KA, spread_KA = search.best_KA, np.broadcast_to(config.spread * unit_A, search.best_KA.shape)
        kept = mean_KA[None]
        for number in range(config.rounds):
            count = search.fit(max(LEAST, round(config.plans / config.decay**number)))
            if not count:
                break
            fresh = coloured(rng, (count - len(kept), *mean_KA.shape), config.colour)
            plans = np.concatenate([kept, np.clip(mean_KA + spread_KA * fresh, low, high)])
            costs = search.evaluate(plans)
            elites = plans[np.argsort(costs, kind="stable")[: min(config.elites, max(2, count // 3))]]
            mean_KA = config.momentum * mean_KA + (1 - config.momentum) * elites.mean(axis=0)
            spread_KA = config.momentum * spread_KA + (1 - config.momentum) * elites.std(axis=0)
            spread_KA = np.maximum(spread_KA, config.least * unit_A)
            kept = elites[: max(1, round(config.kept * len(elites)))]
            if number == config.rounds - 2:
                kept = np.concatenate([mean_KA[None], kept])
        return search.plan(config.rounds)
