"""Actors for PushT: a competent scripted expert of ours, its noisy and playful relatives, and a random one.

The expert reads where tool and block are, and plans one push at a time. The block stops where it is left (PushT damps
all motion) and contact is without friction, so a push moves it along the contact's normal n and turns it about its
centre of mass by that normal's lever: for a shift s of the contact, the block moves s n / (1 + c^2 / g^2) and turns by
s c / (g^2 + c^2), with the lever c and the radius of gyration g (quasi-static pushing, Lynch and Mason 1996). Pushes
from places all round the outline, in five directions each, are rolled out in this model; the one that comes nearest to
the goal a second, the way to its start included, is done. The way leads round the T's corners. While pushing, the
length is planned anew at every step.

Plane: PushT's 512 x 512 pixels. Shape legend: N candidates, P points, poses (x, y of the centre of mass, turn).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from worldgate.core.digest import digest_json
from worldgate.core.tasks import GoalPolicy
from worldgate.core.worlds import Observation, Policy

Vec: TypeAlias = NDArray[np.float64]

TOOL_RADIUS = 15.0
CENTRE = np.array([0.0, 45.0])
"""The centre of mass in the T's own frame, whose origin is the middle of the bar's top."""
GYRATION_2 = 3000.0
GOAL = np.array([256.0, 256.0, math.pi / 4])
"""Pose of the T's origin."""
_HALF = np.array([[60.0, 15.0], [15.0, 45.0]])
_MIDDLE = np.array([[0.0, 15.0], [0.0, 75.0]])
_OUTLINE = np.array([(-60, 0), (60, 0), (60, 30), (15, 30), (15, 120), (-15, 120), (-15, 30), (-60, 30)], float)
_CORNERS = np.array([(-81, -21), (81, -21), (81, 51), (36, 51), (36, 141), (-36, 141), (-36, 51), (-81, 51)], float)
"""Ways round the T turn here: 21 px off its outline."""
_WALLS, TOOL_WALLS = (7.0, 504.0), (18.0, 494.0)
_SLANTS = np.radians([-35.0, -18.0, 0.0, 18.0, 35.0])
_TURN_PX = 45.0
"""A radian of turn counts as so many pixels."""
_NEAR_PX = 40.0
"""Nearer to the goal than this, pushes are planned by the pixel."""
_DONE_PX, _DONE_RAD = 9.0, 0.2
"""Nearer than this to a goal that was told, the T is left and the tool goes to its own place."""
_LONGEST_PX = 177.0
_WAIT_PX = TOOL_RADIUS + 5.0
_WAY = np.linspace(0.0, 1.0, 24)
_DT_S, _STIFF, _DAMP = 0.01, 100.0, 20.0
"""How the tool follows its target: PushT's own controller."""


def turns(angle: Vec) -> Vec:
    """(..., 2, 2) rotations."""
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)


def of_centre(pose: Vec) -> Vec:
    """Pose of the centre of mass from that of the T's origin."""
    return np.concatenate([pose[:2] + turns(pose[2]) @ CENTRE, pose[2:]])


def places(apart: float = 7.5) -> tuple[Vec, Vec]:
    """(P, 2) points of the outline and the normals into the T, in its own frame."""
    points, normals = [], []
    for start, end in zip(_OUTLINE, np.roll(_OUTLINE, -1, 0), strict=True):
        length = float(np.linalg.norm(end - start))
        count = int(length // apart)
        along = (end - start) / length
        points.append(start + (end - start) * ((np.arange(count) + 0.5) / count)[:, None])
        normals.append(np.broadcast_to(np.array([-along[1], along[0]]), (count, 2)))
    return np.concatenate(points), np.concatenate(normals)


def gap(local: Vec) -> tuple[Vec, Vec]:
    """Signed distance of points (..., 2) in the T's frame to the T, and the outward normal there."""
    offset = local[..., None, :] - _MIDDLE
    sign = np.where(offset < 0, -1.0, 1.0)
    beyond = np.abs(offset) - _HALF
    out = np.maximum(beyond, 0.0)
    far = np.linalg.norm(out, axis=-1)
    distance = far + np.minimum(beyond.max(-1), 0.0)
    side = sign * (beyond == beyond.max(-1, keepdims=True))
    normal = np.where((far > 1e-9)[..., None], sign * out / np.maximum(far, 1e-9)[..., None], side)
    box = distance.argmin(-1)[..., None]
    return np.take_along_axis(distance, box, -1)[..., 0], np.take_along_axis(normal, box[..., None], -2)[..., 0, :]


def clearance(pose: Vec, points: Vec) -> Vec:
    """(...,) distance of points to the T at a pose."""
    return gap((points - pose[:2]) @ turns(pose[2]) + CENTRE)[0]


def pushed(pose_N3: Vec, tool_N2: Vec) -> Vec:
    """(N, 3) where the T is after it gave way to a tool that has moved into it."""
    for _ in range(3):  # in the corner of bar and stem two sides give way in turn
        frame = turns(pose_N3[:, 2])
        distance, normal = gap(np.einsum("nji,nj->ni", frame, tool_N2 - pose_N3[:, :2]) + CENTRE)
        depth = np.maximum(TOOL_RADIUS - distance, 0.0)
        if depth.max() < 0.01:
            break
        along = -np.einsum("nij,nj->ni", frame, normal)
        arm = tool_N2 + along * distance[:, None] - pose_N3[:, :2]
        lever = arm[:, 0] * along[:, 1] - arm[:, 1] * along[:, 0]
        shift = depth / (1.0 + lever**2 / GYRATION_2)
        pose_N3 = pose_N3 + np.concatenate([shift[:, None] * along, (shift * lever / GYRATION_2)[:, None]], 1)
    return pose_N3


def beyond_walls(pose_N3: Vec) -> Vec:
    """(N,) how far the T reaches over the walls, px."""
    corners = np.einsum("nij,kj->nki", turns(pose_N3[:, 2]), _OUTLINE - CENTRE) + pose_N3[:, None, :2]
    over = np.maximum(np.maximum(_WALLS[0] - corners, corners - _WALLS[1]), 0.0)
    return np.asarray(over.max((1, 2)))


def within(points: Vec) -> NDArray[np.bool_]:
    """Whether the tool may be there."""
    return np.asarray(((points > TOOL_WALLS[0]) & (points < TOOL_WALLS[1])).all(-1))


def free(pose: Vec, start: Vec, end: Vec) -> NDArray[np.bool_]:
    """(...,) whether straight ways keep off the T, as far as their ends allow."""
    apart = clearance(pose, start[..., None, :] + (end - start)[..., None, :] * _WAY[:, None])
    allowed = np.where(_WAY < 0.5, apart[..., :1], apart[..., -1:]) - 0.3
    return np.asarray((apart >= np.minimum(TOOL_RADIUS + 1.5, allowed)).all(-1))


def ways(pose: Vec, tool: Vec, goals_N2: Vec) -> tuple[Vec, Callable[[int], list[Vec]]]:
    """(N,) length of the shortest way round the T to each goal, inf where there is none, and the points of one."""
    nodes = (_CORNERS - CENTRE) @ turns(pose[2]).T + pose[:2]
    count, open_ = len(nodes), within(nodes)

    def lengths(start: Vec, end: Vec, allowed: Any) -> Vec:
        start, end = np.broadcast_arrays(start, end)
        return np.where(free(pose, start, end) & allowed, np.linalg.norm(end - start, axis=-1), np.inf)

    between = lengths(nodes[:, None], nodes[None], open_[:, None] & open_)
    np.fill_diagonal(between, 0.0)
    onward = np.broadcast_to(np.arange(count), (count, count))
    for k in range(count):  # Floyd and Warshall
        via = between[:, k : k + 1] + between[k : k + 1]
        onward = np.where(via < between, onward[:, k : k + 1], onward)
        between = np.minimum(between, via)
    there = lengths(tool, nodes, open_)
    back = lengths(nodes[:, None], goals_N2[None], open_[:, None])
    total = (there[:, None, None] + between[:, :, None] + back).reshape(count * count, -1)
    straight = lengths(tool, goals_N2, np.True_)
    best, length = total.argmin(0), np.minimum(total.min(0), straight)

    def way(goal: int) -> list[Vec]:
        if straight[goal] <= length[goal]:
            return [goals_N2[goal]]
        at, last = divmod(int(best[goal]), count)
        points = [nodes[at]]
        while at != last:
            at = int(onward[at, last])
            points.append(nodes[at])
        return [*points, goals_N2[goal]]

    return length, way


def follow(tool: Vec, speed: Vec, target: Vec, steps: int) -> Vec:
    """(steps, 2) where the tool goes when it is sent to a target."""
    found = []
    for _ in range(steps):
        speed = speed + (_STIFF * (target - tool) - _DAMP * speed) * _DT_S
        tool = tool + speed * _DT_S
        found.append(tool)
    return np.array(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class PusherConfig:
    """How an actor that plans pushes behaves."""

    reach_px: float = 70.0
    """Farthest target on the free way."""
    push_px: float = 45.0
    """Farthest target while pushing."""
    noise_px: float = 0.0
    """Standard deviation of a slowly varying error of the target."""
    whim: float = 0.0
    """Standard deviation of the logarithm of what a push seems worth."""
    goals: bool = False
    """Whether it draws goals of its own, one after the other."""


@dataclass(kw_only=True, slots=True)
class _Push:
    """A push that is under way: first to its start, then along."""

    place: int
    slant: float
    pushing: bool = False
    steps: int = 0
    along: Vec | None = None


class Pusher(GoalPolicy):
    """Plans pushes; where it is told another goal than PushT's own, the tool goes to its place in it at the end.

    Args:
        config: how it behaves.
    """

    def __init__(self, config: PusherConfig) -> None:
        self.config = config
        self._points, self._normals = places()
        self.reset(seed=0)

    @property
    def digest(self) -> str:
        """Digest of the configuration."""
        return digest_json({"pusht": self.config})

    def reset(self, *, seed: int) -> None:
        self._draw = np.random.default_rng([seed, 7])
        self._push: _Push | None = None
        self._place: Vec | None = None
        self._error, self._steps = np.zeros(2), 0
        self._goal = of_centre(GOAL)

    def aim(self, goal: Observation, *, steps: int) -> None:
        """Take a goal."""
        pose = np.asarray(goal["observation.environment_state"], np.float64)
        own = bool(np.allclose(pose, GOAL))
        self._goal, self._place = of_centre(pose), None if own else np.asarray(goal["observation.state"], np.float64)

    def act(self, observation: Observation) -> Vec:
        """(2,) where the tool should go, px."""
        tool, speed = observation["observation.state"], observation["observation.velocity"]
        pose = of_centre(observation["observation.environment_state"])
        if self.config.goals and self._steps % 50 == 0:
            x, y, turn = self._draw.uniform([120.0, 120.0, -math.pi], [392.0, 392.0, math.pi])
            self._goal, self._push = np.array([x, y, turn]), None
        self._steps += 1
        target = self._target(pose, tool, speed)
        self._error = 0.8 * self._error + 0.6 * self.config.noise_px * self._draw.normal(size=2)
        return np.clip(target + self._error, *TOOL_WALLS)

    def _target(self, pose: Vec, tool: Vec, speed: Vec) -> Vec:
        if self._place is not None and self._done(pose):
            self._push = None
            return self._home(pose, tool, speed, self._place)
        for _ in range(2):
            self._push = self._push or self._choose(pose, tool)
            if self._push is None:
                return self._away(pose, tool) if self._place is None else self._home(pose, tool, speed, self._place)
            target = self._go_on(self._push, pose, tool, speed)
            if target is not None:
                return target
            self._push = None
        return tool

    def _done(self, pose: Vec) -> bool:
        """Whether the T lies as a told goal wants it, with room to spare for the tool."""
        left = pose - self._goal
        turn = abs((left[2] + math.pi) % (2 * math.pi) - math.pi)
        return bool(np.linalg.norm(left[:2]) < _DONE_PX and turn < _DONE_RAD)

    def _home(self, pose: Vec, tool: Vec, speed: Vec, place: Vec) -> Vec:
        """Round the T to the tool's own place in the goal."""
        target = self._approach(pose, tool, speed, place)
        return place if target is None else target

    def _cost(self, pose: Vec, *, near: bool) -> Vec:
        """(...,) distance to the goal, px: far away it is the way there that counts, near it the least error."""
        left = pose - self._goal
        shift = np.linalg.norm(left[..., :2], axis=-1)
        turn = _TURN_PX * np.abs((left[..., 2] + math.pi) % (2 * math.pi) - math.pi)
        return np.asarray(np.hypot(shift, turn) if near else shift + turn)

    def _near(self, pose: Vec) -> bool:
        return bool(self._cost(pose, near=False) < _NEAR_PX)

    def _choose(self, pose: Vec, tool: Vec) -> _Push | None:
        """The push that gains most a second."""
        frame = turns(pose[2])
        points, normals = (self._points - CENTRE) @ frame.T + pose[:2], self._normals @ frame.T
        starts = points - normals * (TOOL_RADIUS + 0.5)
        length, _ = ways(pose, tool, points - normals * _WAIT_PX)
        useful = np.flatnonzero(np.isfinite(length) & (clearance(pose, starts) > TOOL_RADIUS) & within(starts))
        if not len(useful):
            return None
        place, slant = np.repeat(useful, len(_SLANTS)), np.tile(_SLANTS, len(useful))
        along = np.einsum("nij,nj->ni", turns(slant), normals[place])
        spent_s = length[place] / 250.0 + 0.55
        gain = self._roll_out(pose, starts[place], along, spent_s)
        gain *= np.exp(self.config.whim * self._draw.normal(size=gain.shape))
        best = int(gain.argmax())
        return _Push(place=int(place[best]), slant=float(slant[best])) if gain[best] > 0 else None

    def _roll_out(self, pose: Vec, tool_N2: Vec, along_N2: Vec, spent_s_N: Vec) -> Vec:
        """(N,) what each push gains a second at its best length, -inf where it leads into a wall."""
        near = self._near(pose)
        step, now = (1.0 if near else 3.0), self._cost(pose, near=near)
        pose_N3 = np.repeat(pose[None], len(tool_N2), 0)
        allowed, alive = beyond_walls(pose[None])[0] + 0.5, np.ones(len(tool_N2), bool)
        best = np.full(len(tool_N2), -np.inf)
        for count in range(1, int(_LONGEST_PX / 3.0) + 1):
            tool_N2 = tool_N2 + along_N2 * step
            pose_N3 = pushed(pose_N3, tool_N2)
            alive &= (beyond_walls(pose_N3) <= allowed) & within(tool_N2)
            if not alive.any():
                break
            rate = (now - self._cost(pose_N3, near=near)) / (spent_s_N + count * step / 150.0)
            best = np.maximum(best, np.where(alive, rate, -np.inf))
        return best

    def _go_on(self, push: _Push, pose: Vec, tool: Vec, speed: Vec) -> Vec | None:
        """The next target of a push, None where it is over."""
        push.steps += 1
        frame = turns(pose[2])
        point = frame @ (self._points[push.place] - CENTRE) + pose[:2]
        normal = frame @ self._normals[push.place]
        if not push.pushing:
            wait, start = point - normal * _WAIT_PX, point - normal * (TOOL_RADIUS + 0.5)
            calm = float(np.linalg.norm(tool - wait)) < 7 and float(np.linalg.norm(speed)) < 60
            if not calm and float(np.linalg.norm(tool - start)) >= 5:
                return self._approach(pose, tool, speed, wait) if push.steps <= 60 else None
            push.pushing, push.steps, push.along = True, 0, turns(np.array(push.slant)) @ normal
        assert push.along is not None
        stuck = push.steps > 40 or (push.steps > 3 and float(np.linalg.norm(speed)) < 3)
        left = 0.0 if stuck else self._length(pose, tool, push.along)
        return tool + push.along * min(left, self.config.push_px) if left > 0.5 else None

    def _length(self, pose: Vec, tool: Vec, along: Vec) -> float:
        """How much farther to push."""
        near, pose_13, tool_12 = self._near(pose), pose[None], tool[None]
        step = 1.0 if near else 3.0
        best, length, allowed = self._cost(pose, near=near), 0.0, beyond_walls(pose_13)[0] + 0.5
        for ahead in np.arange(step, _LONGEST_PX, step):
            tool_12 = tool_12 + step * along
            pose_13 = pushed(pose_13, tool_12)
            cost = self._cost(pose_13, near=near)[0]
            if beyond_walls(pose_13)[0] > allowed or ahead > length + 25:
                break
            if cost < best:
                best, length = cost, float(ahead)
        return length

    def _approach(self, pose: Vec, tool: Vec, speed: Vec, goal: Vec) -> Vec | None:
        """The farthest target on the way to which the tool, as fast as it is, keeps off the T."""
        length, way = ways(pose, tool, goal[None])
        if not math.isfinite(length[0]):
            return None
        at, gone, targets = tool, 0.0, []
        for corner in way(0):
            leg = float(np.linalg.norm(corner - at))
            parts = max(1, int(leg // 8))
            targets += [(gone + leg * i / parts, at + (corner - at) * i / parts) for i in range(1, parts + 1)]
            at, gone = corner, gone + leg
        near = [target for passed, target in targets if passed <= self.config.reach_px] or [targets[0][1]]
        least = min(TOOL_RADIUS + 0.3, float(clearance(pose, tool[None])[0]) - 0.2)
        for target in reversed(near):
            if clearance(pose, follow(tool, speed, target, 30)).min() > least:
                return target
        return near[0]

    def _away(self, pose: Vec, tool: Vec) -> Vec:
        """No push gains anything or can be reached: where there is most room."""
        angles = np.arange(16) * math.pi / 8
        around = tool + 30.0 * np.stack([np.cos(angles), np.sin(angles)], 1)
        return np.asarray(around[np.where(within(around), clearance(pose, around), -np.inf).argmax()])


class Wanderer(Policy):
    """Smooth aimless motion over the plane."""

    digest = digest_json({"pusht": "random"})

    def reset(self, *, seed: int) -> None:
        self._draw = np.random.default_rng([seed, 8])
        self._target: Vec | None = None

    def act(self, observation: Observation) -> Vec:
        tool = observation["observation.state"]
        if self._target is None or float(np.linalg.norm(tool - self._target)) < 15:
            self._target = self._draw.uniform(40.0, 472.0, 2)
        ahead = self._target - tool
        return np.asarray(tool + ahead * min(1.0, 50.0 / max(float(np.linalg.norm(ahead)), 1e-6)))


KINDS: dict[str, Callable[[], Policy]] = {
    "scripted": lambda: Pusher(PusherConfig()),
    "noisy": lambda: Pusher(PusherConfig(noise_px=8.0, whim=0.5)),
    "play": lambda: Pusher(PusherConfig(noise_px=4.0, whim=0.5, goals=True)),
    "random": Wanderer,
}


def actor(kind: str) -> Policy:
    """One of :data:`KINDS`."""
    return KINDS[kind]()
