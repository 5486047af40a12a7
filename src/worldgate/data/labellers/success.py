"""Success: the object rests at its goal when the log ends.

It needs the object's and the goal's place, wherever the log holds them. A gripper's motion does not tell success: on
real DROID episodes the rule "held, then let go" calls three of seven failures successes (``docs/log.md``), so without a
pose nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import Log
from worldgate.core.times import SECOND
from worldgate.data.labellers._signals import find_object, read
from worldgate.data.labelling.sets import Label

CARD = {
    "line": "whether the object rests at its goal when the log ends",
    "inputs": "place of object and goal (which the cell keeps in environment_state)",
}

PLACES = ("object.x", "object.y", "goal.x", "goal.y")


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What counts as there."""

    within_m: float = 0.045
    """Along each axis, m."""
    last_s: float = 0.1
    """The place is the median over this long before the end, s."""


def reads(log: Log, config: Config) -> tuple[str, ...]:
    """The stream with both places, where there is one."""
    del config
    found = find_object(log, *PLACES)
    return (found.stream,) if found is not None else ()


def label(log: Log, config: Config) -> tuple[Label, ...]:
    """One answer for the log."""
    channels = find_object(log, *PLACES)
    assert channels is not None
    place = read(log, channels)
    if not len(place.times_ns):
        return ()
    last = place.times_ns > place.times_ns[-1] - round(config.last_s * SECOND)
    x, y, goal_x, goal_y = np.median(place.values[last], axis=0)
    there = abs(x - goal_x) < config.within_m and abs(y - goal_y) < config.within_m
    return (Label(label="success", value=bool(there)),)
