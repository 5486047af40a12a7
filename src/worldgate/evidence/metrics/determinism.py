"""Whether a rollout repeats: the same prompt, actions and seed give the same bytes, another seed another future.

* ``same_seed``: share of windows that repeat to the byte; below 1 nothing that this model imagined can be shown
  again.
* ``other_seed``: share of windows that another seed changes; 0 for a model that has one future, which is no fault.

A few steps of every episode's first window are rolled out three times.

Source: governance of the gap, W12.

Shape legend: B samples, K steps.
"""

from __future__ import annotations

from worldgate.core.worlds import Frame
from worldgate.evidence.evaluation.measures import Chunk, FigureInfo, Reading, Setup, Watcher, Window

CARD = {
    "line": "whether the same seed gives the same bytes, and another seed another future",
    "inputs": "any",
    "source": "governance of the gap, W12",
}
STEPS = 4


def build(setup: Setup) -> Determinism:
    """For any model."""
    return Determinism(setup)


class Determinism:
    """The measure."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        note = "" if setup.samples > 1 else "this model has one future"
        self.figures = (
            FigureInfo(name="same_seed", unit="1", better="target", target=1.0, note="must be 1"),
            FigureInfo(name="other_seed", unit="1", better="target", note=note),
        )
        self._tried: set[int] = set()

    def watch(self, window: Window) -> Watcher:
        """The first window of an episode is tried, the others are not."""
        first = window.episode not in self._tried
        self._tried.add(window.episode)
        return _Watch(self.setup, window, first)


class _Watch:
    def __init__(self, setup: Setup, window: Window, wanted: bool) -> None:
        self.setup, self.window, self.wanted = setup, window, wanted

    def see(self, chunk: Chunk) -> list[Reading]:
        del chunk
        return []

    def close(self) -> list[Reading]:
        if not self.wanted:
            return []
        steps, seed = min(STEPS, self.window.steps), self.window.seed
        one, again, other = (
            self.window.roll(steps, samples=self.setup.samples, seed=s) for s in (seed, seed, seed + 1)
        )
        return [
            Reading(figure="same_seed", contender="model", sums=(float(equal(one, again)), 1.0)),
            Reading(figure="other_seed", contender="model", sums=(float(not equal(one, other)), 1.0)),
        ]


def equal(one: Frame, two: Frame) -> bool:
    """Whether two frames hold the same bytes."""
    for a, b in ((one.states, two.states), (one.frames, two.frames), (one.uncertainty, two.uncertainty)):
        if set(a) != set(b) or any(a[name].tobytes() != b[name].tobytes() for name in a):
            return False
    return True
