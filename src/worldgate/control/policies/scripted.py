"""The embedded cell's scripted controller as a release: parameters in safetensors, observations through statistics.

It needs no learning and no torch, yet fails as a learned policy does: its weights hold the scale on which it was tuned,
and what it sees passes the release's normaliser first. With the right statistics both cancel; with the wrong ones it
acts on another world.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from worldgate.control.policies._release import Fitted, read_observation, read_tensors, signal_of
from worldgate.core.errors import DataRefused, WeightsRefused
from worldgate.core.normalisers import Normaliser, Statistics
from worldgate.core.streams import Array, FloatArray
from worldgate.core.worlds import Observation, Policy
from worldgate.fleet.releases import Controller, Release
from worldgate.sim import sensing
from worldgate.sim.cell import CONTROL_S
from worldgate.sim.experts import Expert, ExpertConfig

CARD = {
    "line": "the embedded cell's scripted controller, executed as a release",
    "inputs": "observation.state and observation.environment_state of the embedded cell",
    "needs": "sim",
    "source": "Igarashi et al. 2010, dipole field for pushing",
}

OBSERVATION = (signal_of(sensing.STATE), signal_of(sensing.AROUND))
"""What the embedded cell observes."""
ACTION = signal_of(sensing.ACTION)
"""What the embedded cell takes."""

_PARAMETERS = 3
"""Keep-out distance (m), speed on the free way and while pushing (m/s)."""


class ScriptedPolicy(Policy):
    """Executes the controller of a release.

    Args:
        release: the executable identity.
        weights: its one safetensors file.

    Raises:
        WeightsRefused: tensors that do not fit the schema.
        DataRefused: a release for other streams.
    """

    def __init__(self, release: Release, weights: Mapping[str, bytes]) -> None:
        if tuple(s.names for s in release.observation) != tuple(s.names for s in OBSERVATION):
            raise DataRefused("this controller reads the embedded cell's streams", got=release.observation)
        self._release = release
        tensors = read_tensors(weights)
        wanted: dict[str, tuple[int, ...]] = {"parameters": (_PARAMETERS,)}
        for signal in OBSERVATION:
            wanted |= {f"{signal.name}.mean": signal.shape, f"{signal.name}.std": signal.shape}
        if {name: tensor.shape for name, tensor in tensors.items()} != wanted:
            raise WeightsRefused("not the tensors of this controller", got=", ".join(sorted(tensors))[:80])
        self._tensors = tensors
        if "site" not in release.pre:
            raise DataRefused("this controller must know its site", where="release:pre:site")
        keep_out, speed, push = map(float, tensors["parameters"])
        config = ExpertConfig(keep_out_m=keep_out, speed_m_s=speed, push_m_s=push)
        self._expert = Expert(config, str(release.pre["site"]))

    @property
    def digest(self) -> str:
        return self._release.digest

    def reset(self, *, seed: int) -> None:
        self._expert.reset(seed=seed)

    def act(self, observation: Observation) -> FloatArray:
        rows = read_observation(self._release, observation)
        seen: dict[str, Array] = {}
        for signal, row in zip(self._release.observation, rows, strict=True):
            seen[signal.name] = row * self._tensors[f"{signal.name}.std"] + self._tensors[f"{signal.name}.mean"]
        return self._release.normaliser.invert(self._release.action.name, self._expert.act(seen))


def build(release: Release, weights: Mapping[str, bytes]) -> ScriptedPolicy:
    """See :class:`worldgate.control.policies.PolicyModule`."""
    return ScriptedPolicy(release, weights)


def configure(config: ExpertConfig, site: str, normaliser: Normaliser) -> Fitted:
    """A controller of these parameters, tuned on a normaliser's scale.

    Args:
        config: how it behaves; noise and randomness are no part of a release.
        site: where it is to work.
        normaliser: statistics of the two observed streams.

    Raises:
        DataRefused: a noisy or random expert.
    """
    if config.kind != "scripted" or config.noise_m:
        raise DataRefused("a controller to be released is neither noisy nor random", got=config)
    tensors: dict[str, Array] = {"parameters": np.array([config.keep_out_m, config.speed_m_s, config.push_m_s])}
    streams = {}
    for signal in OBSERVATION:
        streams[signal.name] = statistics = normaliser.statistics(signal.name)
        tensors |= {f"{signal.name}.mean": np.array(statistics.mean), f"{signal.name}.std": np.array(statistics.std)}
    streams[ACTION.name] = Statistics(mean=(0.0,) * len(ACTION.names), std=(1.0,) * len(ACTION.names))
    return Fitted(
        policy="scripted",
        tensors=tensors,
        normaliser=Normaliser(streams=streams),
        observation=OBSERVATION,
        action=ACTION,
        controller=Controller(convention="tool_position", rate_hz=1 / CONTROL_S),
        pre={"site": site},
    )
