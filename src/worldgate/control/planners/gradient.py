"""Gradient: follows the slope of the costs from several starts at once.

Source: projected Adam (arXiv 1412.6980) on the actions, as DINO-WM's gradient planner. Notable choice: it asks for
slopes, which a model that is differentiable by its actions tells, and a simulator does not.

Shape legend: N starts, K knots, A action channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.control.planners import Deadline, Plan, Planner, Scorer, Sloped
from worldgate.control.planners._rounds import Pace, Search, half_range
from worldgate.core.errors import CapabilityMissing
from worldgate.core.streams import FloatArray

CARD = {
    "line": "projected Adam down the slope of the costs, from several starts",
    "inputs": "costs and slopes",
    "source": "arXiv 1412.6980; DINO-WM, arXiv 2411.04983",
}

_FIRST, _SECOND = 0.9, 0.999


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How it searches."""

    starts: int = 16
    """The warm start and others round it."""
    rounds: int = 20
    rate: float = 0.1
    """Of Adam, in half ranges of the actions."""
    spread: float = 0.5
    """Of the other starts, in half ranges of the actions."""


def create(config: Config) -> Planner:
    """See :class:`worldgate.control.planners.PlannerModule`."""
    return Gradient(config)


class Gradient(Planner):
    """The search."""

    def __init__(self, config: Config) -> None:
        self.config, self._pace = config, Pace()

    def plan(self, scorer: Scorer, start_KA: FloatArray, deadline: Deadline, rng: np.random.Generator) -> Plan:
        config = self.config
        if not isinstance(scorer, Sloped):
            hint = "a model of the family jepa tells slopes; cem, icem, mppi and shooting ask for none"
            raise CapabilityMissing("nothing tells the slope of the costs here", got=type(scorer).__name__, hint=hint)
        slopes_NKA: FloatArray = np.zeros(0)

        def sloped(plans_NKA: FloatArray) -> FloatArray:
            nonlocal slopes_NKA
            costs, slopes_NKA = scorer.slopes(plans_NKA)
            return costs

        search = Search(scorer, start_KA, deadline, self._pace, sloped)
        low, high, unit_A = search.space.low_A, search.space.high_A, half_range(search.space)
        noise = rng.standard_normal((config.starts, *search.best_KA.shape))
        noise[0] = 0.0
        plans = np.clip(search.best_KA + config.spread * unit_A * noise, low, high)
        first, second = np.zeros_like(plans), np.zeros_like(plans)
        for number in range(1, config.rounds + 1):
            count = search.fit(len(plans))
            if not count:
                break
            plans, first, second = plans[:count], first[:count], second[:count]
            search.evaluate(plans)
            slope = slopes_NKA * unit_A
            first = _FIRST * first + (1 - _FIRST) * slope
            second = _SECOND * second + (1 - _SECOND) * slope**2
            step = (first / (1 - _FIRST**number)) / (np.sqrt(second / (1 - _SECOND**number)) + 1e-12)
            plans = np.clip(plans - config.rate * unit_A * step, low, high)
        return search.plan(config.rounds)
