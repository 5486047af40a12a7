"""Walls with doors, drawn for each run: a disc is steered through them (Wall of DINO-WM, and mazes of several walls).

As two_room, but where each wall and its door are is drawn for each run and told by ``observation.environment_state``
and the pictures. With one wall this is the Wall of DINO-WM (there walls and doors come from a list of layouts at whole
pixels, here from the whole range); with more it is a maze of rooms in a row. Size, speed and success are two_room's.

Source: Zhou et al. 2024, arXiv:2411.04983, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.errors import ConfigError
from worldgate.core.tasks import Task
from worldgate.core.worlds import Policy
from worldgate.sim.tasks import _rooms

CARD = {
    "line": "a disc among walls whose places and doors are drawn for each run; reach a place beyond them",
    "inputs": "velocity in the plane, 10 Hz",
    "source": "Zhou et al. 2024 (DINO-WM), Wall",
}

ACTORS = tuple(_rooms.ACTORS)

_MOST = 4
_ROOM_PX = 14.0
"""Least way for the disc's middle between two walls, or a wall and the frame."""
_WALL_PX = 2 * (_rooms.HALF_WALL + _rooms.RADIUS)
"""What a wall takes of that way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How the mazes are."""

    size: int = 64
    """Pixels a side of the pictures."""
    walls: int = 1
    """How many, each with one door: 1 to 4."""

    def __post_init__(self) -> None:
        if self.size < 8:
            raise ConfigError("pictures too small to show anything", got=self.size, where="wall:size", hint="64")
        if not 1 <= self.walls <= _MOST:
            raise ConfigError("not so many walls", got=self.walls, where="wall:walls", hint=f"1 to {_MOST}")


def create(config: Config) -> Task:
    """See :class:`worldgate.sim.tasks.TaskModule`."""

    def build(draw: np.random.Generator) -> _rooms.Walls:
        # Evenly among all rows of walls with room between them: what rooms and walls need is put back after the draw.
        needed = (_ROOM_PX + _WALL_PX) * np.arange(config.walls)
        first, last = _rooms.LOW + _ROOM_PX + _WALL_PX / 2, _rooms.HIGH - _ROOM_PX - _WALL_PX / 2
        xs = first + np.sort(draw.uniform(0.0, last - first - needed[-1], config.walls)) + needed
        edge = _rooms.BORDER + _rooms.HALF_DOOR
        doors = draw.uniform(edge, _rooms.SIDE - edge, config.walls)
        return tuple(zip(xs.tolist(), doors.tolist(), strict=True))

    return _rooms.Rooms("wall", size=config.size, walls=config.walls, build=build, told=True)


def actor(name: str, task: Task, config: Config) -> Policy:
    """See :class:`worldgate.sim.tasks.TaskModule`."""
    del task, config
    return _rooms.ACTORS[name]()
