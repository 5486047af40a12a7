"""Actor trained in imagination: a recurrent state filtered from what is seen, and the likeliest action of it.

Source: DreamerV3 (Hafner et al. 2025, arXiv 2301.04104); trained by :mod:`worldgate.control.imagination`. Notable
choices: encoder, dynamics and actor are part of the weights, so the release knows nothing of the world model it was
trained in; its state counts rows, so it holds at the release's rate alone
(:func:`worldgate.control.policies.admit`).

Shape legend: D observed channels, A action channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from worldgate.control.imagination.acting import Acting
from worldgate.control.policies._release import Fitted, read_observation, read_tensors
from worldgate.core.errors import WeightsRefused
from worldgate.core.streams import FloatArray
from worldgate.core.worlds import Observation, Policy
from worldgate.fleet.releases import Controller, Release

if TYPE_CHECKING:
    from worldgate.control.imagination.online import Online

CARD = {
    "line": "actor trained in a recurrent world model's imagination; its state is part of it",
    "inputs": "vector streams, as the world model read them",
    "source": "DreamerV3, arXiv 2301.04104",
}


class ActorPolicy(Policy):
    """Executes fitted weights.

    Args:
        release: the executable identity.
        weights: its one safetensors file.

    Raises:
        WeightsRefused: tensors that do not fit the release's schema.
    """

    def __init__(self, release: Release, weights: Mapping[str, bytes]) -> None:
        self._release = release
        turning = [c for s in release.observation for c in self._circular(s.name, math.prod(s.shape))]
        try:
            classes, uniform = int(release.pre["classes"]), float(release.pre["uniform"])
            self._acting = Acting(read_tensors(weights), classes=classes, uniform=uniform, turning=tuple(turning))
        except KeyError as error:
            raise WeightsRefused("a release that does not say how its state is read", got=str(error)) from error
        except ValueError as error:
            raise WeightsRefused("weights of other widths than the schema", got=str(error)[:80]) from error
        channels = sum(math.prod(signal.shape) for signal in release.observation)
        widths = (channels + sum(turning), *release.action.shape)
        if (self._acting.inputs, self._acting.actions) != widths:
            raise WeightsRefused("weights of other widths than the schema", got=widths)

    def _circular(self, stream: str, width: int) -> tuple[bool, ...]:
        return self._release.normaliser.statistics(stream).circular or (False,) * width

    @property
    def digest(self) -> str:
        return self._release.digest

    def reset(self, *, seed: int) -> None:
        """Forget the run before."""
        self._acting.reset(seed=seed)

    def act(self, observation: Observation) -> FloatArray:
        seen_D = np.concatenate(read_observation(self._release, observation))
        plain_D = np.concatenate([np.asarray(observation[s.name], np.float64) for s in self._release.observation])
        unit_A = self._acting.act(seen_D, plain_D, explore=False)
        return self._release.normaliser.invert(self._release.action.name, unit_A)


def build(release: Release, weights: Mapping[str, bytes]) -> ActorPolicy:
    """See :class:`worldgate.control.policies.PolicyModule`."""
    return ActorPolicy(release, weights)


def fitted(run: Online, convention: str) -> Fitted:
    """The actor of a run as it stands, ready to become a release.

    Args:
        run: of learning in a task.
        convention: what the task's actions are, for example ``joint_velocity``.
    """
    spec, rssm = run.task.spec, run.net.config.rssm
    return Fitted(
        policy="actor",
        tensors=run.acting_tensors(),
        normaliser=run.normaliser,
        observation=spec.states,
        action=spec.action,
        controller=Controller(convention=convention, rate_hz=spec.rate_hz),
        pre={"classes": float(rssm.classes), "uniform": rssm.uniform},
        runtime={"numpy": np.__version__.rsplit(".", 1)[0]},
        seed=run.config.seed,
        facts={"steps": float(run.steps), "updates": float(run.updates)},
    )
