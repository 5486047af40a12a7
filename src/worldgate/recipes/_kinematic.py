"""A world model of pushing without learning: the tool goes where it is told, and the object keeps its distance from it.

It stands in for anyone's model in recipes. With a ``pull`` it is optimistic: the object also slides towards the bay, as
in a model that saw only what succeeded.

Shape legend: B samples, K steps, T rows of a prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.control.policies._release import signal_of
from worldgate.core.digest import digest_json
from worldgate.core.streams import FloatArray
from worldgate.core.worlds import Capability, Frame, ModelSpec, Prompt, Unrolling, WorldModel
from worldgate.sim.cell import CONTROL_S
from worldgate.sim.sensing import ACTION, AROUND

REACH_M = 0.055
"""Distance of tool and object at which one pushes the other."""


class Kinematic(WorldModel):
    """Predicts where the object goes while a tool moves through the table's plane.

    Args:
        pull: share of the way to the bay that the object slides by itself in a step.
    """

    def __init__(self, *, pull: float = 0.0) -> None:
        self.pull = pull
        identity = digest_json({"model": "kinematic", "pull": pull, "reach_m": REACH_M})
        self._spec = ModelSpec(
            family="kinematic",
            digest=identity,
            normaliser=digest_json("none"),
            rate_hz=1 / CONTROL_S,
            context=1,
            states=(signal_of(AROUND),),
            action=signal_of(ACTION),
        )

    @property
    def spec(self) -> ModelSpec:
        """Object, bay and hand from the tool's path."""
        return self._spec

    @property
    def capabilities(self) -> frozenset[Capability]:
        """States under actions."""
        return frozenset({Capability.ACTIONS, Capability.STATE})

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> Unrolling:
        """From the last known row; every future is the same."""
        rows = np.repeat(np.asarray(prompt.states[AROUND.name], np.float64)[-1:], samples, axis=0)
        return _Pushed(pull=self.pull, rows_BD=rows)


@dataclass(slots=True)
class _Pushed:
    pull: float
    rows_BD: FloatArray

    def step(self, actions_BKA: FloatArray | None) -> Frame:
        """Move the tool there, and the object out of its way."""
        assert actions_BKA is not None
        out = []
        for tool_B2 in np.swapaxes(np.asarray(actions_BKA, np.float64), 0, 1):
            rows = self.rows_BD.copy()
            apart = rows[:, 0:2] - tool_B2
            distance = np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-6)
            rows[:, 0:2] += apart / distance * np.maximum(REACH_M - distance, 0.0)
            rows[:, 0:2] += self.pull * (rows[:, 3:5] - rows[:, 0:2])
            self.rows_BD = rows
            out.append(rows)
        return Frame(states={AROUND.name: np.stack(out, axis=1)})
