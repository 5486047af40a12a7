"""A policy that plans: looks ahead from what it sees, searches, does the first actions of what it found, and again.

The horizon never reaches beyond the time that is left, nor beyond what the time budget lets it evaluate. Every plan
can be asked what it was: how far it looked, what it evaluated, whether it kept its time and its constraints.

Shape legend: K knots, L rows ahead, A action channels.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from worldgate.control.lookahead import CostConfig, Lookahead, Seen
from worldgate.control.lookahead.terms import FORBIDDEN, Term
from worldgate.control.planners import Deadline, Plan, Planner, Space
from worldgate.core.digest import digest_json
from worldgate.core.errors import ConfigError, UsageError
from worldgate.core.streams import FloatArray
from worldgate.core.worlds import Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningConfig:
    """How plans are made and kept to."""

    horizon: int = 25
    """L at most, rows."""
    execute: int = 5
    """Rows that are done before planning again."""
    budget_ms: float = 0.0
    """Time that a plan may take; 0: as long as the search wants."""
    cost: CostConfig = field(default_factory=CostConfig)
    unreachable: float = 0.05
    """A goal whose estimated probability of being reached is below this counts as unreachable."""

    def __post_init__(self) -> None:
        if self.horizon < self.cost.hold or self.execute < 1 or self.budget_ms < 0:
            got = f"horizon = {self.horizon}, execute = {self.execute}, budget_ms = {self.budget_ms}"
            hint = "a horizon of cost.hold rows at least, execute of 1 at least, a budget of 0 or more"
            raise ConfigError("plans that cannot be made", got=got, where="planning", hint=hint)


class Warm(Protocol):
    """Guesses the next actions: a policy."""

    def act(self, observation: Observation) -> FloatArray:
        """(A,)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One time that was planned."""

    ms: float
    ahead: int
    """Rows looked ahead."""
    evaluated: int
    cost: float
    late: bool
    """The search was cut short by the time budget."""
    unlawful: bool
    """Even the best plan violates a constraint."""
    trial: int
    """Counted from 0 over all resets."""
    chance: float | None
    """Probability of reaching the goal as estimated at the trial's first plan; None where nothing tells it."""
    warm: str
    """Where the search began: ``inverse``, ``policy``, ``before`` (the plan before), ``still`` (the middle)."""


class PlanningPolicy:
    """Fulfils :class:`worldgate.core.tasks.GoalPolicy`.

    Args:
        lookahead: where it looks ahead.
        planner: what searches.
        config: how.
        low: (A,) least action.
        high: (A,) greatest.
        terms: constraints.
        warm: begins the search with what a policy would do, instead of inverse dynamics.
        name: what identifies model, planner and their options, for the digest.
    """

    def __init__(
        self,
        lookahead: Lookahead,
        planner: Planner,
        config: PlanningConfig,
        *,
        low: Sequence[float],
        high: Sequence[float],
        terms: Sequence[Term] = (),
        warm: Warm | None = None,
        name: str = "",
    ) -> None:
        self.lookahead, self.planner, self.config, self.terms, self._warm = lookahead, planner, config, terms, warm
        self.low_A, self.high_A = np.asarray(low, np.float64), np.asarray(high, np.float64)
        self._digest = digest_json({"planning": config, "name": name, "terms": [repr(term) for term in terms]})
        self.planned: list[Planned] = []
        self._trial = 0
        self.reset(seed=0)

    @property
    def digest(self) -> str:
        """Of model, planner and configuration."""
        return self._digest

    def reset(self, *, seed: int) -> None:
        """Forget what was seen and planned."""
        self._rng = np.random.default_rng([seed, 0x91A7])
        self._observations: list[Observation] = []
        self._actions: list[FloatArray] = []
        self._queue: list[FloatArray] = []
        self._rest_KA: FloatArray | None = None
        self._left = 0
        self._told = False
        self.chance: float | None = None
        self._trial += bool(self.planned) and self.planned[-1].trial == self._trial
        self._ahead = self.config.horizon

    def aim(self, goal: Observation, *, steps: int) -> None:
        """Take a goal; see :class:`worldgate.core.tasks.GoalPolicy`."""
        if steps < 1:
            raise UsageError("no time to go anywhere", got=steps, hint="steps of 1 or more")
        self.lookahead.aim(goal)
        self._left, self._queue, self._rest_KA = steps, [], None

    @property
    def unreachable(self) -> bool:
        """Whether the goal counted as unreachable when the first action was asked for."""
        return self.chance is not None and self.chance < self.config.unreachable

    def act(self, observation: Observation) -> FloatArray:
        """(A,) the next action; plans where nothing planned is left to do.

        Raises:
            DataRefused: an observation that does not fit the model.
            UsageError: no goal.
        """
        begun = time.perf_counter()
        self._observations = [*self._observations, observation][-self.lookahead.rows :]
        if not self._queue:
            self._decide(begun)
        action, self._queue = self._queue[0], self._queue[1:]
        self._actions = [*self._actions, action][-self.lookahead.rows :]
        self._left = max(1, self._left - 1)
        return action

    def _decide(self, begun_s: float) -> None:
        config, hold = self.config, self.config.cost.hold
        seen = Seen(observations=self._observations, actions=self._actions)
        if not self._told:
            self.chance, self._told = self.lookahead.reachable(seen, self._left), True
        deadline = Deadline(config.budget_ms or math.inf, begun_s)
        ahead = max(1, min(self._ahead, self._left) // hold) * hold
        scorer = self.lookahead.scorer(seen, ahead=ahead, left=self._left, costs=config.cost, terms=self.terms)
        start_KA, warm = self._start(seen, scorer.space, hold)
        plan = self.planner.plan(scorer, start_KA, deadline, self._rng)
        self._keep(plan, hold)
        # A plan that was too long to be evaluated in time is shorter the next time.
        self._ahead = (
            min(config.horizon, 2 * ahead) if plan.complete else ahead if plan.rounds else max(hold, ahead // 2)
        )
        self.planned.append(
            Planned(
                ms=1e3 * (time.perf_counter() - begun_s),
                ahead=ahead,
                evaluated=plan.evaluated,
                cost=plan.cost,
                late=not plan.complete,
                unlawful=plan.cost >= FORBIDDEN,
                trial=self._trial,
                chance=self.chance,
                warm=warm,
            )
        )

    def _keep(self, plan: Plan, hold: int) -> None:
        rows_LA = np.repeat(plan.knots_KA, hold, axis=0)
        self._queue = list(rows_LA[: self.config.execute])
        self._rest_KA = rows_LA[self.config.execute :]

    def _start(self, seen: Seen, space: Space, hold: int) -> tuple[FloatArray, str]:
        """(K, A) where the search begins: the guessed actions, then the plan before, then holding the last."""
        guess, warm = None, "still"
        if self._warm is not None:
            guess, warm = np.atleast_2d(self._warm.act(seen.observations[-1])), "policy"
        else:
            guess = self.lookahead.warm(seen, self._left)
            warm = "inverse" if guess is not None else warm
        rows = np.empty((0, len(self.low_A))) if guess is None else np.asarray(guess, np.float64)
        if self._rest_KA is not None and len(self._rest_KA):
            rows = np.concatenate([rows, self._rest_KA[len(rows) :]])
            warm = "before" if guess is None else warm
        if not len(rows):
            rows = (self.low_A[None] + self.high_A[None]) / 2
        wanted = space.knots * hold
        rows = np.concatenate([rows, np.repeat(rows[-1:], max(0, wanted - len(rows)), axis=0)])[:wanted]
        return space.check(rows.reshape(space.knots, hold, -1).mean(axis=1)), warm
