"""Planners by name: each file searches for the actions that cost least, in whatever can tell what plans cost.

The seam: ``Config`` (a frozen dataclass) and ``create(config) -> Planner``. A planner knows neither models nor
simulators: it is given a :class:`Scorer`. Numpy in and out, so searching in a simulator needs no torch.

Shape legend: N plans, K knots (actions that are searched for), A action channels.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from worldgate.core import seams
from worldgate.core.config import decode
from worldgate.core.errors import UsageError
from worldgate.core.streams import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What is searched."""

    knots: int
    """K."""
    low_A: FloatArray
    """Least action."""
    high_A: FloatArray
    """Greatest."""

    def check(self, plan_KA: FloatArray) -> FloatArray:
        """A plan of this space, as float64.

        Raises:
            UsageError: another shape, not finite, or beyond the bounds: nothing is clipped silently.
        """
        plan = np.asarray(plan_KA, np.float64)
        if plan.shape != (self.knots, len(self.low_A)) or not np.isfinite(plan).all():
            raise UsageError("not a plan of this space", got=plan.shape, hint=f"({self.knots}, {len(self.low_A)})")
        slack = 1e-6 * (self.high_A - self.low_A)
        if (plan < self.low_A - slack).any() or (plan > self.high_A + slack).any():
            hint = f"from {self.low_A.tolist()} to {self.high_A.tolist()}"
            raise UsageError("a plan beyond the bounds of the actions", got=np.round(plan, 3).tolist()[0], hint=hint)
        return np.clip(plan, self.low_A, self.high_A)


class Scorer(Protocol):
    """Tells what plans cost, from one situation."""

    space: Space

    def costs(self, plans_NKA: FloatArray) -> FloatArray:
        """(N,) finite costs, less is better."""
        ...


@runtime_checkable
class Sloped(Scorer, Protocol):
    """A scorer that also tells where costs fall."""

    def slopes(self, plans_NKA: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(N,) costs and (N, K, A) their derivatives."""
        ...


class Deadline:
    """A time budget that has begun to run.

    Args:
        budget_ms: how long a decision may take; infinite without.
        begun_s: ``time.perf_counter()`` at its beginning; now without.
    """

    def __init__(self, budget_ms: float = math.inf, begun_s: float | None = None) -> None:
        self._end_s = (time.perf_counter() if begun_s is None else begun_s) + budget_ms / 1e3

    def left_s(self) -> float:
        """Seconds left; negative after the end."""
        return self._end_s - time.perf_counter()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a search found."""

    knots_KA: FloatArray
    cost: float
    """NaN where nothing was evaluated."""
    evaluated: int
    """Plans whose costs were asked for."""
    rounds: int
    complete: bool
    """Whether the search made all its rounds in time."""


class Planner(Protocol):
    """Searches."""

    def plan(self, scorer: Scorer, start_KA: FloatArray, deadline: Deadline, rng: np.random.Generator) -> Plan:
        """The best plan found in time; where there is no time at all, the start.

        Args:
            scorer: tells what plans cost.
            start_KA: where the search begins: a warm start.
            deadline: when it must be over; a round that would not end in time is not begun.
            rng: of all chance.

        Raises:
            UsageError: a start that is no plan of the space.
            CapabilityMissing: the scorer cannot tell what this planner asks.
        """
        ...


class PlannerModule(Protocol):
    """One file of this seam."""

    Config: type[Any]

    def create(self, config: Any) -> Planner:
        """A planner of this configuration."""
        ...


def open_planner(name: str, options: Mapping[str, Any] | None = None) -> Planner:
    """A planner by name.

    Raises:
        NotFound: no such planner.
        ConfigError: an option it does not have.
    """
    module = cast(PlannerModule, seams.load("planners", name))
    return module.create(decode(module.Config, dict(options or {}), where=name))
