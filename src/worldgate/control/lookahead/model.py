"""Looking ahead in any world model: the cost of a plan is how far the states or pictures it tells are from the goal's.

Distances of numbers are means of squares in units of ``scale``, those of pictures means of squared intensities; each as
a share of the distance now. One sample a plan: its mean path where the family has one.

Shape legend: N plans, K knots, L rows ahead, D channels of a stream, A action channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from worldgate.control.lookahead import CostConfig, Seen, held
from worldgate.control.lookahead.history import prompt_of
from worldgate.control.lookahead.terms import Term, penalty, require
from worldgate.control.planners import Space
from worldgate.core.errors import CapabilityMissing, UsageError
from worldgate.core.streams import Array, FloatArray
from worldgate.core.worlds import Capability, Frame, Observation, Signal, WorldModel

_NEAR = 1e-3
"""Distances below this count as this: at the goal nothing is far."""


class ModelLookahead:
    """Fulfils :class:`worldgate.control.lookahead.Lookahead`.

    Args:
        model: any world model that takes actions.
        scale: stream -> (D,) what counts as a unit, such as its spread in training; 1 without.
        low: (A,) least action.
        high: (A,) greatest.
        streams: what of a goal counts; everything that the model tells and the goal shows without.

    Raises:
        CapabilityMissing: a model that takes no actions.
    """

    def __init__(
        self, model: WorldModel, scale: Mapping[str, FloatArray], low: Sequence[float], high: Sequence[float],
        streams: Sequence[str] = (),
    ) -> None:  # fmt: skip
        if model.spec.action is None:
            raise CapabilityMissing("nothing can be planned without actions", got=model.spec.family)
        self.model, self.scale, self.streams = model, scale, tuple(streams)
        self.rows, self.action = model.spec.context, model.spec.action.name
        self.low_A, self.high_A = np.asarray(low, np.float64), np.asarray(high, np.float64)
        self._goal: Observation = {}

    @property
    def told(self) -> tuple[Signal, ...]:
        """Every stream that the model tells."""
        spec, have = self.model.spec, self.model.capabilities
        states = (*spec.states, *spec.reads) if Capability.STATE in have else ()
        return (*states, *(spec.cameras if Capability.FRAMES in have else ()))

    def aim(self, goal: Observation) -> None:
        """See :class:`worldgate.control.lookahead.Lookahead`."""
        shown = {}
        for signal in self.told:
            if signal.name not in goal or (self.streams and signal.name not in self.streams):
                continue
            if np.shape(goal[signal.name]) != signal.shape:
                hint = f"the model tells {signal.shape}"
                raise UsageError(
                    "a goal of another size", got=np.shape(goal[signal.name]), where=signal.name, hint=hint
                )
            shown[signal.name] = goal[signal.name]
        lost = sorted(set(self.streams) - set(shown))
        if not shown or lost:
            hint = f"the model tells {', '.join(signal.name for signal in self.told) or 'nothing'}"
            got = ", ".join(lost) or ", ".join(goal) or "nothing"
            raise UsageError("a goal that shows nothing this model tells", got=got, hint=hint)
        self._goal = shown

    def scorer(self, seen: Seen, *, ahead: int, left: int, costs: CostConfig, terms: Sequence[Term]) -> ModelScorer:
        """See :class:`worldgate.control.lookahead.Lookahead`."""
        del left
        if costs.reach:
            got = f"cost.reach = {costs.reach}"
            raise CapabilityMissing("this model learned no reachability", got=got, hint="the family jepa does")
        if costs.uncertainty and Capability.UNCERTAINTY not in self.model.capabilities:
            got = f"cost.uncertainty = {costs.uncertainty}"
            raise CapabilityMissing("this model tells no uncertainty", got=got, hint="the families state and jepa do")
        require(terms, self.told, f"this {self.model.spec.family} model")
        space = Space(knots=ahead // costs.hold, low_A=self.low_A, high_A=self.high_A)
        return ModelScorer(self, seen, self._goal, space, costs, terms)

    def warm(self, seen: Seen, left: int) -> FloatArray | None:
        """Nothing: such a model does not know how to act."""
        del seen, left
        return None

    def reachable(self, seen: Seen, left: int) -> float | None:
        """It cannot tell."""
        del seen, left
        return None


class ModelScorer:
    """Fulfils :class:`worldgate.control.planners.Scorer`."""

    def __init__(
        self, of: ModelLookahead, seen: Seen, goal: Observation, space: Space, config: CostConfig,
        terms: Sequence[Term],
    ) -> None:  # fmt: skip
        self.of, self.goal, self.space, self.config, self.terms = of, goal, space, config, terms
        self.prompt = prompt_of(of.model.spec, seen)
        now = {name: np.asarray(seen.observations[-1][name])[None, None] for name in goal}
        self.scale = {name: max(float(self._square(name, held)[0, 0]), _NEAR) for name, held in now.items()}

    def costs(self, plans_NKA: FloatArray) -> FloatArray:
        """(N,)."""
        config, count = self.config, len(plans_NKA)
        unrolling = self.of.model.open(self.prompt, samples=count, seed=0)
        frame = unrolling.step(held(plans_NKA, config.hold))
        every = slice(config.hold - 1, None, config.hold)
        told: dict[str, Array] = {**frame.states, **frame.frames}
        apart_NK = np.mean([self._square(n, told[n][:, every]) / self.scale[n] for n in self.goal], axis=0)
        out = config.path * apart_NK.mean(axis=1) + config.final * apart_NK[:, -1]
        if config.uncertainty:
            out = out + config.uncertainty * self._spread(frame)
        return np.asarray(out + penalty(self.terms, frame.states, count), np.float64)

    def _square(self, name: str, values_NKX: Array) -> FloatArray:
        """(N, K) mean squared distance to the goal."""
        goal = np.asarray(self.goal[name])
        if goal.ndim > 1:
            apart = (values_NKX.astype(np.float32) - goal.astype(np.float32)) / 255
        else:
            apart = (values_NKX - goal) / self.of.scale.get(name, np.ones(goal.shape))
        return np.asarray(np.square(apart).mean(axis=tuple(range(2, apart.ndim))))

    def _spread(self, frame: Frame) -> FloatArray:
        """(N,) mean variance of the numbers that count."""
        parts = [
            np.square(spread / self.of.scale.get(name, np.ones(spread.shape[-1]))).mean(axis=(1, 2)) / self.scale[name]
            for name, spread in frame.uncertainty.items()
            if name in self.goal
        ]
        return np.asarray(np.mean(parts, axis=0))
