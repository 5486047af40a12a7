"""PushT for ``benchmarks/ranking.py``: watched runs, demonstrations, policies ranked by the coverage they reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import ranking_policies as made

from worldgate.control import grounds
from worldgate.control.demonstrations import LABEL, DemonstrationConfig, demonstrate
from worldgate.control.policies import mlp
from worldgate.control.policies._release import Fitted
from worldgate.control.ranking import Ground
from worldgate.core.episodes import Episode
from worldgate.core.streams import FloatArray, Kind
from worldgate.core.worlds import ModelSpec, Observation, Policy, Transition
from worldgate.sim.tasks import open_task
from worldgate.sim.tasks._pusht_expert import Pusher, PusherConfig, Wanderer
from worldgate.sim.watch import streams

NAME = "pusht"
STATES = ("observation.state", "observation.velocity", "observation.environment_state")
CAMERA = "observation.images.top"
STEPS = 150
"""Of a run: enough for the expert, and half as long to wait for all that never get there."""
LOG_SEED, SHOWN_SEED, HELD_SEED, START_SEED = 50_000, 20_000, 70_000, 900_000
ACTORS = (
    PusherConfig(),
    PusherConfig(noise_px=8.0, whim=0.5),
    PusherConfig(noise_px=4.0, whim=0.5, goals=True),
    None,
    PusherConfig(noise_px=20.0, whim=1.0),
    PusherConfig(noise_px=8.0, whim=0.5),
)
"""Who is watched, in turn; None wanders."""


class Held:
    """The task without pictures to look at, its actions held to their bounds as the ranking holds them."""

    rate_hz = 10.0

    def __init__(self) -> None:
        self.task = open_task("pusht", {"size": 8})
        self.origin = self.task.origin

    def reset(self, *, seed: int) -> Observation:
        return self.task.reset(seed=seed)

    def step(self, action: FloatArray) -> Transition:
        return self.task.step(np.clip(action, self.task.spec.low, self.task.spec.high))


def ground(spec: ModelSpec) -> Ground:
    """Cover the outline, as the product ranks it, by the best coverage of a run."""
    told = grounds.of_task("pusht", spec)
    return replace(told, make=Held, outcome="coverage", steps=STEPS)


def schema() -> list:
    """What is kept of a run, and the action."""
    return [i for i in streams(Held().task.spec) if i.name in STATES or i.kind is Kind.ACTION]


def watched(config: PusherConfig | None, count: int, seed: int, disturbance: float) -> list[Episode]:
    """Runs of an actor, disturbed while it shows what to do."""
    actor: Policy = Wanderer() if config is None else Pusher(config)
    watch = DemonstrationConfig(steps=STEPS, disturbance=disturbance)
    return [demonstrate(Held(), actor, schema(), seed=seed + k, config=watch) for k in range(count)]


def logs(folder: Path, count: int, *, pictures: bool) -> list[Episode]:
    """Runs of actors, good and bad, kept in memory: rows as a log of the task holds them."""
    assert not pictures, "PushT is ranked by numbers alone here"
    found: list[Episode] = []
    for number in range(count):
        found += watched(ACTORS[number % len(ACTORS)], 1, LOG_SEED + number, 6.0)
    return found


@lru_cache(maxsize=4)
def demonstrations(count: int, seed: int) -> tuple[Episode, ...]:
    """Of the scripted expert."""
    return tuple(watched(PusherConfig(), count, seed, 8.0))


@lru_cache(maxsize=16)
def clone(count: int, steps: int = 1500) -> Fitted:
    """A clone of some demonstrations, the first of one set."""
    config = mlp.MlpConfig(observation=STATES, label=LABEL, steps=steps, seed=1, convention="tool_position")
    return made.clone(demonstrations(20, SHOWN_SEED)[:count], config)


def held_out(count: int) -> Sequence[Episode]:
    """Demonstrations of the scripted expert that no clone has seen."""
    return demonstrations(count, HELD_SEED)


def expert(**changes: float) -> Policy:
    """The scripted one, changed."""
    return Pusher(replace(PusherConfig(), **changes))


def policies(*, quick: bool) -> dict[str, made.Maker]:
    """Name -> how it is made; 16, or eight for ``--quick``. Experts plan at every step, so most are clones."""
    out: dict[str, made.Maker] = {
        "scripted": expert,
        "random": Wanderer,
        "scripted, noise 30 px": lambda: expert(noise_px=30.0),
        "scripted, noise 80 px": lambda: expert(noise_px=80.0),
        "clone of 2": lambda: made.released(clone(2)),
        "clone of 8": lambda: made.released(clone(8)),
        "clone of 20": lambda: made.released(clone(20)),
        "clone of 20, 60 training steps": lambda: made.released(clone(20, steps=60)),
    }
    if quick:
        return out
    return out | {
        "clone of 14": lambda: made.released(clone(14)),
        "clone of 20, 300 training steps": lambda: made.released(clone(20, steps=300)),
        "clone of 20, 0.3 s late": lambda: made.Late(made.released(clone(20)), 3),
        "clone of 20, 0.8 s late": lambda: made.Late(made.released(clone(20)), 8),
        "clone of 20, 20 px off": lambda: made.Shaken(made.released(clone(20)), offset=(0.0, 20.0)),
        "clone of 20, noise 40 px": lambda: made.Shaken(made.released(clone(20)), noise=40.0),
        "clone of 20, T's x 30 % off": lambda: made.spoilt(clone(20), STATES[2], 0, 1.3),
        "clone of 20, tool's y in other units": lambda: made.spoilt(clone(20), STATES[0], 1, 10.0),
    }
