"""Scenarios: the initial situation of a run, as data that can be stored, replayed and varied.

A scenario holds where the object and the tool start, the person's path, where the puddle and the clutter lie, and the
attributes. :func:`sample` draws one; :func:`from_json` reads one back; :func:`from_rows` rebuilds one from rows.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from worldgate.core.config import decode
from worldgate.core.streams import FloatArray
from worldgate.sim.attributes import Attributes
from worldgate.sim.sites import find_site

PARKED = (0.95, 0.0)
"""Where the person's hand is while nobody reaches in: beyond the table and out of every picture."""
HOME = (-0.08, 0.0)
"""Where the tool waits, m."""
UNITS = {
    "initial.object_pose": "m,m,rad",
    "initial.tool": "m",
    "initial.puddle": "m",
    "initial.clutter": "m",
}
"""Units of a scenario by path, where it is the initial state of one of the record."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """The initial situation of one run; lengths in m, angles in rad, times in s from the start of the run."""

    site: str
    object_pose: tuple[float, float, float]
    """x, y, yaw of the object."""
    tool: tuple[float, float] = HOME
    """x, y of the tool."""
    person: tuple[tuple[float, float, float], ...] = ()
    """Waypoints (t, x, y) of the hand; between two it moves with minimum jerk. Empty: nobody comes."""
    puddle: tuple[float, float] = (0.0, 0.0)
    """Middle of the spill, where the attributes have one."""
    clutter: tuple[tuple[float, float], ...] = ()
    """Where the loose things lie."""
    attributes: Attributes = field(default_factory=Attributes)


def random_stream(seed: int, name: str) -> np.random.Generator:
    """A random stream of its own for each purpose, so that using one never shifts another."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def sample(site: str, *, seed: int, attributes: Attributes | None = None) -> Scenario:
    """Draw a scenario of a site; attributes change only what belongs to them.

    Raises:
        NotFound: no such site.
    """
    place, wanted = find_site(site), attributes or Attributes()
    x0, x1, y0, y1 = place.spawn
    draw = random_stream(seed, "object")
    pose = (float(draw.uniform(x0, x1)), float(draw.uniform(y0, y1)), float(draw.uniform(-0.6, 0.6)))
    tool = random_stream(seed, "tool").normal(0.0, 0.02, 2)
    return Scenario(
        site=site,
        object_pose=pose,
        tool=(HOME[0] + float(tool[0]), HOME[1] + float(tool[1])),
        person=reach(pose[:2], place.goal, random_stream(seed, "person")) if wanted.person else (),
        puddle=_between(pose[:2], place.goal, random_stream(seed, "spill")),
        clutter=_scatter(wanted.clutter, pose[:2], place.goal, random_stream(seed, "clutter")),
        attributes=wanted,
    )


def _between(a: tuple[float, float], b: tuple[float, float], draw: np.random.Generator) -> tuple[float, float]:
    """A point beside the straight way from a to b."""
    along = draw.uniform(0.35, 0.75)
    side = draw.normal(0.0, 0.02, 2)
    return float(a[0] + along * (b[0] - a[0]) + side[0]), float(a[1] + along * (b[1] - a[1]) + side[1])


def reach(
    start: tuple[float, float], goal: tuple[float, float], draw: np.random.Generator
) -> tuple[tuple[float, float, float], ...]:
    """Waypoints of a hand that comes in over the far edge, stays near the object's way for a while and leaves."""
    x, y = _between(start, goal, draw)
    x, y = max(x + float(draw.uniform(0.0, 0.18)), 0.02), y + float(draw.normal(0.0, 0.045))
    begin, stay = draw.uniform(0.4, 2.2), draw.uniform(0.8, 1.8)
    come, enter = 0.7, draw.uniform(1.3, 2.0)
    times = np.cumsum([begin, come, enter, stay, enter * 0.8, come])
    places = (PARKED, (0.52, y * 0.8), (x, y), (x, y), (0.52, y * 0.8), PARKED)
    return tuple((float(t), float(px), float(py)) for t, (px, py) in zip(times, places, strict=True))


def _scatter(
    count: int, start: tuple[float, float], goal: tuple[float, float], draw: np.random.Generator
) -> tuple[tuple[float, float], ...]:
    """Places for loose things that overlap neither the object, the bay, the tool's home nor one another."""
    taken: list[tuple[float, float]] = [start, goal, HOME]
    found: list[tuple[float, float]] = []
    while len(found) < count:
        spot = (float(draw.uniform(-0.14, 0.27)), float(draw.uniform(-0.27, 0.27)))
        if min(math.dist(spot, other) for other in taken) > 0.105:
            found.append(spot)
            taken.append(spot)
    return tuple(found)


def hand_at(path: Sequence[tuple[float, float, float]], time_s: float) -> tuple[float, float]:
    """Where the hand is: minimum jerk between waypoints (Flash and Hogan 1985), held before and after them."""
    if not path:
        return PARKED
    if time_s <= path[0][0]:
        return path[0][1], path[0][2]
    for (t0, x0, y0), (t1, x1, y1) in pairwise(path):
        if time_s < t1:
            u = (time_s - t0) / (t1 - t0)
            s = u * u * u * (10.0 - 15.0 * u + 6.0 * u * u)
            return x0 + s * (x1 - x0), y0 + s * (y1 - y0)
    return path[-1][1], path[-1][2]


def from_json(tree: Mapping[str, Any], *, where: str = "scenario") -> Scenario:
    """Read a scenario back from plain JSON, as ``core.digest.to_json`` wrote it.

    Raises:
        ConfigError: an unknown key or a value of the wrong type, with its place.
    """
    return decode(Scenario, tree, where=where)


def from_rows(
    site: str,
    times_s: FloatArray,
    state: FloatArray,
    environment_state: FloatArray,
    *,
    attributes: Attributes | None = None,
) -> Scenario:
    """Rebuild the situation at the first of some recorded rows: the object, the tool, and the person's path as it was.

    Args:
        site: the site recorded at.
        times_s: (T,) seconds from the first row.
        state: (T, 11) ``observation.state``.
        environment_state: (T, 7) ``observation.environment_state``.
        attributes: what else was unusual; puddle and clutter cannot be read from rows and are left out.
    """
    assert len(times_s) == len(state) == len(environment_state) > 0, (len(times_s), len(state), len(environment_state))
    hand = environment_state[:, 5:7]
    moved = bool(np.ptp(hand, axis=0).max() > 1e-6)
    path = tuple((float(t), float(x), float(y)) for t, (x, y) in zip(times_s - times_s[0], hand, strict=True))
    return Scenario(
        site=site,
        object_pose=(float(environment_state[0, 0]), float(environment_state[0, 1]), float(environment_state[0, 2])),
        tool=(float(state[0, 8]), float(state[0, 9])),
        person=path if moved else (),
        attributes=attributes or Attributes(),
    )
