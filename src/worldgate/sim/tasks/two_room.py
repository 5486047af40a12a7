"""Two rooms joined by a door: a disc is steered from one into the other (TwoRoom of PLDM and LeWM).

Size, speed, frame and wall are those of TwoRoom in stable-worldmodel 0.1 (224 px, 7 px a step and axis, the disc's
radius 7 px, the wall 10 px thick in the middle, the door's middle 49 px from the top); so is the look: a soft red dot,
black walls on white, the goal not shown. Differences: the disc slides round door posts and never overlaps them, where
there a step through a post ends at the wall or passes by the rule for its end point; so that the way for its middle is
as wide (30 px against 31.5), the door here is 44 px wide, not 28. A goal is reached below 16 px, there below 15.75.

Source: Sobal et al. 2025, arXiv:2502.14819; https://github.com/galilai-group/stable-worldmodel (MIT).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.errors import ConfigError
from worldgate.core.tasks import Task
from worldgate.core.worlds import Policy
from worldgate.sim.tasks import _rooms

CARD = {
    "line": "a disc in two rooms joined by a door; reach a place in the other",
    "inputs": "velocity in the plane, 10 Hz",
    "source": "Sobal et al. 2025, TwoRoom; as in stable-worldmodel",
}

ACTORS = tuple(_rooms.ACTORS)

_DOORS = (_rooms.BORDER + _rooms.HALF_DOOR, _rooms.SIDE - _rooms.BORDER - _rooms.HALF_DOOR)


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How the rooms are."""

    size: int = 64
    """Pixels a side of the pictures."""
    door: float = 49.0
    """Where the middle of the door is, px of 224 from the top; 0: drawn for each run."""

    def __post_init__(self) -> None:
        if self.size < 8:
            raise ConfigError("pictures too small to show anything", got=self.size, where="two_room:size", hint="64")
        if self.door and not _DOORS[0] <= self.door <= _DOORS[1]:
            hint = f"from {_DOORS[0]:g} to {_DOORS[1]:g} px, or 0 to draw it for each run"
            raise ConfigError("a door outside the wall", got=self.door, where="two_room:door", hint=hint)


def create(config: Config) -> Task:
    """See :class:`worldgate.sim.tasks.TaskModule`."""

    def build(draw: np.random.Generator) -> _rooms.Walls:
        return ((_rooms.SIDE / 2, config.door or float(draw.uniform(*_DOORS))),)

    return _rooms.Rooms("two_room", size=config.size, walls=1, build=build, told=False)


def actor(name: str, task: Task, config: Config) -> Policy:
    """See :class:`worldgate.sim.tasks.TaskModule`."""
    del task, config
    return _rooms.ACTORS[name]()
