"""A world model as the place of a trial: the policy acts on what is imagined, the oracles judge predicted states.

Such a trial is marked imagined, and no gate of real trials counts it. It is evidence only up to the horizon H(epsilon)
that the model was admitted for, on the signals that the oracles read: the run stops there, and where it has not
succeeded by then it is excluded as "beyond the valid horizon". A violation before counts all the same. Without an
admitted horizon nothing is evidence.

Shape legend: A action channels, D state channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from worldgate.core.evidence import Trial
from worldgate.core.streams import Array, FloatArray, Origin
from worldgate.core.times import now_ns
from worldgate.core.worlds import Observation, Policy, Prompt, Signal, Transition, Unrolling, WorldModel
from worldgate.evidence import judging, trials
from worldgate.evidence.scenarios import Scenario
from worldgate.evidence.trials import run_trial

CARD = {
    "line": "a world model in closed loop, judged on predicted states within its admitted horizon",
    "inputs": "a WorldModel, a prompt for each scenario, and admitted steps for each signal",
    "source": "valid horizon: docs/explanation/gap.md",
}
ORIGINS = frozenset({Origin.IMAGINED})
CLOSED_LOOP = True
BEYOND = "beyond the valid horizon"

Measure = Callable[[Observation], Mapping[str, float]]
"""Facts of an imagined observation, such as a clearance computed from poses; their names end in their unit."""


class _World:
    """An unrolling as an environment that stops at a horizon or when the scenario's success is met."""

    origin = Origin.IMAGINED

    def __init__(self, executor: Executor, prompt: Prompt) -> None:
        self.executor, self.prompt = executor, prompt
        spec = executor.model.spec
        self.rate_hz = spec.rate_hz
        self.signals: tuple[Signal, ...] = (*spec.states, *spec.reads)
        self._unrolling: Unrolling | None = None

    def reset(self, *, seed: int) -> Observation:
        self._unrolling = self.executor.model.open(self.prompt, samples=1, seed=seed)
        spec = self.executor.model.spec
        rows: dict[str, Array] = {s.name: np.asarray(self.prompt.states[s.name][-1]) for s in spec.states}
        return rows | {c.name: np.asarray(self.prompt.frames[c.name][-1]) for c in spec.cameras}

    def step(self, action: FloatArray) -> Transition:
        assert self._unrolling is not None, "reset the environment first"
        frame = self._unrolling.step(np.asarray(action, np.float32)[None, None])
        rows: dict[str, Array] = {name: values[0, -1] for name, values in frame.states.items()}
        rows |= {name: frames[0, -1] for name, frames in frame.frames.items()}
        measure = self.executor.measure
        return Transition(observation=rows, done=False, facts={} if measure is None else dict(measure(rows)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """Runs a policy in one world model."""

    model: WorldModel
    prompt: Callable[[Scenario], Prompt]
    """Where a scenario starts."""
    horizons: Mapping[str, int] = field(default_factory=dict)
    """Stream -> steps up to which an admission decision counts it as evidence; one that is missing has none."""
    measure: Measure | None = None
    """Facts of a predicted observation; they are evidence as far as every stream of ``measured_from`` is."""
    measured_from: tuple[str, ...] = ()
    clock: Callable[[], int] = now_ns

    @property
    def digest(self) -> str:
        """Of the world model."""
        return self.model.spec.digest

    def valid_steps(self, scenario: Scenario) -> int:
        """Steps up to which everything that the scenario's oracles read is evidence."""
        streams = {s.name for s in (*self.model.spec.states, *self.model.spec.reads)}
        read = judging.signals_of(scenario)
        needed = {name for name in read if name in streams}
        if read - streams:
            if not self.measured_from:
                return 0
            needed |= set(self.measured_from)
        return min((self.horizons.get(name, 0) for name in needed), default=0)

    def run(self, policy: Policy, scenario: Scenario, *, slot: str, seed: int, max_steps: int) -> Trial:
        """One imagined trial.

        Raises:
            DataRefused: a scenario with variations.
            CapabilityMissing: the prompt asks for what the model lacks.
        """
        trials.refuse_misfit(scenario)
        valid = min(self.valid_steps(scenario), max_steps)
        started = self.clock()
        if valid < 1:
            return self._nothing(policy, scenario, slot=slot, seed=seed, started=started)
        world = _World(self, self.prompt(scenario))
        trial = run_trial(policy, world, scenario, slot=slot, seed=seed, max_steps=valid, clock=lambda: started)
        if trial.success or trial.excluded or valid == max_steps:
            return replace(trial, world=self.digest)
        return replace(trial, world=self.digest, excluded=f"{BEYOND}: {valid} of {max_steps} steps are evidence")

    def _nothing(self, policy: Policy, scenario: Scenario, *, slot: str, seed: int, started: int) -> Trial:
        return Trial(
            scenario=scenario.digest,
            release=policy.digest,
            executor=Origin.IMAGINED,
            slot=slot,
            seed=seed,
            success=False,
            violations=0,
            excluded=f"{BEYOND}: no step is admitted for what the oracles read",
            started_ns=started,
            world=self.digest,
        )
