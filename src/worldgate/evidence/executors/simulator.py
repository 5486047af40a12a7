"""The simulator, or any other environment that is set to a scenario and measures facts: closed loop.

A scenario that tells units or a frame must tell those that the environment takes (its attributes ``scenario_units`` and
``scenario_frame``); it is refused otherwise, as nothing converts them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from worldgate.core.errors import DataRefused
from worldgate.core.evidence import Trial
from worldgate.core.streams import Origin
from worldgate.core.times import now_ns
from worldgate.core.worlds import Policy
from worldgate.evidence.scenarios import Scenario
from worldgate.evidence.trials import EnvironmentFactory, run_trial

CARD = {
    "line": "a simulator or any environment that measures facts, in closed loop",
    "inputs": "a factory of environments for a scenario and a seed",
    "source": "the protocol Environment of worldgate.core.worlds",
}
ORIGINS = frozenset({Origin.SIMULATED, Origin.REAL})
CLOSED_LOOP = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """Runs a policy in environments of one kind."""

    make: EnvironmentFactory
    """(scenario, seed) -> environment."""
    digest: str = ""
    clock: Callable[[], int] = now_ns

    def run(self, policy: Policy, scenario: Scenario, *, slot: str, seed: int, max_steps: int) -> Trial:
        """One closed-loop trial, of the environment's own origin.

        Raises:
            DataRefused: a scenario with variations, in other units or another frame, or an environment that imagines.
        """
        environment = self.make(scenario, seed)
        if environment.origin not in ORIGINS:
            hint = "the executor world_model, which knows how far it is admitted"
            raise DataRefused("an imagined environment is no simulator", got=environment.origin, hint=hint)
        return run_trial(policy, environment, scenario, slot=slot, seed=seed, max_steps=max_steps, clock=self.clock)
