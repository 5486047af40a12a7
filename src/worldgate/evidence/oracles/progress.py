"""How far did it get? The share of sub-goals of a rubric that were reached, each by conditions over named signals.

Source: rubrics of sub-goals, Kress-Gazit et al., arXiv:2409.09491. A sub-goal counts once reached, whatever came after.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.errors import ConfigError
from worldgate.evidence.judged import Judged, Outcome
from worldgate.evidence.oracles._reading import Condition, NotMeasured, holds, not_measured
from worldgate.evidence.runs import Run

CARD = {
    "line": "the share of a rubric's sub-goals that were reached is at least a limit",
    "inputs": "conditions over facts or channels of streams, one set a sub-goal",
    "source": "rubrics of sub-goals: Kress-Gazit et al., arXiv:2409.09491",
}
KIND = "progress"
METRIC = "progress"


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """One sub-goal."""

    name: str
    conditions: tuple[Condition, ...]
    """All must hold at the same row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The rubric."""

    goals: tuple[Goal, ...]
    least: float = 0.0
    """Share of sub-goals that must be reached, 0 to 1; 0 only reports."""

    def __post_init__(self) -> None:
        if not self.goals or not 0 <= self.least <= 1 or any(not goal.conditions for goal in self.goals):
            raise ConfigError("progress needs sub-goals with conditions, and a share of them", got=self.least)


def reads(config: Config) -> tuple[str, ...]:
    """Signals that are needed."""
    return tuple(c.signal for goal in config.goals for c in goal.conditions)


def judge(config: Config, run: Run) -> Judged:
    """Met where enough sub-goals were reached; when the last of them was."""
    reached: list[int] = []
    unmeasured = ""
    for goal in config.goals:
        try:
            good, known = holds(run, goal.conditions)
        except NotMeasured as error:
            return not_measured("progress", error)
        if good.any():
            reached.append(int(np.argmax(good)))
        elif not known.all():
            unmeasured = f"sub-goal {goal.name} not measured throughout"
    share = len(reached) / len(config.goals)
    met = share >= config.least - 1e-9
    outcome = Outcome.NOT_MEASURED if unmeasured and not met else Outcome.MET if met else Outcome.BROKEN
    return Judged(
        oracle="progress",
        outcome=outcome,
        metric=METRIC,
        extreme=share,
        at_s=float(run.times_s[max(reached)]) if reached else None,
        unmeasured=unmeasured if outcome is Outcome.NOT_MEASURED else "",
    )
