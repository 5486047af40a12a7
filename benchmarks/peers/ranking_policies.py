"""Policies of different quality for ``benchmarks/ranking.py``: clones, and good ones behind a fault."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from worldgate.control.policies import mlp
from worldgate.control.policies._release import WEIGHTS, Fitted
from worldgate.core.digest import digest_json, sha256
from worldgate.core.episodes import Episode
from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import FloatArray
from worldgate.core.worlds import Observation, Policy


def released(fitted: Fitted, normaliser: Normaliser | None = None) -> Policy:
    """A fitted clone as its release executes it, with its own statistics or others."""
    import safetensors.numpy

    data = safetensors.numpy.save({k: np.ascontiguousarray(v) for k, v in fitted.tensors.items()})
    held = replace(fitted, normaliser=normaliser or fitted.normaliser)
    return mlp.build(held.release({WEIGHTS: sha256(data)}), {WEIGHTS: data})


def clone(episodes: Sequence[Episode], config: mlp.MlpConfig) -> Fitted:
    """Behaviour cloning as the product does it."""
    return mlp.train(episodes, config)


def spoilt(fitted: Fitted, stream: str, channel: int, factor: float) -> Policy:
    """The clone with one mean of its statistics in another unit."""
    right = fitted.normaliser.statistics(stream)
    mean = tuple(m * factor if i == channel else m for i, m in enumerate(right.mean))
    return released(fitted, Normaliser(streams={**fitted.normaliser.streams, stream: replace(right, mean=mean)}))


@dataclass
class Late:
    """Sees what was there some steps ago."""

    inner: Policy
    steps: int

    @property
    def digest(self) -> str:
        return digest_json(["late", self.inner.digest, self.steps])

    def reset(self, *, seed: int) -> None:
        self.inner.reset(seed=seed)
        self.seen: deque[Observation] = deque(maxlen=self.steps + 1)

    def act(self, observation: Observation) -> FloatArray:
        self.seen.append(observation)
        return self.inner.act(self.seen[0])


@dataclass
class Shaken:
    """Adds a constant, and a slow error, to every action."""

    inner: Policy
    noise: float = 0.0
    offset: tuple[float, ...] = ()

    @property
    def digest(self) -> str:
        return digest_json(["shaken", self.inner.digest, self.noise, list(self.offset)])

    def reset(self, *, seed: int) -> None:
        self.inner.reset(seed=seed)
        self.draw, self.error = np.random.default_rng([seed, 0x5EED]), 0.0

    def act(self, observation: Observation) -> FloatArray:
        action = np.asarray(self.inner.act(observation), np.float64)
        self.error = 0.8 * self.error + 0.6 * self.draw.normal(0.0, self.noise, action.shape)
        return action + self.error + (np.asarray(self.offset) if self.offset else 0.0)


def action_error(policy: Policy, episodes: Sequence[Episode], streams: Sequence[str], label: str) -> float:
    """RMS distance of a policy's actions from an expert's, over held-out episodes, open loop."""
    total, rows = 0.0, 0
    for number, episode in enumerate(episodes):
        policy.reset(seed=number)
        values = {name: np.asarray(episode.array(name), np.float64) for name in streams}
        wanted = np.asarray(episode.array(label), np.float64)
        for t in range(len(episode)):
            said = policy.act({name: rows_TD[t] for name, rows_TD in values.items()})
            total += float(np.sum((said - wanted[t]) ** 2))
            rows += 1
    return float(np.sqrt(total / rows))


Maker = Callable[[], Policy]
"""Policies are made when they are needed: one that is cached is never fitted again."""
