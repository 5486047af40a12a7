"""Demonstrations for cloning: an expert drives an environment while a slow disturbance moves what is executed.

The disturbance shows the expert states that a clone will drift into, and its command there is the label, unaltered
(DART, Laskey et al. 2017, arXiv:1703.09327). Executed actions and labels are kept apart: ``action`` is what was sent,
``action.expert`` what the expert asked for.

Shape legend: T rows, D channels, A action channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from worldgate.core.episodes import Episode, in_memory
from worldgate.core.streams import FloatArray, Kind, StreamInfo
from worldgate.core.worlds import Environment, Policy

LABEL = "action.expert"


@dataclass(frozen=True, kw_only=True, slots=True)
class DemonstrationConfig:
    """How an expert is watched."""

    steps: int = 150
    """Longest demonstration, in control periods."""
    disturbance: float = 0.012
    """Standard deviation of the slow disturbance, in the action's unit; 0 executes what the expert asks for."""
    persistence: float = 0.8
    """Correlation of the disturbance from one period to the next."""
    rest: int = 8
    """Periods kept after success, so that a clone learns to stay."""


def demonstrate(
    environment: Environment,
    expert: Policy,
    schema: Sequence[StreamInfo],
    *,
    seed: int,
    config: DemonstrationConfig | None = None,
) -> Episode:
    """One demonstration, as an episode of the environment's origin.

    Args:
        environment: where the expert acts.
        expert: who acts.
        schema: the observed vector streams that are kept, and ``action``.
        seed: of the environment, the expert and the disturbance.
        config: how it is watched.

    Raises:
        DataRefused: the environment observes something else than the schema says.
    """
    config = config or DemonstrationConfig()
    observed = [info for info in schema if info.kind is not Kind.ACTION]
    draw = np.random.default_rng([seed, 0xDA47])
    rows: dict[str, list[FloatArray]] = {name: [] for name in (*(info.name for info in observed), "action", LABEL)}
    observation = environment.reset(seed=seed)
    expert.reset(seed=seed)
    error: FloatArray | None = None
    facts: Mapping[str, float] = {}
    resting = 0
    for _ in range(config.steps):
        label = expert.act(observation)
        kick = draw.normal(0.0, config.disturbance, label.shape)
        error = kick if error is None else config.persistence * error + np.sqrt(1 - config.persistence**2) * kick
        for info in observed:
            rows[info.name].append(np.asarray(observation.get(info.name), dtype=np.float64))
        rows[LABEL].append(label)
        rows["action"].append(label + error)
        transition = environment.step(label + error)
        observation, facts = transition.observation, transition.facts
        resting = resting + 1 if facts.get("success") else 0
        if transition.done or resting > config.rest:
            break
    (action,) = (info for info in schema if info.kind is Kind.ACTION)
    return in_memory(
        (*observed, action, replace(action, name=LABEL)),
        rows,
        name=f"demonstration_{seed}",
        origin=environment.origin,
        rate_hz=environment.rate_hz,
        facts={"success": bool(facts.get("success")), "seed": float(seed)},
    )
