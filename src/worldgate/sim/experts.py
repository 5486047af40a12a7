"""Policies that need no learning: a competent one, a noisy one and a random one.

The competent one goes round the object and pushes it along a path into the bay: far from the object's back it circles,
behind it it follows a field like a dipole's, which steers a pushed object back to its line (Igarashi et al. 2010, *A
dipole field for object delivery by pushing on a flat surface*). A keep-out distance makes it give way to the person.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from worldgate.core.choices import settle
from worldgate.core.digest import digest_json
from worldgate.core.streams import FloatArray
from worldgate.core.worlds import Observation, Policy
from worldgate.sim.cell import SHOULDER, WORKSPACE
from worldgate.sim.scenario import HOME, random_stream
from worldgate.sim.sites import find_site

Vec = FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpertConfig:
    """How an expert behaves."""

    kind: Literal["scripted", "random"] = "scripted"
    """``scripted`` does the task, ``random`` wanders smoothly over the workspace."""
    keep_out_m: float = 0.18
    """Distance to the person's forearm that the tool stays away; 0 ignores the person."""
    speed_m_s: float = 0.30
    """Speed on the free way."""
    push_m_s: float = 0.20
    """Speed while pushing."""
    noise_m: float = 0.0
    """Standard deviation of a slowly varying error of the target."""

    def __post_init__(self) -> None:
        settle(self)


EXPERTS = {
    "scripted": ExpertConfig(),
    "careless": ExpertConfig(keep_out_m=0.0),
    "noisy": ExpertConfig(noise_m=0.012),
    "random": ExpertConfig(kind="random"),
}
"""Ready experts by the name that commands take; ``careless`` is competent but ignores the person."""

_ORBIT_M = 0.088
"""Distance from the object's middle at which the tool circles it."""
_INSIDE_M = 0.10
"""Nearer to the bay's middle than this, along its axis, the object is between the side walls."""
_LOOKAHEAD_S = 0.13
"""Target ahead of the measured tool by what it covers in a control period and the delay of the actuators."""


class Expert(Policy):
    """A scripted or random policy for one site.

    Args:
        config: how it behaves.
        site: name of the site, which tells where the bay opens.
    """

    arrived_m = 0.03
    """Nearer to the goal than this along both of the bay's axes the object is left alone, and the tool goes home."""

    def __init__(self, config: ExpertConfig, site: str) -> None:
        self.config = config
        self._mouth = np.array(find_site(site).mouth)
        self._digest = digest_json({"expert": config, "site": site})
        self.reset(seed=0)

    @property
    def digest(self) -> str:
        """Digest of the configuration."""
        return self._digest

    def reset(self, *, seed: int) -> None:
        self._draw = random_stream(seed, "expert")
        self._error = np.zeros(2)
        self._wander = np.zeros(2)

    def act(self, observation: Observation) -> FloatArray:
        """(2,) where the tip should be in 100 ms, m."""
        tool = np.asarray(observation["observation.state"])[8:10]
        around = np.asarray(observation["observation.environment_state"])
        if self.config.kind == "random":
            velocity = self._wandering(tool)
        else:
            velocity = self._task_velocity(tool, around[0:2], around[3:5])
        if self.config.keep_out_m > 0:
            velocity = give_way(velocity, tool, around[5:7], self.config.keep_out_m, self.config.speed_m_s)
        if self.config.noise_m:
            self._error = 0.8 * self._error + 0.6 * self._draw.normal(0.0, self.config.noise_m, 2)
        return np.asarray(tool + velocity * _LOOKAHEAD_S + self._error)

    def _wandering(self, tool: Vec) -> Vec:
        """A smoothly turning velocity that is pulled back from the borders."""
        middle = np.array([(WORKSPACE[0] + WORKSPACE[1]) / 2, (WORKSPACE[2] + WORKSPACE[3]) / 2])
        self._wander = 0.9 * self._wander + self._draw.normal(0.0, 0.12, 2) - 0.15 * (tool - middle)
        return _limit(self._wander, self.config.speed_m_s)

    def _task_velocity(self, tool: Vec, thing: Vec, goal: Vec) -> Vec:
        offset = thing - goal
        if _within(offset, self._mouth, self.arrived_m):
            return _limit(4.0 * (np.array(HOME) - tool), self.config.speed_m_s)
        along = float(offset @ self._mouth)
        across = abs(float(-offset[0] * self._mouth[1] + offset[1] * self._mouth[0]))
        if along < _INSIDE_M:  # between the side walls there is one way on, and no room to circle
            way = -self._mouth
        else:
            ahead = min(along, 0.20, max(0.0, 8.0 * (across - 0.008)))  # never back out: there may be a wall behind
            way = _unit(goal + self._mouth * ahead - thing)
        to_tool = tool - thing
        angle = math.atan2(-way[0] * to_tool[1] + way[1] * to_tool[0], -float(way @ to_tool))
        share = min(1.0, max(0.0, (math.radians(30) - abs(angle)) / math.radians(18)))
        share = share * share * (3 - 2 * share)
        return share * self._push(way, angle) + (1 - share) * self._circle(to_tool, angle)

    def _push(self, way: Vec, angle: float) -> Vec:
        """Along the way, and across it back to the line: the dipole field behind the object."""
        side = np.array([-way[1], way[0]])
        turn = min(max(2.6 * angle, -1.4), 1.4)
        return self.config.push_m_s * np.asarray(math.cos(turn) * way + math.sin(turn) * side)

    def _circle(self, to_tool: Vec, angle: float) -> Vec:
        """Round the object towards its back, at the orbit's distance; from afar straight to the orbit."""
        distance = float(np.linalg.norm(to_tool))
        out = to_tool / max(distance, 1e-6)
        around = np.array([out[1], -out[0]]) * (1.0 if angle > 0 else -1.0)
        pull = min(max((_ORBIT_M - distance) / 0.03, -1.5), 1.5)
        near = min(1.0, max(0.0, (0.22 - distance) / 0.10))
        return _limit((0.35 + 0.65 * near) * around + pull * out, 1.0) * self.config.speed_m_s


def give_way(velocity: Vec, tool: Vec, hand: Vec, keep_out_m: float, speed_m_s: float) -> Vec:
    """Keep a velocity away from the forearm: slower near it, none at the keep-out distance, backwards inside."""
    shoulder = np.array(SHOULDER)
    arm = shoulder - hand
    length = float(np.linalg.norm(arm))
    share = min(1.0, max(0.0, float((tool - hand) @ arm) / max(length * length, 1e-9)))
    apart = tool - (hand + share * arm)
    distance = float(np.linalg.norm(apart)) - 0.06
    out = apart / max(float(np.linalg.norm(apart)), 1e-6)
    margin = distance - keep_out_m
    if margin > 0.10:
        return velocity
    inward = float(velocity @ out)
    allowed = -max(0.0, margin) * 2.0
    if inward < allowed:
        velocity = velocity + (allowed - inward) * out
    if margin < 0:  # back off, and towards the robot, where there is always room
        home = _unit(np.array(HOME) - tool)
        velocity = velocity + min(8.0 * -margin, 1.5 * speed_m_s) * _unit(out + 0.5 * home)
    return _limit(velocity, 1.5 * speed_m_s)


def _unit(vector: Vec) -> Vec:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9))


def _limit(vector: Vec, most: float) -> Vec:
    size = float(np.linalg.norm(vector))
    return vector if size <= most else np.asarray(vector * (most / size))


def _within(offset: Vec, mouth: Vec, tolerance: float) -> bool:
    along = float(offset @ mouth)
    across = float(-offset[0] * mouth[1] + offset[1] * mouth[0])
    return abs(along) < tolerance and abs(across) < tolerance
