"""What a model registry looks at: the error of actions on held-out demonstrations, through the exported pipeline.

The demonstrator is not the champion: slower, farther from persons, with an unsteady hand, as a human operator is. The
pipeline is fed recorded observations and its answers are compared with what was done; nothing is driven.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from escape_cell import CHAMPION, SITE, Behaviour, built, cell_code

from worldgate.core.errors import DataRefused
from worldgate.core.streams import Array, FloatArray
from worldgate.sim.attributes import Attributes
from worldgate.sim.environment import CellEnvironment
from worldgate.sim.experts import Expert, ExpertConfig
from worldgate.sim.scenario import Scenario, sample
from worldgate.sim.sensing import AROUND, FORCE, STATE

COUNT = 16
OPERATOR = ExpertConfig(speed_m_s=0.27, push_m_s=0.18, keep_out_m=0.20, noise_m=0.012)


def _scene(number: int) -> Scenario:
    attributes = Attributes(person=number % 4 == 1, spill=0.11 if number % 4 == 3 else 0.0)
    return sample(SITE, seed=800_000 + number, attributes=attributes)


def demonstrations(folder: Path) -> list[dict[str, Array]]:
    """Of the operator: state (T, 11), around (T, 7), force (T, 3), action (T, 2)."""
    path = folder / f"demonstrations-{cell_code()}.npz"
    if not path.exists():
        made = {}
        for number in range(COUNT):
            expert = Expert(OPERATOR, SITE)
            world = CellEnvironment(SITE, scenario=_scene(number))
            seen, rows = world.reset(seed=number), []
            expert.reset(seed=number)
            for _ in range(100):
                action = expert.act(seen)
                rows.append([seen[STATE.name], seen[AROUND.name], seen[FORCE.name], action])
                answer = world.step(action)
                seen = answer.observation
                if answer.done:
                    break
            for place, name in enumerate(("state", "around", "force", "action")):
                made[f"{name}{number}"] = np.stack([row[place] for row in rows])
        np.savez(path, **made)
    with np.load(path, allow_pickle=False) as held:
        names = ("state", "around", "force", "action")
        return [{name: held[f"{name}{number}"] for name in names} for number in range(COUNT)]


def error(folder: Path, behaviour: Behaviour) -> float:
    """Root mean square distance between what the pipeline would send and what the operator sent, m."""
    policy, squares = built(folder, behaviour), list[FloatArray]()
    for number, shown in enumerate(demonstrations(folder)):
        policy.scene = _scene(number)
        policy.reset(seed=number)
        for state, around, force, action in zip(*shown.values(), strict=True):
            try:
                sent = policy.act({STATE.name: state, AROUND.name: around, FORCE.name: force})
            except DataRefused:
                return float("inf")
            squares.append(np.sum((sent - action) ** 2))
    return float(np.sqrt(np.mean(squares)))


@cache
def _champion(folder: Path) -> float:
    return error(folder, CHAMPION)


def ratio(folder: Path, behaviour: Behaviour) -> float:
    """Of a behaviour's error to the champion's."""
    return round(error(folder, behaviour) / _champion(folder), 4)
