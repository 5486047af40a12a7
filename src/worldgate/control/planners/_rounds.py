"""What planners that evaluate many plans a round share: how many fit into the time that is left, and which was best.

Shape legend: N plans, K knots, A action channels.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from worldgate.control.planners import Deadline, Plan, Scorer, Space
from worldgate.core.streams import FloatArray

LEAST = 16
"""Fewer plans than these make no round."""
_MARGIN = 1.15
"""A round may take so much longer than the one before."""


class Pace:
    """How long a plan takes to evaluate, learned from the rounds before."""

    def __init__(self) -> None:
        self._per_plan_s: dict[int, float] = {}

    def fit(self, wanted: int, knots: int, left_s: float) -> int:
        """How many of the wanted plans fit into a time; 0 where too few do. Unknown: all of them.

        What is known of another number of knots counts in proportion.
        """
        if left_s <= 0:
            return 0
        if not self._per_plan_s:
            return wanted
        near = min(self._per_plan_s, key=lambda k: abs(k - knots))
        most = left_s / (_MARGIN * self._per_plan_s[near] * knots / near)
        fitting = wanted if most >= wanted else int(most)
        return fitting if fitting >= min(LEAST, wanted) else 0

    def note(self, plans: int, knots: int, spent_s: float) -> None:
        """A round took so long."""
        before = self._per_plan_s.get(knots, spent_s / plans)
        self._per_plan_s[knots] = 0.5 * before + 0.5 * spent_s / plans


class Search:
    """One search: evaluates rounds while time lasts, and remembers the best.

    Args:
        scorer: tells what plans cost.
        start_KA: where it begins.
        deadline: when it must be over.
        pace: of the rounds before.
        costs: tells costs instead of the scorer.
    """

    def __init__(
        self,
        scorer: Scorer,
        start_KA: FloatArray,
        deadline: Deadline,
        pace: Pace,
        costs: Callable[[FloatArray], FloatArray] | None = None,
    ) -> None:
        self.space, self.deadline, self.pace = scorer.space, deadline, pace
        self._costs = costs or scorer.costs
        self.best_KA, self.best = scorer.space.check(start_KA), float("nan")
        self.evaluated = self.rounds = 0

    def fit(self, wanted: int) -> int:
        """How many plans the next round may hold."""
        return self.pace.fit(wanted, self.space.knots, self.deadline.left_s())

    def evaluate(self, plans_NKA: FloatArray) -> FloatArray:
        """(N,) costs of a round."""
        begun = time.perf_counter()
        costs = self._costs(plans_NKA)
        assert costs.shape == (len(plans_NKA),) and np.isfinite(costs).all(), costs
        self.pace.note(len(plans_NKA), self.space.knots, time.perf_counter() - begun)
        self.evaluated, self.rounds = self.evaluated + len(plans_NKA), self.rounds + 1
        least = int(costs.argmin())
        if not self.best <= costs[least]:
            self.best_KA, self.best = plans_NKA[least], float(costs[least])
        return costs

    def plan(self, rounds: int) -> Plan:
        """What came of it, of so many rounds that were wanted."""
        return Plan(
            knots_KA=self.best_KA,
            cost=self.best,
            evaluated=self.evaluated,
            rounds=self.rounds,
            complete=self.rounds >= rounds,
        )


def half_range(space: Space) -> FloatArray:
    """(A,) half of what each channel may do: the unit of every spread."""
    return np.asarray((space.high_A - space.low_A) / 2)


def coloured(rng: np.random.Generator, shape: tuple[int, int, int], exponent: float) -> FloatArray:
    """(N, K, A) noise of unit spread whose power falls with frequency by this exponent along K; 0 is white.

    Source: Timmer and Koenig 1995, as iCEM draws it (arXiv 2008.06389).
    """
    white = rng.standard_normal(shape)
    if not exponent or shape[1] == 1:
        return white
    frequency = np.fft.rfftfreq(shape[1])
    frequency[0] = frequency[1]
    power = frequency ** (-exponent / 2)
    noise = np.fft.irfft(np.fft.rfft(white, axis=1) * power[:, None], n=shape[1], axis=1)
    gain = np.sqrt(np.square(np.fft.irfft(power, n=shape[1])).sum())
    return np.asarray(noise / gain)
