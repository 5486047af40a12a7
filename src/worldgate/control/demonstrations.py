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

from worldgate.core.digest import digest_array, digest_json
from worldgate.core.episodes import Episode, Rows
from worldgate.core.errors import DataRefused
from worldgate.core.streams import FloatArray, Kind, StreamInfo
from worldgate.core.times import SECOND
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
            rows[info.name].append(_checked(observation.get(info.name), info))
        rows[LABEL].append(label)
        rows["action"].append(label + error)
        transition = environment.step(label + error)
        observation, facts = transition.observation, transition.facts
        resting = resting + 1 if facts.get("success") else 0
        if transition.done or resting > config.rest:
            break
    infos = {info.name: info for info in schema}
    infos[LABEL] = replace(infos["action"], name=LABEL)
    return _episode(environment, rows, infos, seed, success=bool(facts.get("success")))


def _checked(value: object, info: StreamInfo) -> FloatArray:
    row = np.asarray(value, dtype=np.float64)
    if row.shape != info.shape:
        raise DataRefused("not the observation that was announced", got=row.shape, where=info.name)
    return row


def _episode(
    environment: Environment,
    rows: Mapping[str, list[FloatArray]],
    infos: Mapping[str, StreamInfo],
    seed: int,
    *,
    success: bool,
) -> Episode:
    arrays = {name: np.stack(values) for name, values in rows.items()}
    length = len(arrays["action"])
    times = (np.arange(length) * (SECOND / environment.rate_hz)).astype(np.int64)
    zero = np.zeros(length, dtype=np.int64)
    streams = {
        name: Rows(
            info=replace(infos[name], count=length, rate_hz=environment.rate_hz),
            values=values,
            index=np.arange(length, dtype=np.int64),
            source_ns=times,
            skew_ns=zero,
            staleness_ns=zero,
            gap=np.zeros(length, dtype=np.bool_),
        )
        for name, values in arrays.items()
    }
    log = digest_json({name: digest_array(values) for name, values in arrays.items()})
    return Episode(
        id=log,
        log=log,
        name=f"demonstration_{seed}",
        alignment="",
        origin=environment.origin,
        rate_hz=environment.rate_hz,
        times_ns=times,
        streams=streams,
        facts={"success": success, "seed": float(seed)},
    )
