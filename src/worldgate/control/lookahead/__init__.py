"""Where planners look ahead: in the latents of a model, in what any world model tells, or in a copy of the simulator.

A lookahead is told what was observed and where to go, and gives scorers: what plans cost from here.

Shape legend: T rows, N plans, K knots, L rows ahead, A action channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from worldgate.control.lookahead.terms import Term
from worldgate.control.planners import Scorer
from worldgate.core.errors import ConfigError
from worldgate.core.streams import FloatArray
from worldgate.core.worlds import Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class CostConfig:
    """What a plan costs: a weighted sum, in shares of what a plan that stays away from the goal would cost."""

    path: float = 1.0
    """Weight of the distance to the goal along the way. Without it, planning again and again postpones arriving."""
    final: float = 1.0
    """Weight of the distance at the end."""
    reach: float = 0.0
    """Weight of the probability that the goal is not reached in the time that is then left."""
    uncertainty: float = 0.0
    """Weight of what the model's members differ by: plans should not go where it does not know."""
    hold: int = 1
    """Rows for which a knot's action is held: fewer knots are searched faster."""

    def __post_init__(self) -> None:
        if min(self.path, self.final, self.reach, self.uncertainty) < 0 or self.path + self.final <= 0 or self.hold < 1:
            got = f"path = {self.path}, final = {self.final}, hold = {self.hold}"
            hint = "weights of 0 or more, path or final above 0, hold of 1 or more"
            raise ConfigError("costs that name no goal", got=got, where="cost", hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What has been observed, oldest first, and done in between."""

    observations: Sequence[Observation]
    """The last is now."""
    actions: Sequence[FloatArray]
    """(A,) each; one fewer."""


class Lookahead(Protocol):
    """Looks ahead from what is seen towards a goal."""

    rows: int
    """Rows it wants to see."""
    action: str
    """Stream of the actions."""

    def aim(self, goal: Observation) -> None:
        """Take a goal.

        Raises:
            UsageError: it shows nothing that counts here, or in another size.
        """
        ...

    def scorer(self, seen: Seen, *, ahead: int, left: int, costs: CostConfig, terms: Sequence[Term]) -> Scorer:
        """What plans of ``ahead`` rows cost from here.

        Args:
            seen: what is known.
            ahead: L; a multiple of ``costs.hold``.
            left: rows that are left to reach the goal.
            costs: what counts.
            terms: constraints.

        Raises:
            CapabilityMissing: a cost or constraint that cannot be told here.
        """
        ...

    def warm(self, seen: Seen, left: int) -> FloatArray | None:
        """(K, A) the next actions as this lookahead would guess them; None: it cannot."""
        ...

    def reachable(self, seen: Seen, left: int) -> float | None:
        """Probability that the goal is reached in the rows that are left; None: it cannot tell."""
        ...


def held(plans_NKA: FloatArray, hold: int) -> FloatArray:
    """(N, L, A) actions of every row, float32."""
    return np.repeat(np.asarray(plans_NKA, np.float32), hold, axis=1)
