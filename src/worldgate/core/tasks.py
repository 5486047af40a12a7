"""Tasks: environments that can be put into a recorded situation and, where they take goals, asked to reach another.

A task is an :class:`~worldgate.core.worlds.Environment` that says what it shows, what it takes and how long it runs.
Every observation holds the row :data:`TRUTH` beside what a policy may see: all that :meth:`Task.begin` needs to stand
where that row stood. So start and goal of a trial are two rows of a recorded episode, a planner can search in a copy of
the simulator, and a failure can be run again. Models and policies never read it.

Shape legend: A action channels, D state channels, S numbers of the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from worldgate.core.errors import UsageError
from worldgate.core.streams import FloatArray
from worldgate.core.worlds import Environment, Observation, Policy, Signal

TRUTH = "simulator.state"
"""Stream of the whole state of a simulator, (S,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """What a task shows, takes and lasts."""

    name: str
    rate_hz: float
    states: tuple[Signal, ...]
    """Numbers that a policy may see."""
    cameras: tuple[Signal, ...]
    """Colour pictures, shape (H, W, 3)."""
    action: Signal
    low: tuple[float, ...]
    """(A,) least action, in the action's unit."""
    high: tuple[float, ...]
    """(A,) greatest."""
    truth: Signal
    """The stream :data:`TRUTH`."""
    steps: int
    """Longest run, in control periods."""
    takes_goals: bool = True
    """Whether :meth:`Task.begin` takes a goal; without, success and reward are the task's own."""
    text: bool = False
    """Whether every run has an instruction in words, :attr:`Task.text`."""

    def check(self, action: FloatArray) -> FloatArray:
        """An action of the right width, finite and within bounds, as float64.

        Raises:
            UsageError: it is not; nothing is clipped silently.
        """
        values = np.asarray(action, np.float64)
        if values.shape != self.action.shape or not np.isfinite(values).all():
            what, got = "not an action of this task", f"{values.tolist()}"
            raise UsageError(what, got=got, where=self.name, hint=f"{self.action.shape[0]} finite numbers")
        slack = 1e-6 * (np.asarray(self.high) - np.asarray(self.low))
        if (values < np.asarray(self.low) - slack).any() or (values > np.asarray(self.high) + slack).any():
            hint = f"from {list(self.low)} to {list(self.high)}"
            raise UsageError("an action outside its bounds", got=values.tolist(), where=self.name, hint=hint)
        return np.clip(values, self.low, self.high)


class Task(Environment, Protocol):
    """An environment whose situations can be set.

    A transition's facts hold ``success`` 0/1 and ``reward``; where there is a goal also ``distance``, the task's own
    measure of how far it is, in the unit that the task's page names.
    """

    spec: TaskSpec

    @property
    def text(self) -> str:
        """The instruction of the run, known from ``reset`` or ``begin`` on; empty: this task has none.

        It belongs to the truth of a row, and is the fact ``task`` of a recorded episode.
        """
        return ""

    def begin(self, start: FloatArray, goal: FloatArray | None = None, *, seed: int) -> Observation:
        """Start a run in a recorded situation.

        Args:
            start: (S,) a row of :data:`TRUTH`.
            goal: (S,) the row to reach; None: the task's own goal.
            seed: of what is random on the way.

        Raises:
            UsageError: not such rows, or a goal for a task that takes none.
        """
        ...

    def measure(self) -> Mapping[str, float]:
        """The facts that a transition into the present situation would hold: whether a trial begins at its goal."""
        ...

    def goal(self) -> Observation:
        """What the sensors show at the goal in force, numbers and pictures.

        Raises:
            CapabilityMissing: the task has no goal.
        """
        ...


class GoalPolicy(Policy, Protocol):
    """A policy that is told where to go."""

    def aim(self, goal: Observation, *, steps: int) -> None:
        """Take a goal; called after ``reset`` and before the first ``act``.

        Args:
            goal: what the sensors show there.
            steps: control periods that are allowed.

        Raises:
            UsageError: a goal of another size, or without what this policy looks at.
        """
        ...


class InstructedPolicy(Policy, Protocol):
    """A policy that is told in words what to do."""

    def tell(self, text: str) -> None:
        """Take the instruction; called after ``reset`` and before the first ``act``.

        Raises:
            UsageError: words that this policy cannot follow.
        """
        ...
